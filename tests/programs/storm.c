/* storm DIR TIMES: a signal every 100 microseconds, with a handler, while directories and files are made. A call that is
 * carried out twice says EEXIST, and one that is interrupted says EINTR.
 * storm stop DIR TIMES: the same, with the process stopped and continued all the time by a child. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile long signals;

static void handler(int number) { signals++; }

static void check(const char *what, long result)
{
	if (result < 0) {
		printf("%s: %s\n", what, strerrorname_np(errno));
		exit(0);
	}
}

int main(int argc, char **argv)
{
	int stop = !strcmp(argv[1], "stop");
	char *dir = argv[1 + stop];
	long times = atol(argv[2 + stop]);
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 100}, {0, 100}}, never = {0};
	pid_t parent = getpid(), child = 0;
	/* Told, not killed: between the two signals it would leave its parent stopped for ever. */
	volatile int *over = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	chdir(dir);
	if (stop) {
		child = fork();
		if (child == 0) {
			while (!*over && !kill(parent, SIGSTOP) && !kill(parent, SIGCONT) && getppid() == parent)
				;
			_exit(0);
		}
	} else {
		sigaction(SIGALRM, &action, NULL);
		setitimer(ITIMER_REAL, &often, NULL);
	}
	for (long i = 0; i < times; i++) {
		check("mkdir", mkdir("dir", 0755));
		check("rmdir", rmdir("dir"));
		int fd = open("file", O_WRONLY | O_CREAT | O_EXCL, 0644);
		check("open", fd);
		check("close", close(fd));
		check("rename", rename("file", "other"));
		check("unlink", unlink("other"));
	}
	setitimer(ITIMER_REAL, &never, NULL);
	if (child) {
		*over = 1;
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	} else if (signals < 100)
		printf("only %ld signals\n", signals);
	puts("done");
	return 0;
}
