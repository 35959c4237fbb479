/*
 * hostile states N        changes its state N times: rules that come and go, and the umask
 * hostile rules N         N processes with as many rules as they are given
 * hostile commands N      N processes that give a command all at once
 * hostile kills N DIR     kills N processes at any point of a mediated call
 * hostile bomb DIR        makes processes until there can be no more
 * hostile fifos N DIR     N processes wait in opens of FIFOs
 * hostile surprise N DIR N processes open files that become FIFOs, and are killed
 * hostile wedge N DIR     makes N files while others create files that become FIFOs
 * hostile last DIR        the same while no process or thread can be started any more, until one is refused
 * hostile few DIR         the same while few descriptors can be had
 * hostile hop DIR         eight processes leave all that they are to a child, all the time; then a file is made
 * hostile forever DIR     makes files for ever, and says of each whether it could
 *
 * Waits for a line before and after.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static struct stat st;

/* A process, or the end: -1 must not be killed. */
static pid_t make_process(void)
{
	pid_t pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	return pid;
}

static void pause_for_line(const char *text)
{
	puts(text);
	fflush(stdout);
	while (getchar() != '\n')
		;
}

static long command(const char *text) { return stat(text, &st); }

static void states(int count)
{
	char text[2][99];
	for (int i = 0; i < count; i++) {
		for (int rule = 0; rule < 2; rule++)
			sprintf(text[rule], "/dev/sydbox/allowlist/write%c/some/where/%d/***", "+-"[rule], i);
		umask(i & 077);
		if (command(text[0]) < 0 || (i >= 100 && command(text[1]) < 0)) {
			printf("%s at %d\n", strerrorname_np(errno), i);
			return;
		}
	}
}

/* 16 rules of nearly 64 KiB each: as much as a list takes. */
static int fill(int number)
{
	static char text[70000];
	for (int rule = 0; rule < 16; rule++) {
		int len = sprintf(text, "/dev/sydbox/allowlist/write+/%d/%d", number, rule);
		while (len < 64900)
			len += sprintf(text + len, "/%d*%0900d", len, 0);
		if (command(text) < 0)
			return errno;
	}
	return 0;
}

static void rules(int count)
{
	int refused = 0, others = 0, ends[2], stay[2];
	pipe(ends);
	pipe(stay);
	for (int i = 0; i < count; i++)
		if (make_process() == 0) {
			char result = fill(i);
			close(stay[1]);
			write(ends[1], &result, 1);
			read(stay[0], &result, 1);
			_exit(0);
		}
	for (int i = 0; i < count; i++) {
		char result;
		read(ends[0], &result, 1);
		refused += result == ENOSPC;
		others += result != ENOSPC && result != 0;
	}
	printf("refused %s, other errors %d\n", refused ? "some" : "none", others);
	/* With the processes their rules go. */
	close(stay[1]);
	while (wait(NULL) > 0)
		;
	printf("afterwards %d\n", fill(0));
}

static void commands(int count)
{
	int go[2], failed = 0, status;
	char byte;
	pipe(go);
	for (int i = 0; i < count; i++)
		if (make_process() == 0) {
			char text[99];
			sprintf(text, "/dev/sydbox/denylist/write+/of/%d", i);
			close(go[1]);
			read(go[0], &byte, 1);
			_exit(command(text) < 0 || command("/dev/sydbox/core/sandbox/write?") < 0);
		}
	close(go[1]);
	while (wait(&status) > 0)
		failed += status != 0;
	printf("failed %d\n", failed);
}

static void mediated(const char *dir)
{
	char path[2][199], value[300] = "";
	for (int i = 0;; i++) {
		sprintf(path[0], "%s/%d", dir, getpid());
		sprintf(path[1], "%s/%d.x", dir, getpid());
		int fd = open(path[0], O_CREAT | O_RDWR, 0600);
		fchmod(fd, 0644);
		fsetxattr(fd, "user.a", value, sizeof value, 0);
		close(fd);
		rename(path[0], path[1]);
		command("/dev/sydbox/core/sandbox/write?");
		umask(i & 077);
		command("/dev/sydbox/core/violation/raise_fail:1");
		unlink(path[1]);
		mkdir("/nowhere/x", 0777);
		mknod(path[1], S_IFIFO | 0600, 0);
		open(path[1], O_RDWR | O_NONBLOCK);
		unlink(path[1]);
	}
}

