/*
 * beset filters DIR      filters of its own, of every kind, and a directory made under each
 * beset dumpable DIR     is not to be looked into
 * beset execonly DIR     makes a directory; to be executed from a file that cannot be read
 * beset memory DIR       names in memory that cannot be read, and at the end of what can
 * beset execs DIR COUNT  executes itself while its other thread is in a mediated call
 * beset lengths DIR      lengths and counts at their limits and far beyond
 * beset peer DIR         asks for a pidfd of who has connected, or sent
 * beset core             dumps core
 *
 * Each line of output is a name and an errno, or "0".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char *dir;

static char *in(const char *name)
{
	char *text;
	asprintf(&text, "%s/%s", dir, name);
	return text;
}

static void say(const char *name, long result)
{
	printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "0");
	fflush(stdout);
}

static void filters(void)
{
	static const struct {
		const char *name;
		unsigned answer;
	} kinds[] = {
		{"allow", SECCOMP_RET_ALLOW},
		{"trace", SECCOMP_RET_TRACE},
		{"errno", SECCOMP_RET_ERRNO},
		{"notify", SECCOMP_RET_USER_NOTIF},
		{"log", SECCOMP_RET_LOG},
	};
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (fork() == 0) {
			struct sock_filter code[] = {
				BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
				BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdir, 0, 1),
				BPF_STMT(BPF_RET | BPF_K, kinds[i].answer),
				BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
			};
			struct sock_fprog program = {4, code};
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
			if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
				say("seccomp", -1);
			say(kinds[i].name, syscall(SYS_mkdir, in(kinds[i].name), 0777));
			_exit(0);
		}
		wait(NULL);
	}
}

static void dumpable(void)
{
	say("prctl", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	say("mkdir", mkdir(in("hidden"), 0777));
}

static void memory(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *name = in("edge");
	size_t len = strlen(name) + 1;
	munmap(page + 4096, 4096);
	memcpy(page + 4096 - len, name, len);
	say("edge", mkdir(page + 4096 - len, 0777));
	memcpy(page + 4096 - len + 1, name, len - 1);
	say("no end", mkdir(page + 4096 - len + 1, 0777));
	strcpy(page, in("closed"));
	mprotect(page, 4096, PROT_NONE);
	say("closed", mkdir(page, 0777));
	say("null", syscall(SYS_mkdir, NULL, 0777));
	say("kernel", mkdir((char *)0xffff800000000000, 0777));
}

static void *make(void *nothing)
{
	char *name = in("again");
	for (;;) {
		mkdir(name, 0777);
		rmdir(name);
	}
	return nothing;
}

static void execs(char **argv)
{
	pthread_t thread;
	int count = atoi(argv[3]);
	char left[20];
	if (count == 0) {
		rmdir(in("again"));
		say("done", mkdir(in("done"), 0777));
		return;
	}
	pthread_create(&thread, NULL, make, NULL);
	for (volatile int i = count % 7 * 3000; i > 0; i--)
		;
	sprintf(left, "%d", count - 1);
	execl("/proc/self/exe", argv[0], argv[1], argv[2], left, NULL);
}

static void lengths(void)
{
	static const unsigned long sizes[] = {0, 1, 108, 110, 111, 128, 129, 65536, 65537, 0x7fffffff, 0x80000000, 0xffffffff,
					      0x100000000, 0xffffffffffffffff};
	char *much = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static struct iovec iov[1025];
	int fd = open(in("file"), O_CREAT | O_RDWR, 0600);
	int pair[2];
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char text[40];
		struct sockaddr_un un = {AF_UNIX, "/nowhere/at/all"};
		socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
		int sock = socket(AF_UNIX, SOCK_DGRAM, 0);
#define SAY(name, call) sprintf(text, name " %lx", sizes[i]); say(text, call)
		SAY("setxattr", fsetxattr(fd, "user.a", much, sizes[i], 0));
		SAY("connect", syscall(SYS_connect, sock, &un, sizes[i]));
		SAY("bind", syscall(SYS_bind, sock, &un, sizes[i]));
		SAY("sendto", syscall(SYS_sendto, sock, much, 1, MSG_DONTWAIT, &un, sizes[i]));
		struct msghdr message = {.msg_name = &un, .msg_namelen = sizes[i], .msg_iov = iov, .msg_iovlen = 1};
		iov[0] = (struct iovec){much, 1};
		SAY("namelen", sendmsg(sock, &message, MSG_DONTWAIT));
		message = (struct msghdr){.msg_iov = iov, .msg_iovlen = sizes[i] > 1025 ? 1025 : sizes[i]};
		SAY("iovlen", sendmsg(pair[0], &message, MSG_DONTWAIT));
		message = (struct msghdr){.msg_iov = iov, .msg_iovlen = 1, .msg_control = much, .msg_controllen = sizes[i]};
		SAY("control", sendmsg(pair[0], &message, MSG_DONTWAIT));
		close(pair[0]);
		close(pair[1]);
		close(sock);
	}
}

static void peer(void)
{
	struct sockaddr_un un = {AF_UNIX};
	int pidfd = -1, one = 1;
	socklen_t len = sizeof pidfd;
	strcpy(un.sun_path, in("socket"));
	int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(server, (void *)&un, sizeof un) < 0 || listen(server, 1) < 0 ||
	    connect(client, (void *)&un, sizeof un) < 0)
		say("connect", -1);
	server = accept(server, NULL, NULL);
	say("SO_PEERPIDFD", getsockopt(server, SOL_SOCKET, 77, &pidfd, &len));
	say("SO_PASSPIDFD", setsockopt(server, SOL_SOCKET, 76, &one, sizeof one));
}

int main(int argc, char **argv)
{
	dir = argc > 2 ? argv[2] : ".";
	if (!strcmp(argv[1], "filters"))
		filters();
	else if (!strcmp(argv[1], "dumpable"))
		dumpable();
	else if (!strcmp(argv[1], "execonly"))
		say("mkdir", mkdir(in("unread"), 0777));
	else if (!strcmp(argv[1], "memory"))
		memory();
	else if (!strcmp(argv[1], "execs"))
		execs(argv);
	else if (!strcmp(argv[1], "lengths"))
		lengths();
	else if (!strcmp(argv[1], "peer"))
		peer();
	else if (!strcmp(argv[1], "core")) {
		struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
		setrlimit(RLIMIT_CORE, &all);
		abort();
	}
	return 0;
}
