/* escape --list; escape NAME OK NO: a way to change something in NO, which lies in OK/p and is denied there by a rule. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <pthread.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char *ok, *no;

static char *f(const char *format, ...)
{
	va_list list;
	char *text;
	__builtin_va_start(list, format);
	vasprintf(&text, format, list);
	__builtin_va_end(list);
	return text;
}

static void say(long result)
{
	puts(result < 0 ? strerrorname_np(errno) : "0");
}

static void put(int fd)
{
	say(fd);
	if (fd >= 0)
		say(write(fd, "!", 1));
}

static char *proc(int fd) { return f("/proc/self/fd/%d", fd); }
static char *secret(const char *name) { return f("%s/%s", no, name); }
static int rd(const char *name) { return open(secret(name), O_RDONLY); }
static int pin(const char *name) { return open(secret(name), O_PATH); }
static char *mine(const char *name) { return f("%s/p/%s", ok, name); }

static void *swapped(void *ready)
{
	int *ends = ready;
	char c;
	unshare(CLONE_FILES);
	dup2(open(no, O_RDONLY), 77);
	write(ends[1], "x", 1);
	say(mkdirat(77, "new", 0755));
	read(ends[0], &c, 0);
	return NULL;
}

static void *moved(void *unused)
{
	unshare(CLONE_FS);
	chdir(no);
	say(mkdir("new", 0755));
	return NULL;
}

static void *lonely(void *leader)
{
	pthread_join(*(pthread_t *)leader, NULL);
	say(mkdir("new", 0755));
	_exit(0);
}

static void tables(void)
{
	int ends[2];
	pthread_t thread;
	pipe(ends);
	dup2(open(ok, O_RDONLY), 77);
	pthread_create(&thread, NULL, swapped, ends);
	pthread_join(thread, NULL);
}

static void cwd_of_thread(void)
{
	pthread_t thread;
	chdir(ok);
	pthread_create(&thread, NULL, moved, NULL);
	pthread_join(thread, NULL);
}

static pthread_t leader;

static void without_leader(void)
{
	pthread_t thread;
	leader = pthread_self();
	chdir(no);
	pthread_create(&thread, NULL, lonely, &leader);
	pthread_exit(NULL);
}

static void by_socket(void)
{
	int pair[2], fd = rd("f");
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof fd)]; } c = {.h = {CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec io = {"x", 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	memcpy(CMSG_DATA(&c.h), &fd, sizeof fd);
	if (syscall(SYS_sendmsg, pair[0], &m, 0) < 0)
		fd = dup(fd);
	else {
		char x;
		struct iovec in = {&x, 1};
		m.msg_iov = &in;
		recvmsg(pair[1], &m, 0);
		memcpy(&fd, CMSG_DATA(&c.h), sizeof fd);
	}
	say(fchmod(fd, 0600));
}

static int flags;

#define WAYS \
W("plain", put(open(secret("f"), O_WRONLY))) \
W("dot-dot", put(open(f("%s/p/d/../secret/f", ok), O_WRONLY))) \
W("dots", put(open(f("%s/./p//secret/./f", ok), O_WRONLY))) \
W("slashes", put(open(f("//%s//p///secret////f", ok), O_WRONLY))) \
W("root", put(open(f("/proc/self/root%s/f", no), O_WRONLY))) \
W("root-of-thread", put(open(f("/proc/thread-self/root%s/f", no), O_WRONLY))) \
W("root-of-parent", put(open(f("/proc/%d/root%s/f", getppid(), no), O_WRONLY))) \
W("cwd", (chdir(no), put(open("f", O_WRONLY)))) \
W("cwd-link", (chdir(no), put(open("/proc/self/cwd/f", O_WRONLY)))) \
W("cwd-dot-dot", (chdir(secret("d")), put(open("../f", O_WRONLY)))) \
W("cwd-link-dot-dot", (chdir(secret("d")), put(open("/proc/self/cwd/../f", O_WRONLY)))) \
W("dirfd", put(openat(open(no, O_RDONLY), "f", O_WRONLY))) \
W("dirfd-pinned", put(openat(open(no, O_PATH), "f", O_WRONLY))) \
W("dirfd-dot-dot", put(openat(pin("d"), "../f", O_WRONLY))) \
W("fd-link-dot-dot", put(open(f("%s/../f", proc(pin("d"))), O_WRONLY))) \
W("reopen", put(open(proc(rd("f")), O_WRONLY))) \
W("reopen-rdwr-trunc", put(open(proc(rd("f")), O_RDWR | O_TRUNC))) \
W("reopen-pinned", put(open(proc(pin("f")), O_WRONLY))) \
W("reopen-thread", put(open(f("/proc/thread-self/fd/%d", rd("f")), O_WRONLY))) \
W("reopen-dev-fd", put(open(f("/dev/fd/%d", rd("f")), O_WRONLY))) \
W("reopen-stdin", (dup2(rd("f"), 0), put(open("/dev/stdin", O_WRONLY)))) \
W("reopen-odd", put(open(f("/proc/./self//task/../fd/%d", rd("f")), O_WRONLY))) \
W("reopen-relative", (chdir("/proc/self/fd"), put(open(f("%d", rd("f")), O_WRONLY)))) \
W("reopen-number", put(open(f("/proc/%d/fd/%d", getpid(), rd("f")), O_WRONLY))) \
W("reopen-link", (symlink(proc(rd("f")), mine("way")), put(open(mine("way"), O_WRONLY)))) \
W("truncate-fd", say(truncate(proc(rd("f")), 1))) \
W("chmod-fd", say(chmod(proc(pin("f")), 0600))) \
W("setxattr-fd", say(setxattr(proc(pin("f")), "user.new", "v", 1, 0))) \
W("symlink", (symlink(secret("f"), mine("way")), put(open(mine("way"), O_WRONLY)))) \
W("symlink-relative", (symlink("secret/f", mine("way")), put(open(mine("way"), O_WRONLY)))) \
W("symlink-twice", (symlink(no, mine("way")), symlink("way/f", mine("way2")), put(open(mine("way2"), O_WRONLY)))) \
W("symlink-dir", (symlink(no, mine("way")), put(open(mine("way/new"), O_WRONLY | O_CREAT, 0644)))) \
W("symlink-dangling", (symlink(secret("new"), mine("way")), put(open(mine("way"), O_WRONLY | O_CREAT, 0644)))) \
W("symlink-mkdir", (symlink(no, mine("way")), say(mkdir(mine("way/new"), 0755)))) \
W("symlink-unlink", (symlink(no, mine("way")), say(unlink(mine("way/f"))))) \
W("symlink-rename", (symlink(no, mine("way")), say(rename(mine("mine"), mine("way/new"))))) \
W("symlink-chmod", (symlink(secret("f"), mine("way")), say(chmod(mine("way"), 0600)))) \
W("symlink-truncate", (symlink(secret("f"), mine("way")), say(truncate(mine("way"), 1)))) \
W("symlink-rmdir", (symlink(no, mine("way")), say(rmdir(mine("way/d"))))) \
W("hard-link", (say(link(secret("f"), mine("way"))), put(open(mine("way"), O_WRONLY)))) \
W("hard-link-fd", (say(linkat(-1, proc(rd("f")), -1, mine("way"), AT_SYMLINK_FOLLOW)), put(open(mine("way"), O_WRONLY)))) \
W("hard-link-empty", (say(linkat(rd("f"), "", -1, mine("way"), AT_EMPTY_PATH)), \
	say(linkat(-1, secret("f"), -1, mine("way2"), 0)))) \
W("hard-link-in", say(link(mine("mine"), secret("new")))) \
W("tmpfile", say(linkat(-1, proc(open(ok, O_TMPFILE | O_RDWR, 0644)), -1, secret("new"), AT_SYMLINK_FOLLOW))) \
W("rename-out", say(rename(secret("f"), mine("way")))) \
W("rename-in", say(rename(mine("mine"), secret("f")))) \
W("exchange", say(renameat2(-1, mine("mine"), -1, secret("f"), RENAME_EXCHANGE))) \
W("whiteout", say(renameat2(-1, secret("f"), -1, mine("way"), RENAME_WHITEOUT))) \
W("rename-itself", (say(rename(no, mine("public"))), put(open(mine("public/f"), O_WRONLY)))) \
W("rename-ancestor", (say(rename(f("%s/p", ok), f("%s/q", ok))), put(open(f("%s/q/secret/f", ok), O_WRONLY)))) \
W("exchange-ancestor", (mkdir(f("%s/q", ok), 0755), \
	say(renameat2(-1, f("%s/p", ok), -1, f("%s/q", ok), RENAME_EXCHANGE)), put(open(f("%s/q/secret/f", ok), O_WRONLY)))) \
W("exchange-itself", (mkdir(f("%s/q", ok), 0755), \
	say(renameat2(-1, no, -1, f("%s/q", ok), RENAME_EXCHANGE)), put(open(f("%s/q/f", ok), O_WRONLY)))) \
W("fchmod", say(fchmod(rd("f"), 0600))) \
W("fchmod-dir", say(fchmod(rd("d"), 0700))) \
W("fsetxattr", say(fsetxattr(rd("f"), "user.new", "v", 1, 0))) \
W("futimens", say(syscall(SYS_utimensat, rd("f"), NULL, NULL, 0))) \
W("fchmod-received", by_socket()) \
W("ioctl", (flags = FS_NODUMP_FL, say(ioctl(rd("f"), FS_IOC_SETFLAGS, &flags)))) \
W("table-of-a-thread", tables()) \
W("cwd-of-a-thread", cwd_of_thread()) \
W("leader-gone", without_leader()) \

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc == 2) {
#define W(name, way) puts(name);
		WAYS
#undef W
		return 0;
	}
	ok = argv[2];
	no = argv[3];
#define W(name, way) if (!strcmp(argv[1], name)) way;
	WAYS
#undef W
	return 0;
}
