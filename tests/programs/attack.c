/* attack NAME ARGUMENT...: what a hostile program tries. Each line of output is an errno, or "0". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char **arg;

static void say(long result)
{
	puts(result < 0 ? strerrorname_np(errno) : "0");
	fflush(stdout);
}

/* open r|w PATH... */
static void opens(void)
{
	for (char **path = arg + 1; *path; path++) {
		int fd = open(*path, **arg == 'w' ? O_RDWR : O_RDONLY);
		say(fd);
		if (fd >= 0)
			close(fd);
	}
}

/* supervisor FILE: opens /proc/FILE of the parent, as which the supervisor started us, for writing and for reading. */
static void supervisor(void)
{
	char path[99];
	snprintf(path, sizeof path, "/proc/%d/%s", getppid(), *arg);
	say(open(path, O_RDWR));
	say(open(path, O_RDONLY));
}

/* parent: two children open the memory of their parent, one as it is and one that has locked itself. */
static void parent(void)
{
	struct stat st;
	char file[99];
	snprintf(file, sizeof file, "/proc/%d/mem", getpid());
	for (int locks = 0; locks < 2; locks++) {
		fflush(stdout);
		if (fork() == 0) {
			if (locks)
				stat("/dev/sydbox/core/trace/magic_lock:on", &st);
			say(open(file, O_RDWR));
			_exit(0);
		}
		wait(NULL);
	}
	say(stat("/dev/sydbox", &st));
}

static long talk(int port)
{
	struct sockaddr_in in = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	long result = connect(fd, (void *)&in, sizeof in);
	close(fd);
	return result;
}

/* port udp|v6only PORT: binds the port another way, then connects to who has it. */
static void port(void)
{
	int number = atoi(arg[1]), one = 1, fd;
	say(talk(number));
	if (**arg == 'u') {
		struct sockaddr_in in = {AF_INET, htons(number), {htonl(INADDR_LOOPBACK)}};
		fd = socket(AF_INET, SOCK_DGRAM, 0);
		say(bind(fd, (void *)&in, sizeof in));
	} else {
		struct sockaddr_in6 in6 = {AF_INET6, htons(number)};
		fd = socket(AF_INET6, SOCK_STREAM, 0);
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
		say(bind(fd, (void *)&in6, sizeof in6));
	}
	say(talk(number));
}

/* caps bounding|securebits PROGRAM...: executes it as a root that has no capabilities. */
static void caps(void)
{
	if (**arg == 'b')
		for (int cap = 0; cap < 64; cap++)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	else
		prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0);
	execvp(arg[1], arg + 1);
	say(-1);
}

/* resume PROGRAM FILE: executes the program in a way that fails, then makes the file. */
static void resume(void)
{
	say(open(arg[1], O_CREAT | O_WRONLY, 0644));
	say(syscall(SYS_execve, arg[0], (void *)1, NULL));
	say(open(arg[1], O_CREAT | O_WRONLY, 0644));
}

/* mknod PATH MAJOR MINOR */
static void node(void)
{
	say(mknod(arg[0], S_IFCHR | 0666, (atoi(arg[1]) << 8) | atoi(arg[2])));
}

static char *volatile path;
static char *good, *bad;

static void *flip(void *unused)
{
	for (;;) {
		for (volatile int i = 0; i < 300; i++)
			;
		memcpy(path, bad, strlen(bad) + 1);
		for (volatile int i = 0; i < 300; i++)
			;
		memcpy(path, good, strlen(good) + 1);
	}
	return NULL;
}

static void *call(void *unused)
{
	for (;;)
		access("/", W_OK), close(open(arg[4], O_WRONLY));
	return NULL;
}

/* Whether the file has one of each of the letters. */
static int has(const char *file, const char *letters)
{
	char text[65536];
	int fd = open(file, O_RDONLY);
	ssize_t len = read(fd, text, sizeof text);
	close(fd);
	while (*letters && memchr(text, *letters, len < 0 ? 0 : len))
		letters++;
	return !*letters;
}

/* exec GOOD BAD COUNT FILE WRITTEN [LETTERS]: executes GOOD, which is BAD by the time the kernel looks. BAD is a copy of
   GOOD that appends a letter to FILE, as many as were seen to run on; WRITTEN may be written. Stops when FILE has the
   letters; says how often it tried. */
static void exec(void)
{
	int n = 0;
	good = arg[0], bad = arg[1];
	while (n < atoi(arg[2]) && !(arg[5] && has(arg[3], arg[5]))) {
		n++;
		if (fork() == 0) {
			pthread_t thread;
			char *words[] = {"attack", "ran", arg[3], NULL};
			path = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			strcpy(path, good);
			pthread_create(&thread, NULL, flip, NULL);
			for (int i = 0; i < 2; i++)
				pthread_create(&thread, NULL, call, NULL);
			for (;;)
				execv(path, words);
		}
		wait(NULL);
	}
	printf("%d\n", n);
}

/* ran FILE: appends the last letter of this program's name to the file, in two calls that are mediated. */
static void ran(void)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self);
	int fd = open(*arg, O_WRONLY | O_APPEND);
	close(fd);
	fd = open(*arg, O_WRONLY | O_APPEND);
	write(fd, self + len - 1, 1);
}

/* siblings COUNT: makes children of whoever started us, and waits for input. */
static void siblings(void)
{
	for (int i = atoi(*arg); i > 0; i--)
		if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0)
			_exit(0);
	puts("made");
	fflush(stdout);
	getchar();
}

static int unmasked(void *done)
{
	umask(0);
	*(volatile int *)done = 1;
	for (;;)
		pause();
}

/* thread-umask FILE: a thread that was made without CLONE_FS takes its mask away; then we make the file. */
static void thread_umask(void)
{
	volatile int done = 0;
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	umask(077);
	clone(unmasked, stack + 65536, CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, (void *)&done);
	while (!done)
		sched_yield();
	struct stat st;
	fstat(open(*arg, O_CREAT | O_WRONLY, 0666), &st);
	printf("%o\n", st.st_mode & 0777);
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*run)(void); } all[] = {
		{"open", opens}, {"supervisor", supervisor}, {"parent", parent}, {"port", port}, {"caps", caps}, {"resume", resume},
		{"mknod", node}, {"exec", exec}, {"ran", ran}, {"siblings", siblings},
		{"thread-umask", thread_umask},
	};
	arg = argv + 2;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (argc > 1 && !strcmp(argv[1], all[i].name))
			return all[i].run(), 0;
	return 2;
}
