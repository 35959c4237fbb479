/*
 * What one call costs: run natively and in each sandbox by tools/bench/run, in an empty directory.
 *
 *   micro calls N           "NAME NANOSECONDS" a line, for each kind of call
 *   micro one NAME N        only this kind
 *   micro storm PROCESSES N nanoseconds per open, close and unlink of a new file, when so many processes share N of them
 *   micro now               the time, for benches/startup.rs
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What is opened and only closed afterwards, outside the time that is measured. */
#define BATCH 64

static uint64_t
now(clockid_t clock)
{
	struct timespec time;

	if (clock_gettime(clock, &time))
		err(1, "clock_gettime");
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void
must(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
}

static const char *
name(const char *kind, int number)
{
	static char buffer[64];

	snprintf(buffer, sizeof(buffer), "%s%d", kind, number);
	return buffer;
}

static void
make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	must(fd, path);
	close(fd);
}

static uint64_t
time_stat(int n)
{
	struct stat st;
	uint64_t start;
	int i;

	make_file("file");
	start = now(CLOCK_MONOTONIC);
	for (i = 0; i < n; i++)
		must(stat("file", &st), "stat");
	return now(CLOCK_MONOTONIC) - start;
}

static uint64_t
time_open(int n, int flags, int fresh)
{
	uint64_t start, sum = 0;
	int fds[BATCH], i, j;

	make_file("file");
	for (i = 0; i < n; i += BATCH) {
		start = now(CLOCK_MONOTONIC);
		for (j = 0; j < BATCH; j++)
			must(fds[j] = open(fresh ? name("new", j) : "file", flags, 0644), "open");
		sum += now(CLOCK_MONOTONIC) - start;
		for (j = 0; j < BATCH; j++) {
			close(fds[j]);
			if (fresh)
				must(unlink(name("new", j)), "unlink");
		}
	}
	return sum;
}

static uint64_t
time_unlink(int n)
{
	uint64_t start;
	int i;

	for (i = 0; i < n; i++)
		make_file(name("old", i));
	start = now(CLOCK_MONOTONIC);
	for (i = 0; i < n; i++)
		must(unlink(name("old", i)), "unlink");
	return now(CLOCK_MONOTONIC) - start;
}

static uint64_t
time_rename(int n)
{
	uint64_t start;
	int i;

	make_file("from");
	start = now(CLOCK_MONOTONIC);
	for (i = 0; i < n; i++)
		must(i % 2 ? rename("to", "from") : rename("from", "to"), "rename");
	return now(CLOCK_MONOTONIC) - start;
}

static uint64_t
time_mkdir(int n)
{
	uint64_t start = now(CLOCK_MONOTONIC);
	int i;

	for (i = 0; i < n; i++) {
		must(mkdir("dir", 0755), "mkdir");
		must(rmdir("dir"), "rmdir");
	}
	return now(CLOCK_MONOTONIC) - start;
}

/* A socket on loopback, at a port of its own that is written into the address. */
static int
serve(int type, struct sockaddr_in *address)
{
	socklen_t len = sizeof(*address);
	int server;

	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	must(server = socket(AF_INET, type, 0), "socket");
	must(bind(server, (struct sockaddr *)address, len), "bind");
	if (type == SOCK_STREAM)
		must(listen(server, 8), "listen");
	must(getsockname(server, (struct sockaddr *)address, &len), "getsockname");
	return server;
}

static uint64_t
time_connect(int n)
{
	struct sockaddr_in address;
	int server, client, i;
	uint64_t start, sum = 0;

	server = serve(SOCK_STREAM, &address);
	for (i = 0; i < n; i++) {
		/* Reset instead of closed, so that no port stays in TIME_WAIT. */
		struct linger reset = {.l_onoff = 1};

		must(client = socket(AF_INET, SOCK_STREAM, 0), "socket");
		must(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), "setsockopt");
		start = now(CLOCK_MONOTONIC);
		must(connect(client, (struct sockaddr *)&address, sizeof(address)), "connect");
		sum += now(CLOCK_MONOTONIC) - start;
		close(client);
		close(accept(server, NULL, NULL));
	}
	close(server);
	return sum;
}

/* Datagrams with an address, to a socket of its own that is never full. */
static uint64_t
time_sendto(int n)
{
	struct sockaddr_in address;
	int server, client, i;
	uint64_t start, sum = 0;
	char byte;

	server = serve(SOCK_DGRAM, &address);
	must(client = socket(AF_INET, SOCK_DGRAM, 0), "socket");
	for (i = 0; i < n; i++) {
		start = now(CLOCK_MONOTONIC);
		must((int)sendto(client, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)), "sendto");
		sum += now(CLOCK_MONOTONIC) - start;
		must((int)recv(server, &byte, 1, 0), "recv");
	}
	close(server);
	close(client);
	return sum;
}

