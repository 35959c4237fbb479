// Executes a program in one of the ways that there are, or is one that is executed.
//
//     image plain|at|empty|memfd|proc PROGRAM [ARG...]     execve, execveat in a directory, by descriptor, of a copy in memory, by /proc
//     image nofollow|check|unknown PROGRAM [ARG...]        execveat that follows no link, only asks, has a flag that nobody knows
//     image ran FILE WORD                                  appends WORD to FILE and prints it
//     image says SCRIPT...                                 is an interpreter
//     image NAME.stood FILE WORD                           stands for a file, as which it does what "ran" does
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	extern char **environ;
	if (argc < 3)
		return 2;
	const char *how = argv[1], *program = argv[2];
	char **rest = argv + 2;
	char path[64];
	if (!strcmp(how, "says")) {
		puts("says");
		return 0;
	}
	if (!strcmp(how, "ran") || strstr(how, ".stood")) {
		int fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
		printf("%s %s\n", argv[3], fd < 0 ? strerrorname_np(errno) : "wrote");
		return fd < 0 || write(fd, argv[3], strlen(argv[3])) < 0;
	}
	int fd = open(program, O_RDONLY | O_CLOEXEC);
	if (!strcmp(how, "plain")) {
		execve(program, rest, environ);
	} else if (!strcmp(how, "at")) {
		char *slash = strrchr(program, '/');
		*slash = 0;
		int dir = open(program, O_PATH | O_DIRECTORY);
		syscall(SYS_execveat, dir, slash + 1, rest, environ, 0);
	} else if (!strcmp(how, "empty")) {
		syscall(SYS_execveat, fd, "", rest, environ, AT_EMPTY_PATH);
	} else if (!strcmp(how, "memfd")) {
		struct stat stat;
		int copy = memfd_create("copy", MFD_CLOEXEC);
		fstat(fd, &stat);
		sendfile(copy, fd, NULL, stat.st_size);
		syscall(SYS_execveat, copy, "", rest, environ, AT_EMPTY_PATH);
	} else if (!strcmp(how, "proc")) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		execve(path, rest, environ);
	}
	static const struct { const char *how; int flags; } flagged[] = {
		{"nofollow", AT_SYMLINK_NOFOLLOW}, {"check", 0x10000}, {"unknown", 1 << 29},
	};
	for (int i = 0; i < 3; i++)
		if (!strcmp(how, flagged[i].how) && !syscall(SYS_execveat, AT_FDCWD, program, rest, environ, flagged[i].flags)) {
			struct stat magic;
			printf("%s 0 %s\n", how, stat("/dev/sydbox", &magic) ? "closed" : "open");
			return 0;
		}
	printf("%s %s\n", how, strerrorname_np(errno));
	return 1;
}
