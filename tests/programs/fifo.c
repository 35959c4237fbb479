/* fifo many DIR COUNT: COUNT children each open a FIFO for writing and block; then all are read.
 * fifo block DIR COUNT: for each byte of standard input COUNT children block, and a line is printed; they are killed at the
 *     next byte, and another line is printed.
 * fifo signal DIR FLAGS: a handler runs while an open blocks; with FLAGS 1 the call is restarted. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static char *dir;

static char *name(int i)
{
	char *text;
	asprintf(&text, "%s/fifo%d", dir, i);
	return text;
}

static int spawn(int count, pid_t *pids)
{
	for (int i = 0; i < count; i++) {
		if (mkfifo(name(i), 0600))
			return -1;
		pids[i] = fork();
		if (pids[i] == 0) {
			int fd = open(name(i), O_WRONLY);
			_exit(fd < 0 || write(fd, "x", 1) != 1);
		}
	}
	return 0;
}

static int handled, restarts;
static char *own;

static void handler(int number)
{
	handled++;
	/* From the third time on there is a reader: a call that is restarted comes to an end. */
	if (handled == 3 && restarts)
		open(own, O_RDONLY | O_NONBLOCK);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	int count = atoi(argv[3]);
	pid_t *pids = calloc(count + 1, sizeof *pids);
	dir = argv[2];
	if (!strcmp(argv[1], "many")) {
		int good = 0;
		char c;
		if (spawn(count, pids))
			return 1;
		/* All others go on. */
		char sub[4200];
		snprintf(sub, sizeof sub, "%s/sub", dir);
		for (int i = 0; i < 100; i++)
			if (mkdir(sub, 0755) || rmdir(sub))
				return 3;
		for (int i = count; i--;) {
			int fd = open(name(i), O_RDONLY), status;
			if (read(fd, &c, 1) == 1 && read(fd, &c, 1) == 0)
				good++;
			close(fd);
			waitpid(pids[i], &status, 0);
			if (status)
				good--;
		}
		printf("%d\n", good);
	} else if (!strcmp(argv[1], "block")) {
		char c, sub[4200];
		snprintf(sub, sizeof sub, "%s/sub", dir);
		mkdir(sub, 0755);
		puts("ready");
		while (read(0, &c, 1) == 1) {
			if (spawn(count, pids))
				return 1;
			puts("blocked");
			if (read(0, &c, 1) != 1)
				return 2;
			for (int i = 0; i < count; i++)
				kill(pids[i], SIGKILL);
			for (int i = 0; i < count; i++)
				if (waitpid(pids[i], NULL, 0) != pids[i] || unlink(name(i)))
					return 3;
			puts("killed");
		}
	} else {
		struct sigaction action = {.sa_handler = handler, .sa_flags = count ? SA_RESTART : 0};
		struct itimerval often = {{0, 30000}, {0, 30000}};
		restarts = count;
		own = name(0);
		mkfifo(own, 0600);
		sigaction(SIGALRM, &action, NULL);
		setitimer(ITIMER_REAL, &often, NULL);
		int fd = open(own, O_WRONLY), error = errno;
		printf("%s after %s\n", fd < 0 ? strerrorname_np(error) : "opened", handled == 0 ? "none" : restarts && handled >= 3 ? "three" : "some");
	}
	return 0;
}
