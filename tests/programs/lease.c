/* lease FILE: holds a lease, so that others who open the file wait, until there is something to read. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char byte;
	int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	/* What tells that somebody waits. */
	signal(SIGIO, SIG_IGN);
	if (fd < 0 || fcntl(fd, F_SETLEASE, F_WRLCK))
		err(1, "%s", argv[1]);
	puts("held");
	fflush(stdout);
	while (read(0, &byte, 1) < 0)
		;
	return fcntl(fd, F_SETLEASE, F_UNLCK);
}
