/*
 * assail --list
 * assail NAME PID...: one attack, or "all", on each of the processes; PID "parent" is who started this program.
 * assail victim: a process with two threads that ends well when its input does.
 *
 * Prints the name and an errno, or "0" where the attack succeeded.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The process, and one of its threads that is not the first. */
static int pid, tid;

static int thread_of(int process)
{
	char path[64];
	int found = process;
	snprintf(path, sizeof path, "/proc/%d/task", process);
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (atoi(entry->d_name) > found)
			found = atoi(entry->d_name);
	if (dir)
		closedir(dir);
	return found;
}

/* Signals. SIGUSR1 ends whoever does not expect it. */
static long by_kill(void) { return kill(pid, SIGUSR1); }
static long by_kill_thread(void) { return kill(tid, SIGKILL); }
static long by_kill_group(void) { return kill(-getpgid(pid), SIGUSR1); }
static long by_stop(void) { return kill(pid, SIGSTOP); }
static long by_tkill(void) { return syscall(SYS_tkill, pid, SIGUSR1); }
static long by_tkill_thread(void) { return syscall(SYS_tkill, tid, SIGKILL); }
static long by_tgkill(void) { return syscall(SYS_tgkill, pid, pid, SIGUSR1); }
static long by_tgkill_thread(void) { return syscall(SYS_tgkill, pid, tid, SIGKILL); }

static long queue(long call, int first, int second)
{
	siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
	return call == SYS_rt_sigqueueinfo ? syscall(call, first, SIGUSR1, &info) :
					     syscall(call, first, second, SIGUSR1, &info);
}

static long by_sigqueue(void) { return queue(SYS_rt_sigqueueinfo, pid, 0); }
static long by_sigqueue_thread(void) { return queue(SYS_rt_sigqueueinfo, tid, 0); }
static long by_tgsigqueue(void) { return queue(SYS_rt_tgsigqueueinfo, pid, tid); }

static long pidfd(int number, int flags) { return syscall(SYS_pidfd_open, number, flags); }

static long send_signal(long fd, int flags)
{
	return fd < 0 ? fd : syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, flags);
}

static long by_pidfd(void) { return send_signal(pidfd(pid, 0), 0); }
static long by_pidfd_thread(void) { return send_signal(pidfd(tid, O_EXCL), 0); }
static long by_pidfd_process_of_thread(void) { return send_signal(pidfd(tid, O_EXCL), 2); }
static long by_pidfd_group(void) { return send_signal(pidfd(getpgid(pid), 0), 4); }

static long by_proc_directory(void)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d", pid);
	return send_signal(open(path, O_RDONLY | O_DIRECTORY), 0);
}

/* The signal of a descriptor on which something happens. */
static long owned(int (*own)(int))
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 || own(ends[0]) < 0)
		return -1;
	if (fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
		return -1;
	return write(ends[1], "x", 1) == 1 ? 0 : -1;
}

static int setown(int fd) { return fcntl(fd, F_SETOWN, pid); }
static int setown_group(int fd) { return fcntl(fd, F_SETOWN, -getpgid(pid)); }
static int setown_signal(int fd) { return fcntl(fd, F_SETSIG, SIGKILL) < 0 ? -1 : setown(fd); }
static int setown_ex(int fd)
{
	struct f_owner_ex owner = {F_OWNER_TID, tid};
	return fcntl(fd, F_SETOWN_EX, &owner);
}
static int fiosetown(int fd) { return ioctl(fd, FIOSETOWN, &pid); }
static int siocspgrp(int fd) { return ioctl(fd, SIOCSPGRP, &pid); }

static long by_setown(void) { return owned(setown); }
static long by_setown_group(void) { return owned(setown_group); }
static long by_setown_signal(void) { return owned(setown_signal); }
static long by_setown_ex(void) { return owned(setown_ex); }
static long by_fiosetown(void) { return owned(fiosetown); }
static long by_siocspgrp(void) { return owned(siocspgrp); }

/* Tracing and memory. */
static long by_attach(void)
{
	long result = ptrace(PTRACE_ATTACH, pid, NULL, NULL);
	if (result == 0) {
		waitpid(pid, NULL, 0);
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
	}
	return result;
}
static long by_seize(void) { return ptrace(PTRACE_SEIZE, tid, NULL, NULL); }