static void kills(int count, const char *dir)
{
	srandom(getpid());
	for (int i = 0; i < count; i++) {
		pid_t pid = make_process();
		if (pid == 0)
			mediated(dir);
		struct timespec moment = {0, random() % 600000};
		nanosleep(&moment, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

static void bomb(const char *dir)
{
	int made = 0;
	pid_t pid;
	struct rlimit limit;
	getrlimit(RLIMIT_NPROC, &limit);
	while ((pid = fork()) > 0 && ++made < 20000)
		;
	if (pid == 0) {
		/* Each makes more, and a file that it says nothing of. */
		for (int i = 0; i < 3; i++)
			if (fork() < 0)
				break;
		char path[199];
		sprintf(path, "%s/b%d", dir, getpid());
		close(open(path, O_CREAT | O_RDWR, 0600));
		unlink(path);
		pause();
	}
	char path[199];
	sprintf(path, "%s/parent", dir);
	int fd = made < 20000 ? open(path, O_CREAT | O_RDWR, 0600) : -1;
	printf("%s %s\n", made < 20000 ? "stopped" : "went on", fd < 0 ? "refused" : "served");
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	while (wait(NULL) > 0)
		;
}

static void fifos(int count, const char *dir)
{
	char path[199];
	pid_t *pids = calloc(count, sizeof *pids);
	for (int i = 0; i < count; i++) {
		sprintf(path, "%s/f%d", dir, i);
		mkfifo(path, 0600);
		/* Opening for writing is mediated, and waits for who reads. */
		if ((pids[i] = make_process()) == 0)
			_exit(open(path, O_WRONLY) < 0);
	}
	sprintf(path, "%s/beside", dir);
	close(open(path, O_CREAT | O_RDWR, 0600));
	pause_for_line("blocked");
	for (int i = 0; i < count; i += 2)
		kill(pids[i], SIGKILL);
	int failed = 0, status;
	for (int i = 1; i < count; i += 2) {
		sprintf(path, "%s/f%d", dir, i);
		/* Not mediated. */
		int fd = open(path, O_RDONLY);
		waitpid(pids[i], &status, 0);
		failed += status != 0;
		close(fd);
	}
	while (wait(NULL) > 0)
		;
	printf("failed %d\n", failed);
}

static void surprise(int count, const char *dir)
{
	char path[3][199];
	const char *names[] = {"file", "fifo", "both"};
	for (int i = 0; i < 3; i++)
		sprintf(path[i], "%s/%s", dir, names[i]);
	mkfifo(path[1], 0600);
	close(open(path[0], O_CREAT | O_RDWR, 0600));
	close(open(path[2], O_CREAT | O_RDWR, 0600));
	pid_t exchange = make_process();
	if (exchange == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (exchange == 0)
		renameat2(AT_FDCWD, path[1], AT_FDCWD, path[2], RENAME_EXCHANGE);
	for (int i = 0; i < count; i++) {
		pid_t pid = make_process();
		while (pid == 0)
			close(open(path[2], O_WRONLY));
		struct timespec moment = {0, 4000000};
		nanosleep(&moment, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	kill(exchange, SIGKILL);
	waitpid(exchange, NULL, 0);
}

/* Exchanges the two, or opens the second, for ever. */
static pid_t exchange_or_open(int exchanges, const char *fifo, const char *both)
{
	pid_t pid = make_process();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		if (exchanges)
			renameat2(AT_FDCWD, fifo, AT_FDCWD, both, RENAME_EXCHANGE);
		else
			close(open(both, O_CREAT | O_WRONLY, 0600));
}

static void wedge(int count, const char *dir)
{
	enum { COUNT = 10 };
	char fifo[199], both[199], name[199];
	pid_t pids[COUNT];
	int failed = 0;
	sprintf(fifo, "%s/fifo", dir);
	sprintf(both, "%s/both", dir);
	mkfifo(fifo, 0600);
	close(open(both, O_CREAT | O_RDWR, 0600));
	for (int i = 0; i < COUNT; i++)
		pids[i] = exchange_or_open(i == 0, fifo, both);
	for (int i = 0; i < count; i++) {
		sprintf(name, "%s/%d", dir, i);
		int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0640);
		failed += fd < 0 || fcntl(fd, F_GETFL) & O_NONBLOCK;
		close(fd);
		/* Most are blocked in the ordinary way, after a while. */
		int old = 1 + i % (COUNT - 1);
		kill(pids[old], SIGKILL);
		waitpid(pids[old], NULL, 0);
		pids[old] = exchange_or_open(0, fifo, both);
	}
	printf("failed %d\n", failed);
	for (int i = 0; i < COUNT; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

/* While nothing can be opened: calls on a socket, and states that cannot be looked through, come to an end; and who violates
   the rules does not outlive it. */
static void meanwhile(const char *dir)
{
	char path[199];
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int sock = socket(AF_INET, SOCK_DGRAM, 0), i;
	for (i = 0; i < 1000 && !connect(sock, (struct sockaddr *)&here, sizeof here); i++)
		;
	printf("socket %s\n", i < 1000 ? strerrorname_np(errno) : "0");
	for (i = 0; i < 3000; i++)
		if (stat(i & 1 ? "/dev/sydbox/core/violation/raise_safe:0" : "/dev/sydbox/core/violation/raise_safe:1", &st))
			break;
	printf("states %s\n", i < 3000 ? strerrorname_np(errno) : "0");
	pid_t doomed = make_process();
	if (doomed == 0) {
		sprintf(path, "%s/never", dir);
		for (i = 0; i < 1000; i++)
			if (mkdir(path, 0700) && errno == EPERM)
				write(1, "outlived\n", 9);
		_exit(0);
	}
	waitpid(doomed, &i, 0);
}

static void last(const char *dir, int full)
{
	enum { COUNT = 60 };
	char path[199], result;
	int go[2], said[2], i, server = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un full_queue = {.sun_family = AF_UNIX};
	struct sockaddr *there = (struct sockaddr *)&full_queue;
	pid_t pids[1000];
	pipe(go);
	pipe(said);
	sprintf(full_queue.sun_path, "%s/s", dir);
	if (bind(server, there, sizeof full_queue) || listen(server, 0) ||
	    connect(socket(AF_UNIX, SOCK_STREAM, 0), there, sizeof full_queue))
		perror("socket");
	for (i = 0; i < COUNT; i++) {
		sprintf(path, "%s/f%d", dir, i);
		mkfifo(path, 0600);
		if ((pids[i] = make_process()) == 0) {
			read(go[0], &result, 1);
			if (full && i % 2)
				result = connect(socket(AF_UNIX, SOCK_STREAM, 0), there, sizeof full_queue) ? errno : 0;
			else
				result = open(path, O_WRONLY) < 0 ? errno : 0;
			write(said[1], &result, 1);
			_exit(0);
		}
	}
	for (; full && i < 1000 && (pids[i] = fork()) >= 0; i++)
		if (pids[i] == 0)
			for (;;)
				pause();
	memset(path, 0, sizeof path);
	write(go[1], path, COUNT);
	/* The first that is refused says so; who waits for somebody says nothing. */
	read(said[0], &result, 1);
	printf("%s\n", strerrorname_np(result));
	sprintf(path, "%s/beside", dir);
	/* Not without a descriptor. */
	if (full && open(path, O_CREAT | O_RDWR, 0600) < 0)
		printf("%s\n", strerrorname_np(errno));
	if (!full)
		meanwhile(dir);
	while (i-- > 0)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	sprintf(path, "%s/after", dir);
	/* What those had comes back. */
	while (open(path, O_CREAT | O_RDWR, 0600) < 0)
		sched_yield();
}

static void hop(const char *dir)
{
	char path[199];
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < 8; i++)
		if (fork() == 0)
			for (;;)
				if (fork() > 0)
					_exit(0);
	sprintf(path, "%s/file", dir);
	open(path, O_CREAT | O_RDWR, 0600);
	pause();
}

static void forever(const char *dir)
{
	char path[199];
	for (int i = 0;; i++) {
		sprintf(path, "%s/%d.%d", dir, getpid(), i);
		int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
		if (fd < 0 && errno != EEXIST) {
			printf("%s\n", strerrorname_np(errno));
			fflush(stdout);
			_exit(0);
		}
		close(fd);
	}
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 0;
	if (!strcmp(argv[1], "forever")) {
		forever(argv[2]);
		return 0;
	}
	pause_for_line("ready");
	if (!strcmp(argv[1], "states"))
		states(count);
	else if (!strcmp(argv[1], "rules"))
		rules(count);
	else if (!strcmp(argv[1], "commands"))
		commands(count);
	else if (!strcmp(argv[1], "kills"))
		kills(count, argv[3]);
	else if (!strcmp(argv[1], "bomb"))
		bomb(argv[2]);
	else if (!strcmp(argv[1], "surprise"))
		surprise(count, argv[3]);
	else if (!strcmp(argv[1], "wedge"))
		wedge(count, argv[3]);
	else if (!strcmp(argv[1], "hop"))
		hop(argv[2]);
	else if (!strcmp(argv[1], "last"))
		last(argv[2], 1);
	else if (!strcmp(argv[1], "few"))
		last(argv[2], 0);
	else if (!strcmp(argv[1], "fifos"))
		fifos(count, argv[3]);
	pause_for_line("done");
	return 7;
}
