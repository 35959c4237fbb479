/*
 * What no supervisor can be faster than on this machine: "NAME NANOSECONDS" a line.
 *
 *   continued       a call that is trapped, received and continued by a supervisor that does nothing else
 *   read            the same, with twelve bytes of the caller's memory read in between
 *   cwd             the caller's working directory, opened and closed again
 *   readlink        the path of a descriptor of our own, from procfs
 *   getcwd          the same of a directory, by going there
 *   call            a call that does next to nothing
 *   filtered call   the same below a filter that allows everything
 *   open            a file that is opened for reading, and closed
 *   confined open   the same in a domain of Landlock that refuses writing and cutting off
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 20
#define CALLS 2000
#define SET_FLAGS _IOW('!', 4, uint64_t)
#define WRITE_AND_TRUNCATE (LANDLOCK_ACCESS_FS_WRITE_FILE | 1 << 14)

static uint64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* The best of some rounds: what else the machine does only makes it slower. */
static uint64_t
best(void (*once)(void))
{
	uint64_t least = UINT64_MAX, start, time;

	for (int round = 0; round < ROUNDS; round++) {
		start = now();
		for (int call = 0; call < CALLS; call++)
			once();
		time = now() - start;
		if (time < least)
			least = time;
	}
	return least / CALLS;
}

static void
trapped(void)
{
	syscall(SYS_getppid, "twelve bytes");
}

/* Traps getppid and nothing else, and returns the listener. */
static int
load(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	    SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
}

static void
supervise(const char *name, int reads)
{
	int pair[2], number;
	struct seccomp_notif call;
	struct seccomp_notif_resp answer;
	char buffer[12];
	pid_t child;

	fflush(stdout);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		err(1, "socketpair");
	child = fork();
	if (child == 0) {
		number = load();
		if (write(pair[1], &number, sizeof(number)) < 0 || read(pair[1], buffer, 1) < 0)
			_exit(1);
		printf("%s %ju\n", name, (uintmax_t)best(trapped));
		exit(0);
	}
	if (read(pair[0], &number, sizeof(number)) < 0 || number < 0)
		errx(1, "no listener");
	number = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, child, 0), number, 0);
	ioctl(number, SET_FLAGS, (uint64_t)1);
	if (write(pair[0], "", 1) < 0)
		err(1, "write");
	for (;;) {
		memset(&call, 0, sizeof(call));
		if (ioctl(number, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
			if (waitpid(child, NULL, WNOHANG) == child)
				break;
			continue;
		}
		if (reads) {
			struct iovec ours = {buffer, sizeof(buffer)}, theirs = {(void *)call.data.args[0], sizeof(buffer)};

			process_vm_readv(child, &ours, 1, &theirs, 1, 0);
		}
		answer = (struct seccomp_notif_resp){.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
		ioctl(number, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
	close(number);
}

static void
call(void)
{
	syscall(SYS_getppid);
}

static void
open_file(void)
{
	close(open("/usr/include/linux/landlock.h", O_RDONLY | O_CLOEXEC));
}

/* Allows everything. */
static void
filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program))
		err(1, "seccomp");
}

static void
confine(void)
{
	struct landlock_ruleset_attr handled = {.handled_access_fs = WRITE_AND_TRUNCATE};
	int rules = syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);

	if (rules < 0 || syscall(SYS_landlock_restrict_self, rules, 0))
		err(1, "landlock");
}

/* In a process of its own, where that is not undone. */
static void
inside(const char *name, void (*enter)(void), void (*once)(void))
{
	fflush(stdout);
	if (fork() == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		enter();
		printf("%s %ju\n", name, (uintmax_t)best(once));
		exit(0);
	}
	wait(NULL);
}

static char of_parent[64], of_root[32], path[PATH_MAX];
static int proc, root;

static void
cwd(void)
{
	close(openat(proc, of_parent, O_PATH | O_CLOEXEC));
}

static void
by_readlink(void)
{
	if (readlinkat(proc, of_root, path, sizeof(path)) < 0)
		err(1, "readlink");
}

static void
by_getcwd(void)
{
	if (fchdir(root) || syscall(SYS_getcwd, path, sizeof(path)) < 0)
		err(1, "getcwd");
}

int
main(void)
{
	supervise("continued", 0);
	supervise("read", 1);
	proc = open("/proc", O_PATH | O_DIRECTORY);
	root = open(".", O_PATH | O_DIRECTORY);
	snprintf(of_parent, sizeof(of_parent), "%d/cwd", getppid());
	snprintf(of_root, sizeof(of_root), "self/fd/%d", root);
	printf("cwd %ju\n", (uintmax_t)best(cwd));
	printf("readlink %ju\n", (uintmax_t)best(by_readlink));
	printf("getcwd %ju\n", (uintmax_t)best(by_getcwd));
	printf("call %ju\n", (uintmax_t)best(call));
	inside("filtered call", filter, call);
	printf("open %ju\n", (uintmax_t)best(open_file));
	inside("confined open", confine, open_file);
	return 0;
}
