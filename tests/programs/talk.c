/* talk TCP-PORT UDP-PORT PATH: talks to servers of this machine by every call that takes an address, binds, and says what came of each. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define S(in) (struct sockaddr *)&(in), sizeof(in)

static void say(const char *what, long result)
{
	printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "0");
}

int main(int argc, char **argv)
{
	struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))}, udp = tcp, mine = tcp;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct iovec piece = {"x", 1};
	tcp.sin_addr.s_addr = udp.sin_addr.s_addr = mine.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	udp.sin_port = htons(atoi(argv[2]));
	mine.sin_port = 0;
	strncpy(un.sun_path, argv[3], sizeof un.sun_path - 1);
	struct msghdr message = {.msg_name = &udp, .msg_namelen = sizeof udp, .msg_iov = &piece, .msg_iovlen = 1};
	struct mmsghdr many[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
	say("connect", connect(socket(AF_INET, SOCK_STREAM, 0), S(tcp)));
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	say("sendto", sendto(fd, "x", 1, 0, S(udp)));
	say("sendmsg", sendmsg(fd, &message, 0));
	say("sendmmsg", sendmmsg(fd, many, 2, 0));
	udp.sin_family = AF_UNSPEC;
	say("unspec", sendto(fd, "x", 1, 0, S(udp)));
	say("unix", connect(socket(AF_UNIX, SOCK_STREAM, 0), S(un)));
	say("bind", bind(socket(AF_INET, SOCK_DGRAM, 0), S(mine)));
	return 0;
}
