/* gap CALL ARGUMENT: one call that reaches out of the sandbox, and 0 or the name of its error.
 * bind-unix PATH · bind-tcp PORT · connect-tcp PORT · connect-abstract NAME · kill, tkill, tgkill PID */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *call = argv[1], *argument = argv[2];
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(atoi(argument))};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	long result = -1;
	if (!strcmp(call, "bind-unix")) {
		strncpy(un.sun_path, argument, sizeof un.sun_path - 1);
		result = bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&un, sizeof un);
	} else if (!strcmp(call, "bind-tcp")) {
		result = bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof in);
	} else if (!strcmp(call, "connect-tcp")) {
		result = connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof in);
	} else if (!strcmp(call, "connect-abstract")) {
		strncpy(un.sun_path + 1, argument, sizeof un.sun_path - 2);
		socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argument);
		result = connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&un, length);
	} else if (!strcmp(call, "kill")) {
		result = kill(atoi(argument), SIGTERM);
	} else if (!strcmp(call, "tkill")) {
		result = syscall(SYS_tkill, atoi(argument), SIGTERM);
	} else if (!strcmp(call, "tgkill")) {
		result = syscall(SYS_tgkill, atoi(argument), atoi(argument), SIGTERM);
	}
	puts(result ? strerrorname_np(errno) : "0");
	return 0;
}
