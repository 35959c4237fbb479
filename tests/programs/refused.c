// Tries every call that a sandbox refuses whatever its arguments, and those that it refuses for some arguments: a line each, with
// what came of it. Arguments are such that the kernel itself would say something else, if it can be had without harm.
//
//     refused [NAME...]    all, or these
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

// Newer than the headers.
#ifndef __NR_open_tree_attr
#define __NR_open_tree_attr 467
#endif
#ifndef __NR_lsm_set_self_attr
#define __NR_lsm_set_self_attr 460
#endif
// Of one ABI only.
#ifndef __NR_umount
#define __NR_umount -1
#endif
#ifndef __NR_vm86
#define __NR_vm86 -1
#define __NR_vm86old -1
#endif
#ifndef __NR_kexec_file_load
#define __NR_kexec_file_load -1
#endif
#ifndef __NR_clock_settime64
#define __NR_clock_settime64 -1
#endif
#ifndef __NR_stime
#define __NR_stime -1
#endif

#define BAD ((void *)1)

static char byte;
static struct iovec one = {&byte, 1};
static char io_uring_params[120];
static struct {
	unsigned bytes;
	int type;
	char data[128];
} handle;
static int mount_id;

static char **wanted;

static int is_wanted(const char *name)
{
	for (char **each = wanted; *each; each++)
		if (!strcmp(*each, name))
			return 1;
	return !*wanted;
}

static void try(const char *name, long nr, long a, long b, long c, long d, long e, long f)
{
	if (nr < 0 || !is_wanted(name))
		return;
	fflush(stdout);
	// In a process and a session of its own, which may come to harm.
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		long result = syscall(nr, a, b, c, d, e, f);
		printf("%s %s\n", name, result >= 0 ? "done" : strerrorname_np(errno));
		fflush(stdout);
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status))
		printf("%s died\n", name);
}

// Without a trailing comma there would be no argument.
#define TRY(name, ...) TRY_AS(#name, __NR_##name, __VA_ARGS__)
#define TRY_AS(text, nr, ...) TRY_6(text, nr, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define TRY_6(text, nr, a, b, c, d, e, f, ...) \
	try(text, nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

int main(int argc, char **argv)
{
	(void)argc;
	wanted = argv + 1;
	pid_t self = getpid();
	int pidfd = syscall(SYS_pidfd_open, self, 0);
	unsigned size;

	TRY(ptrace, PTRACE_TRACEME);
	TRY(process_vm_readv, self, &one, 1, &one, 1, 0);
	TRY(process_vm_writev, self, &one, 1, &one, 1, 0);
	TRY(process_madvise, -1, &one, 1, 20, 0);
	TRY(pidfd_getfd, pidfd, pidfd, 0);
	TRY(kcmp, self, self, 1, 0, 0);
	TRY(userfaultfd, O_CLOEXEC | 1);
	TRY(memfd_secret, 0);
	TRY(name_to_handle_at, AT_FDCWD, "/", &handle, &mount_id, 0);
	handle.bytes = 8;
	TRY(open_by_handle_at, -1, &handle, O_RDONLY);
	TRY(io_uring_setup, 1, io_uring_params);
	TRY(io_uring_enter, -1, 0, 0, 0, 0, 0);
	TRY(io_uring_register, -1, 0, 0, 0);
	TRY(chroot, "/nonexistent");
	TRY(mount, BAD, BAD, BAD, 0, 0);
	TRY(umount, "/nonexistent");
	TRY(umount2, "/nonexistent", 0);
	TRY(pivot_root, BAD, BAD);
	TRY(move_mount, -1, BAD, -1, BAD, -1);
	TRY(mount_setattr, -1, BAD, -1, BAD, 0);
	TRY(fsopen, BAD, -1);
	TRY(fsconfig, -1, 0, 0, 0, 0);
	TRY(fsmount, -1, -1, 0);
	TRY(fspick, -1, BAD, -1);
	TRY(open_tree, AT_FDCWD, "/", O_CLOEXEC);
	TRY(open_tree_attr, AT_FDCWD, "/", O_CLOEXEC, 0, 0);
	TRY(landlock_create_ruleset, 0, 0, 1);
	TRY(lsm_set_self_attr, 0, BAD, 0, -1);
	TRY(add_key, "user", "sydbox-test", "x", 1, KEY_SPEC_PROCESS_KEYRING);
	TRY(request_key, "user", "sydbox-test-none", 0, 0);
	TRY(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1);
	TRY(bpf, 0x7fff, 0, 0);
	TRY(perf_event_open, BAD, 0, -1, -1, -1);
	TRY(syslog, 10, 0, 0);
	TRY(reboot, 0, 0, 0, 0);
	TRY(acct, BAD);
	TRY(swapon, BAD, -1);
	TRY(swapoff, BAD);
	TRY(quotactl, 0x80000100 | 200, BAD, 0, BAD);
	TRY(quotactl_fd, -1, 0x80000100, 0, BAD);
	TRY(vhangup, 0);
	TRY(sethostname, BAD, -1);
	TRY(setdomainname, BAD, -1);
	TRY(iopl, 4);
	TRY(ioperm, -1, 2, 1);
	TRY(vm86, 0, 0);
	TRY(vm86old, 0);
	TRY(kexec_load, 0, 0, 0, -1);
	TRY(kexec_file_load, -1, -1, 0, 0, -1);
	TRY(init_module, 0, 0, 0);
	TRY(finit_module, -1, 0, 0);
	TRY(delete_module, BAD, 0);
	TRY(settimeofday, BAD, 0);
	TRY(clock_settime, 100, BAD);
	TRY(clock_settime64, 100, BAD);
	TRY(stime, BAD);
	TRY(uselib, BAD);
	TRY(lookup_dcookie, 0, 0, 0);
	TRY(nfsservctl, 0, 0, 0);
	TRY(_sysctl, BAD);

	// Refused for some arguments.
	TRY(setns, -1, 0);
	TRY(clone3, 0, 0);
	TRY_AS("unshare-user", __NR_unshare, CLONE_NEWUSER);
	TRY_AS("unshare-files", __NR_unshare, CLONE_FILES);
	// The kernel wants CLONE_VM beside CLONE_SIGHAND, and makes no process.
	TRY_AS("clone-user", __NR_clone, CLONE_NEWUSER | CLONE_SIGHAND | SIGCHLD);
	TRY_AS("seccomp-listener", __NR_seccomp, 1, 8, BAD);
	TRY_AS("personality-exec", __NR_personality, READ_IMPLIES_EXEC);
	TRY_AS("personality-ask", __NR_personality, 0xffffffff);
	TRY_AS("personality-norandom", __NR_personality, ADDR_NO_RANDOMIZE);
	TRY_AS("ioctl-tiocsti", __NR_ioctl, -1, TIOCSTI, BAD);
	TRY_AS("ioctl-tioclinux", __NR_ioctl, -1, TIOCLINUX, BAD);
	TRY_AS("ioctl-notif", __NR_ioctl, -1, 0xc0182101, BAD);
	TRY_AS("prctl-mm", __NR_prctl, PR_SET_MM, 15, &size, 0, 0);
	return 0;
}
