/* socketcall PORT (built with -m32): connects to a port of this machine, by socketcall(2) and by the direct call. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int direct = 0; direct < 2; direct++) {
		long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), args[] = {fd, (long)&in, sizeof in};
		long result = direct ? syscall(SYS_connect, fd, &in, sizeof in) : syscall(SYS_socketcall, 3, args);
		printf("%s: %s\n", direct ? "direct" : "socketcall", result ? strerrorname_np(errno) : "0");
	}
	return 0;
}
