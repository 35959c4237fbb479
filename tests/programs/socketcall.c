/* socketcall PORT OTHER [race] (built with -m32): talks to a port of this machine by every sub-call of socketcall(2), and by the direct call.
 * race: another thread changes the arguments in memory between the two ports meanwhile. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { SOCKET = 1, BIND, CONNECT, LISTEN, ACCEPT, NAME, PEER, PAIR, SEND, RECV, SENDTO, RECVFROM, SHUTDOWN, SETOPT, GETOPT, SENDMSG,
	RECVMSG, ACCEPT4, RECVMMSG, SENDMMSG };

#define CALL(n, ...) syscall(SYS_socketcall, n, (long[]){__VA_ARGS__})
#define P(p) ((long)(p))

static long say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: ok\n", what);
	return result;
}

static struct sockaddr_in at(int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return in;
}

static volatile int done;
static volatile unsigned flips;
static volatile long words[6];
static struct sockaddr_in both[2];

static void *flip(void *unused)
{
	for (; !done; flips++)
		words[4] = P(&both[flips & 1]);
	return unused;
}

static int race(int port, int other)
{
	pthread_t thread;
	long sent = 0;
	both[0] = at(port), both[1] = at(other);
	words[0] = CALL(SOCKET, AF_INET, SOCK_DGRAM, 0), words[1] = P("x"), words[2] = 1, words[4] = P(&both[0]), words[5] = sizeof *both;
	pthread_create(&thread, 0, flip, 0);
	for (int i = 0; i < 20000 || flips < 100000 || (!sent && i < 1 << 24); i++)
		sent += syscall(SYS_socketcall, SENDTO, words) == 1;
	done = 1;
	pthread_join(thread, 0);
	printf("%s\n", sent ? "sent" : "nothing");
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in in = at(atoi(argv[1])), mine = at(0);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 3)
		return race(atoi(argv[1]), atoi(argv[2]));
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	say("direct", syscall(SYS_connect, fd, &in, sizeof in));
	fd = say("socket", CALL(SOCKET, AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	printf("flags %d %d\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & O_NONBLOCK);
	fcntl(fd, F_SETFL, 0);
	say("connect", CALL(CONNECT, fd, P(&in), sizeof in));

	/* Options. */
	int on = 1, off = 0, *nowhere = (int *)8;
	socklen_t len = sizeof off;
	struct timeval time = {0, 250000}, got = {0, 0};
	say("set", CALL(SETOPT, fd, SOL_SOCKET, SO_KEEPALIVE, P(&on), sizeof on));
	say("get", CALL(GETOPT, fd, SOL_SOCKET, SO_KEEPALIVE, P(&off), P(&len)));
	printf("value %d length %d\n", off, len);
	say("set time", CALL(SETOPT, fd, SOL_SOCKET, SO_RCVTIMEO, P(&time), sizeof time));
	len = sizeof got;
	say("get time", CALL(GETOPT, fd, SOL_SOCKET, SO_RCVTIMEO, P(&got), P(&len)));
	printf("value %ld.%06ld length %d\n", (long)got.tv_sec, (long)got.tv_usec, len);
	say("no delay", CALL(SETOPT, fd, IPPROTO_TCP, TCP_NODELAY, P(&on), sizeof on));
	say("set: no memory", CALL(SETOPT, fd, SOL_SOCKET, SO_KEEPALIVE, P(nowhere), sizeof on));
	say("set: short", CALL(SETOPT, fd, SOL_SOCKET, SO_KEEPALIVE, P(&on), 2));
	say("set: negative", CALL(SETOPT, fd, SOL_SOCKET, SO_KEEPALIVE, P(&on), -1));
	say("get: no memory", CALL(GETOPT, fd, SOL_SOCKET, SO_KEEPALIVE, P(&off), P(nowhere)));
	say("get: no socket", CALL(GETOPT, 99, SOL_SOCKET, SO_KEEPALIVE, P(&off), P(&len)));

	/* A server of its own. */
	long server = CALL(SOCKET, AF_INET, SOCK_STREAM, 0), pair[2];
	len = sizeof mine;
	say("bind", CALL(BIND, server, P(&mine), sizeof mine));
	say("listen", CALL(LISTEN, server, 1));
	say("name", CALL(NAME, server, P(&mine), P(&len)));
	long client = CALL(SOCKET, AF_INET, SOCK_STREAM, 0);
	say("connect to it", CALL(CONNECT, client, P(&mine), sizeof mine));
	long accepted = say("accept", CALL(ACCEPT, server, 0, 0));
	char text[8] = "";
	struct iovec piece = {"abc", 3}, into = {text, sizeof text};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1}, received = {.msg_iov = &into, .msg_iovlen = 1};
	say("send", CALL(SEND, client, P("1"), 1, 0));
	say("sendto nobody", CALL(SENDTO, client, P("2"), 1, 0, 0, 0));
	say("sendmsg", CALL(SENDMSG, client, P(&message), 0));
	say("shutdown", CALL(SHUTDOWN, client, SHUT_WR));
	CALL(RECV, accepted, P(text), 5, MSG_WAITALL);
	printf("received %s\n", text);
	say("recvmsg", CALL(RECVMSG, accepted, P(&received), 0));

	/* Datagrams, and a pair. */
	long datagrams = CALL(SOCKET, AF_INET, SOCK_DGRAM, 0);
	struct mmsghdr many[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
	for (int i = 0; i < 2; i++)
		many[i].msg_hdr.msg_name = &in, many[i].msg_hdr.msg_namelen = sizeof in;
	say("sendto", CALL(SENDTO, datagrams, P("1"), 1, 0, P(&in), sizeof in));
	printf("sendmmsg: %ld\n", say("sendmmsg", CALL(SENDMMSG, datagrams, P(many), 2, 0)));
	say("pair", CALL(PAIR, AF_UNIX, SOCK_STREAM, 0, P(pair)));

	/* What is none. */
	say("0", CALL(0, 0, 0, 0));
	say("21", CALL(21, 0, 0, 0));
	say("no arguments", syscall(SYS_socketcall, CONNECT, nowhere));
	say("family", CALL(SOCKET, 99, SOCK_STREAM, 0));
	return 0;
}
