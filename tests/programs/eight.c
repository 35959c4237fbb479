/* eight DIR TIMES: says ready, waits for a line, and then eight threads open and create files TIMES times each, remove every
 * other one, and are refused one now and then; says done, and waits for another line. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *dir;
static int times;

static void *work(void *number)
{
	char path[4096];
	for (int i = 0; i < times; i++) {
		snprintf(path, sizeof path, "%s/%d.%d", dir, (int)(intptr_t)number, i / 4);
		int fd = open(path, i % 2 ? O_RDWR : O_WRONLY | O_CREAT, 0600);
		if (fd < 0) {
			perror(path);
			exit(1);
		}
		close(fd);
		if (i % 4 == 3)
			unlink(path);
	}
	return NULL;
}

static void wait_after(const char *word)
{
	char line[10];
	puts(word);
	fflush(stdout);
	fgets(line, sizeof line, stdin);
}

static void all(void)
{
	pthread_t threads[8];
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	dir = argv[1];
	/* So that what grows once, has grown. */
	times = 100;
	all();
	times = atoi(argv[2]);
	wait_after("ready");
	all();
	wait_after("done");
	return 0;
}