static long memory(ssize_t (*call)(pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long,
				   unsigned long))
{
	/* The stack of the process, as far as one's own tells. EFAULT is a success: it was looked for. */
	char byte = 0;
	struct iovec ours = {&byte, 1}, theirs = {(void *)4096, 1};
	return call(pid, &ours, 1, &theirs, 1, 0) < 0 && errno != EFAULT ? -1 : 0;
}
static long by_readv(void) { return memory(process_vm_readv); }
static long by_writev(void) { return memory(process_vm_writev); }
static long by_getfd(void)
{
	long fd = pidfd(pid, 0);
	return fd < 0 ? fd : syscall(SYS_pidfd_getfd, fd, 0, 0);
}
static long by_kcmp(void) { return syscall(SYS_kcmp, getpid(), pid, 2 /* KCMP_FILES */, 0, 0); }
static long by_madvise(void)
{
	long fd = pidfd(pid, 0);
	struct iovec range = {(void *)4096, 4096};
	/* ENOMEM: nothing is there. */
	return fd < 0 ? fd : syscall(SYS_process_madvise, fd, &range, 1, MADV_COLD, 0) < 0 && errno != ENOMEM ? -1 : 0;
}
static long by_robust_list(void)
{
	void *head;
	size_t size;
	return syscall(SYS_get_robust_list, pid, &head, &size);
}

/* procfs. */
static long opened(int number, const char *file, int flags)
{
	char path[99];
	snprintf(path, sizeof path, "/proc/%d/%s", number, file);
	return open(path, flags);
}
static long contents(const char *file)
{
	char byte;
	long fd = opened(pid, file, O_RDONLY);
	return fd < 0 ? fd : read(fd, &byte, 1) < 0 ? -1 : 0;
}
static long by_mem(void) { return opened(pid, "mem", O_RDONLY); }
static long by_mem_rw(void) { return opened(pid, "mem", O_RDWR); }
static long by_environ(void) { return contents("environ"); }
static long by_maps(void) { return contents("maps"); }
static long by_smaps(void) { return contents("smaps_rollup"); }
static long by_auxv(void) { return contents("auxv"); }
static long by_io(void) { return contents("io"); }
static long by_syscall(void) { return contents("syscall"); }
static long by_personality(void) { return contents("personality"); }
static long by_pagemap(void) { return opened(pid, "pagemap", O_RDONLY); }
static long by_fd(void) { return opened(pid, "fd/0", O_RDONLY); }
static long by_fd_list(void) { return opened(pid, "fd", O_RDONLY | O_DIRECTORY); }
static long by_fdinfo(void) { return contents("fdinfo/0"); }
static long by_cwd(void) { return opened(pid, "cwd/.", O_RDONLY | O_DIRECTORY); }
static long by_root(void) { return opened(pid, "root/etc/passwd", O_RDONLY); }
static long by_exe(void) { return opened(pid, "exe", O_RDONLY); }
static long by_ns(void) { return opened(pid, "ns/net", O_RDONLY); }
static long by_task_mem(void) { return opened(tid, "mem", O_RDONLY); }
static long by_task_environ(void)
{
	char file[64];
	snprintf(file, sizeof file, "task/%d/environ", tid);
	return contents(file);
}
static long written(const char *file, const char *text)
{
	long fd = opened(pid, file, O_WRONLY);
	return fd < 0 ? fd : write(fd, text, strlen(text)) < 0 ? -1 : 0;
}
static long by_oom(void) { return written("oom_score_adj", "777"); }
static long by_coredump_filter(void) { return written("coredump_filter", "0x1"); }
static long by_clear_refs(void) { return written("clear_refs", "1"); }

/* Limits, and the right to run. */
static const struct rlimit few = {200, 200};
static long by_prlimit(void) { return prlimit(pid, RLIMIT_NOFILE, &few, NULL); }
static long by_prlimit_thread(void) { return prlimit(tid, RLIMIT_NOFILE, &few, NULL); }
static long by_prlimit_locks(void) { return prlimit(pid, RLIMIT_LOCKS, &few, NULL); }

static long affinity(int number)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	return sched_setaffinity(number, sizeof set, &set);
}
static long by_affinity(void) { return affinity(pid); }
static long by_affinity_thread(void) { return affinity(tid); }

