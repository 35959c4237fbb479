/* A server and its client on the loopback interface, as test suites have them: bind to whatever port is free, connect to it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

int main(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    char word[8] = "";
    int status, server = socket(AF_INET, SOCK_STREAM, 0);

    check(server >= 0, "socket");
    check(bind(server, (struct sockaddr *)&addr, sizeof addr) == 0, "bind");
    check(listen(server, 1) == 0, "listen");
    check(getsockname(server, (struct sockaddr *)&addr, &len) == 0, "getsockname");

    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        check(client >= 0, "socket");
        check(connect(client, (struct sockaddr *)&addr, sizeof addr) == 0, "connect");
        check(write(client, "hello", 5) == 5, "write");
        _exit(0);
    }
    check(waitpid(child, &status, 0) == child, "waitpid");
    check(status == 0, "client");
    int peer = accept(server, NULL, NULL);
    check(peer >= 0, "accept");
    check(read(peer, word, sizeof word - 1) == 5, "read");
    check(strcmp(word, "hello") == 0, "hello");
    puts("PASS: a server on a free port of 127.0.0.1 and its client");
    return 0;
}