/* 64 KiB each over TCP to a process that reads: by send, which the kernel does, or by sendmsg. */
static uint64_t
time_bulk(int n, int by_message)
{
	static char data[1 << 16];
	struct iovec piece = {data, sizeof(data)};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
	struct sockaddr_in address;
	int server, client, i, status;
	uint64_t start;

	server = serve(SOCK_STREAM, &address);
	fflush(NULL);
	switch (fork()) {
	case -1:
		err(1, "fork");
	case 0:
		must(client = accept(server, NULL, NULL), "accept");
		while (read(client, data, sizeof(data)) > 0)
			;
		_exit(0);
	}
	must(client = socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(connect(client, (struct sockaddr *)&address, sizeof(address)), "connect");
	start = now(CLOCK_MONOTONIC);
	for (i = 0; i < n; i++)
		if ((by_message ? sendmsg(client, &message, 0) : send(client, data, sizeof(data), 0)) != sizeof(data))
			err(1, "send");
	close(client);
	close(server);
	wait(&status);
	return now(CLOCK_MONOTONIC) - start;
}

static uint64_t
time_send64k(int n)
{
	return time_bulk(n, 0);
}

static uint64_t
time_sendmsg64k(int n)
{
	return time_bulk(n, 1);
}

/* A program that executes itself, with how often it still has to and when it began. */
static void
chain(const char *left, const char *start)
{
	char fewer[16];
	int n = atoi(left);

	if (n == 0) {
		printf("%" PRIu64 "\n", now(CLOCK_MONOTONIC) - (uint64_t)strtoull(start, NULL, 10));
		exit(0);
	}
	snprintf(fewer, sizeof(fewer), "%d", n - 1);
	execl("/proc/self/exe", "micro", "chain", fewer, start, (char *)NULL);
	err(1, "exec");
}

static uint64_t
time_exec(int n)
{
	char left[16], start[32], answer[32] = "";
	int ends[2], status;

	must(pipe(ends), "pipe");
	fflush(NULL);
	switch (fork()) {
	case -1:
		err(1, "fork");
	case 0:
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		snprintf(left, sizeof(left), "%d", n);
		snprintf(start, sizeof(start), "%" PRIu64, now(CLOCK_MONOTONIC));
		chain(left, start);
	}
	close(ends[1]);
	if (read(ends[0], answer, sizeof(answer) - 1) <= 0)
		errx(1, "the chain of execs broke");
	close(ends[0]);
	wait(&status);
	return strtoull(answer, NULL, 10);
}

static uint64_t
time_open_read(int n)
{
	return time_open(n, O_RDONLY | O_CLOEXEC, 0);
}

static uint64_t
time_open_write(int n)
{
	return time_open(n, O_WRONLY | O_CLOEXEC, 0);
}

static uint64_t
time_create(int n)
{
	return time_open(n, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 1);
}

static const struct {
	const char *name;
	uint64_t (*time)(int n);
	int share; /* Of N: what is slow is done less often. */
} calls[] = {
	{"stat", time_stat, 4},
	{"open-read", time_open_read, 4},
	{"open-write", time_open_write, 4},
	{"create", time_create, 4},
	{"unlink", time_unlink, 4},
	{"rename", time_rename, 4},
	{"mkdir+rmdir", time_mkdir, 4},
	{"connect", time_connect, 4},
	{"sendto", time_sendto, 4},
	{"send-64k", time_send64k, 4},
	{"sendmsg-64k", time_sendmsg64k, 4},
	{"exec", time_exec, 1},
};

static int
measure(const char *which, int n)
{
	size_t i;
	int known = 0;

	for (i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		/* A multiple of the batch, so that the quotient is right. */
		int times = (n * calls[i].share / 4 + BATCH - 1) / BATCH * BATCH;

		if (which && strcmp(which, calls[i].name))
			continue;
		known = 1;
		printf("%s %.1f\n", calls[i].name, (double)calls[i].time(times) / times);
		fflush(stdout);
	}
	if (!known)
		errx(2, "no such call: %s", which);
	return 0;
}

static int
storm(int processes, int n)
{
	int each = n / processes, gate[2], ready[2], i, j, status, failed = 0;
	uint64_t start;
	char byte = 0;

	must(pipe(gate), "pipe");
	must(pipe(ready), "pipe");
	for (i = 0; i < processes; i++) {
		pid_t pid = fork();

		must(pid, "fork");
		if (pid)
			continue;
		mkdir(name("storm", i), 0755);
		must(chdir(name("storm", i)), "chdir");
		close(gate[1]);
		must((int)write(ready[1], &byte, 1), "write");
		/* The end of the pipe opens the gate for all. */
		must((int)read(gate[0], &byte, 1), "read");
		for (j = 0; j < each; j++) {
			make_file("file");
			must(unlink("file"), "unlink");
		}
		_exit(0);
	}
	for (i = 0; i < processes; i++)
		must((int)read(ready[0], &byte, 1), "read");
	start = now(CLOCK_MONOTONIC);
	close(gate[1]);
	while (wait(&status) > 0)
		failed |= status;
	if (failed)
		errx(1, "a process failed");
	printf("%.1f\n", (double)(now(CLOCK_MONOTONIC) - start) / (each * processes));
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "chain"))
		chain(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "calls"))
		return measure(NULL, atoi(argv[2]));
	if (argc == 4 && !strcmp(argv[1], "one"))
		return measure(argv[2], atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "storm"))
		return storm(atoi(argv[2]), atoi(argv[3]));
	if (argc == 2 && !strcmp(argv[1], "now"))
		return printf("%" PRIu64 "\n", now(CLOCK_REALTIME)) < 0;
	fprintf(stderr, "usage: micro calls N | one NAME N | storm PROCESSES N | now\n");
	return 2;
}