static const struct sched_param zero = {0};
static long by_scheduler(void) { return sched_setscheduler(pid, SCHED_IDLE, &zero); }
static long by_scheduler_thread(void) { return sched_setscheduler(tid, SCHED_IDLE, &zero); }
static long by_param(void) { return sched_setparam(pid, &zero); }
static long by_attr(void)
{
	struct {
		unsigned size, policy;
		unsigned long flags;
		int nice;
		unsigned priority;
		unsigned long runtime, deadline, period;
	} attr = {.size = 48, .policy = SCHED_BATCH, .nice = 19};
	return syscall(SYS_sched_setattr, pid, &attr, 0);
}
static long by_nice(void) { return setpriority(PRIO_PROCESS, pid, 19); }
static long by_nice_group(void) { return setpriority(PRIO_PGRP, getpgid(pid), 19); }
static long by_ioprio(void) { return syscall(SYS_ioprio_set, 1, pid, 3 << 13); }
static long by_ioprio_group(void) { return syscall(SYS_ioprio_set, 2, getpgid(pid), 3 << 13); }
static long by_move_pages(void) { return syscall(SYS_move_pages, pid, 0, NULL, NULL, NULL, 0); }
static long by_migrate_pages(void)
{
	unsigned long node = 1;
	return syscall(SYS_migrate_pages, pid, 8, &node, &node);
}

/* Of a whole user: natively they would hit more than is meant. They are not among "all". */
static long by_nice_user(void) { return setpriority(PRIO_USER, getuid(), 19); }
static long by_ioprio_user(void) { return syscall(SYS_ioprio_set, 3, getuid(), 3 << 13); }

static const struct attack {
	const char *name;
	long (*run)(void);
} attacks[] = {
#define A(name) {#name, by_##name}
	A(kill), A(kill_thread), A(kill_group), A(stop), A(tkill), A(tkill_thread), A(tgkill), A(tgkill_thread),
	A(sigqueue), A(sigqueue_thread), A(tgsigqueue), A(pidfd), A(pidfd_thread), A(pidfd_process_of_thread),
	A(pidfd_group), A(proc_directory), A(setown), A(setown_group), A(setown_signal), A(setown_ex), A(fiosetown),
	A(siocspgrp), A(attach), A(seize), A(readv), A(writev), A(getfd), A(kcmp), A(madvise), A(robust_list), A(mem),
	A(mem_rw), A(environ), A(maps), A(smaps), A(auxv), A(io), A(syscall), A(personality), A(pagemap), A(fd),
	A(fd_list), A(fdinfo), A(cwd), A(root), A(exe), A(ns), A(task_mem), A(task_environ), A(oom), A(coredump_filter),
	A(clear_refs), A(prlimit), A(prlimit_thread), A(prlimit_locks), A(affinity), A(affinity_thread), A(scheduler),
	A(scheduler_thread), A(param), A(attr), A(nice), A(nice_group), A(ioprio), A(ioprio_group), A(move_pages),
	A(migrate_pages),
	{NULL, NULL}, A(nice_user), A(ioprio_user), {NULL, NULL}
};

static void try(const struct attack *attack)
{
	long result = attack->run();
	printf("%s %s\n", attack->name, result < 0 ? strerrorname_np(errno) : "0");
	fflush(stdout);
}

static void *idle(void *nothing)
{
	for (;;)
		pause();
	return nothing;
}

int main(int argc, char **argv)
{
	const struct attack *attack = attacks;
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (; attack->name; attack++)
			puts(attack->name);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "victim")) {
		pthread_t thread;
		pthread_create(&thread, NULL, idle, NULL);
		pthread_create(&thread, NULL, idle, NULL);
		puts("ready");
		fflush(stdout);
		while (getchar() != EOF)
			;
		return 0;
	}
	/* What is sent to a group is not for us. */
	setsid();
	signal(SIGUSR1, SIG_IGN);
	signal(SIGIO, SIG_IGN);
	for (int i = 2; i < argc; i++) {
		pid = strcmp(argv[i], "parent") ? atoi(argv[i]) : getppid();
		tid = thread_of(pid);
		if (!strcmp(argv[1], "all")) {
			for (attack = attacks; attack->name; attack++)
				try(attack);
			continue;
		}
		for (attack = attacks; attack < attacks + sizeof attacks / sizeof *attacks; attack++)
			if (attack->name && !strcmp(attack->name, argv[1]))
				try(attack);
	}
	return 0;
}
