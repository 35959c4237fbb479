/* Races between a call and what it names.
 *
 * race bytes CALL OK NO UNTIL: a thread changes one byte of the path in memory, between OK and NO, while another makes CALL.
 *     OK and NO differ in one byte. open-neither opens for neither reading nor writing (access mode 3), and says if that
 *     opened NO; for open-how the flags change as well, between O_PATH and O_WRONLY.
 * race swap A B: exchanges the names A and B until standard input ends.
 * race move A B: renames A to B and back until standard input ends.
 * race open PATH UNTIL [MORE]: opens PATH for writing (and creates PATH/../new, if MORE) again and again.
 * race full PATH TIMES: makes PATH and removes it, while a process without a free descriptor tries to make it, too.
 * race dirfd OK NO UNTIL: a thread changes what descriptor 9 is while another uses it.
 * race create DIR TIMES: makes and removes a file in a directory that is renamed.
 * race kind FILE OTHER TO TIMES: renames FILE to TO and back while another process exchanges it for OTHER, which is no file.
 *     Says whether that came to be TO. It goes on until there were both, renamed and refused.
 * race link TO TIMES: makes the link TO while another process makes a file of that name and removes it. Says whether it was made.
 *     It goes on until it was refused and there was a file.
 * UNTIL is how often at least, and what must have happened as well, however long that takes: "done", "both" (done and refused) or
 *     "wrong" (NO was changed or opened).
 * Each prints how often what happened: on standard output only what no scheduling can change. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile char path[4200];
static char *first, *second;
static int where;
static atomic_int over;
static volatile long flips;
static volatile struct open_how how;

static void *flip(void *unused)
{
	char a = first[where], b = second[where];
	while (!over) {
		path[where] = a;
		for (volatile int i = 0; i < flips % 37; i++)
			;
		how.flags = O_PATH;
		path[where] = b;
		for (volatile int i = 0; i < flips % 53; i++)
			;
		how.flags = O_WRONLY;
		for (volatile int i = 0; i < flips % 29; i++)
			;
		flips += 2;
	}
	return NULL;
}

static int done, refused, missing, other, wrong;

static int is_wrong(void)
{
	static struct stat before;
	static int seen;
	struct stat now;
	int is_there = !stat(second, &now);
	if (!seen) {
		seen = 1;
		before = now;
	}
	return wrong || !is_there || memcmp(&now.st_ctim, &before.st_ctim, sizeof now.st_ctim);
}

/* Whether there is more to try: on a machine that has much to do one of the two may not have had its turn. */
static int goes_on(int tried, const char *until)
{
	char *what;
	if (tried < strtol(until, &what, 10))
		return 1;
	if (!strcmp(what, "done"))
		return !done;
	if (!strcmp(what, "both"))
		return !done || !refused;
	if (!strcmp(what, "wrong"))
		return !is_wrong();
	return 0;
}

static void count(long result)
{
	if (result >= 0)
		done++;
	else if (errno == EPERM)
		refused++;
	else if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EISDIR || errno == EBUSY)
		missing++;
	else {
		if (!other++)
			printf("%s\n", strerrorname_np(errno));
	}
}

static void put(int fd)
{
	count(fd);
	if (fd >= 0) {
		write(fd, "!", 1);
		close(fd);
	}
}

/* Opens for what ioctl(2) needs. Who gets the second file says so. */
static void neither(const char *p)
{
	struct stat file, other;
	int fd = syscall(SYS_open, p, O_ACCMODE);
	count(fd);
	if (fd < 0)
		return;
	if (fstat(fd, &file) || stat(second, &other) || (file.st_ino == other.st_ino && !wrong++))
		printf("opened %s\n", second);
	close(fd);
}

static void by_how(const char *p)
{
	int fd = syscall(SYS_openat2, AT_FDCWD, p, &how, sizeof how);
	if (fd < 0 && errno == ENOSYS)
		errno = EPERM;
	put(fd);
}

static void bytes(const char *call, const char *until)
{
	char *p = (char *)path;
	pthread_t thread;
	strcpy(p, first);
	for (where = 0; first[where] == second[where]; where++)
		;
	is_wrong();
	pthread_create(&thread, NULL, flip, NULL);
	while (!flips)
		;
	for (int i = 0; goes_on(i, until); i++) {
		if (!strcmp(call, "open"))
			put(syscall(SYS_open, p, O_WRONLY));
		else if (!strcmp(call, "open-creat"))
			put(syscall(SYS_open, p, O_WRONLY | O_CREAT | O_TRUNC, 0644));
		else if (!strcmp(call, "open-neither"))
			neither(p);
		else if (!strcmp(call, "open-how"))
			by_how(p);
		else if (!strcmp(call, "truncate"))
			count(syscall(SYS_truncate, p, (long)(i % 4 + 1)));
		else if (!strcmp(call, "chmod"))
			count(syscall(SYS_chmod, p, i % 2 ? 0600 : 0640));
		else if (!strcmp(call, "utime"))
			count(syscall(SYS_utime, p, NULL));
		else if (!strcmp(call, "rename"))
		{
			char to[4300];
			snprintf(to, sizeof to, "%.*s/moved", (int)(strrchr(first, '/') - first), first);
			count(syscall(SYS_rename, p, to));
			rename(to, first);
		} else if (!strcmp(call, "link")) {
			char to[4300];
			snprintf(to, sizeof to, "%.*s/link", (int)(strrchr(first, '/') - first), first);
			count(syscall(SYS_link, p, to));
			unlink(to);
		} else if (!strcmp(call, "unlink")) {
			count(syscall(SYS_unlink, p));
			close(open(first, O_CREAT | O_WRONLY, 0644));
		}
	}
	over = 1;
	pthread_join(thread, NULL);
}

static int ended(void)
{
	struct pollfd in = {0, POLLIN, 0};
	return poll(&in, 1, 0) > 0;
}

static void *retarget(void *unused)
{
	int a = open(first, O_RDONLY), b = open(second, O_RDONLY);
	for (; !over; flips += 2) {
		dup2(a, 9);
		for (volatile int i = 0; i < flips % 37; i++)
			;
		dup2(b, 9);
		for (volatile int i = 0; i < flips % 53; i++)
			;
	}
	return NULL;
}

/* Says how often the file was gone that was just made: that the other could not open it must not remove it. */
static int full(const char *file, int times)
{
	int gone = 0;
	pid_t other = fork();
	if (!other) {
		struct rlimit few = {3, 3};
		setrlimit(RLIMIT_NOFILE, &few);
		while (open(file, O_CREAT | O_WRONLY, 0644) < 0 && errno == EMFILE)
			;
		_exit(1);
	}
	for (int i = 0; i < times; i++) {
		int fd = open(file, O_CREAT | O_WRONLY, 0644);
		if (fd < 0)
			return 1;
		close(fd);
		gone += unlink(file) != 0;
	}
	int ended = waitpid(other, NULL, WNOHANG) != 0;
	kill(other, SIGKILL);
	printf("gone %d ended %d\n", gone, ended);
	return 0;
}

static const char *kind(const char *file, const char *other, const char *to, int times)
{
	struct stat st;
	const char *said = "kept";
	pid_t swaps = fork();
	while (!swaps)
		renameat2(AT_FDCWD, file, AT_FDCWD, other, RENAME_EXCHANGE);
	for (int i = 0; i < times || !done || !refused; i++) {
		count(rename(file, to));
		if (lstat(to, &st))
			continue;
		if (!S_ISREG(st.st_mode)) {
			said = "moved";
			break;
		}
		renameat2(AT_FDCWD, to, AT_FDCWD, file, RENAME_NOREPLACE);
	}
	kill(swaps, SIGKILL);
	waitpid(swaps, NULL, 0);
	fprintf(stderr, "done %d, refused %d, missing %d\n", done, refused, missing);
	return said;
}

static const char *put_link(const char *to, int times)
{
	const char *said = "kept";
	pid_t other = fork();
	while (!other) {
		close(open(to, O_CREAT | O_WRONLY | O_EXCL, 0644));
		unlink(to);
	}
	for (int i = 0; i < times || !done || !refused; i++) {
		long made = symlink("/", to);
		if (!made) {
			said = "made";
			break;
		}
		count(errno == EEXIST ? 0 : made);
	}
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	fprintf(stderr, "exists %d, refused %d\n", done, refused);
	return said;
}

int main(int argc, char **argv)
{
	const char *what = argv[1];
	if (!strcmp(what, "bytes")) {
		first = argv[3];
		second = argv[4];
		bytes(argv[2], argv[5]);
	} else if (!strcmp(what, "kind")) {
		puts(kind(argv[2], argv[3], argv[4], atoi(argv[5])));
		return 0;
	} else if (!strcmp(what, "link")) {
		puts(put_link(argv[2], atoi(argv[3])));
		return 0;
	} else if (!strcmp(what, "full")) {
		return full(argv[2], atoi(argv[3]));
	} else if (!strcmp(what, "swap")) {
		write(1, "x", 1);
		for (long i = 0; i % 16 || !ended(); i++)
			if (renameat2(-1, argv[2], -1, argv[3], RENAME_EXCHANGE))
				return 1;
			else
				flips++;
		return 0;
	} else if (!strcmp(what, "move")) {
		write(1, "x", 1);
		do {
			if (rename(argv[2], argv[3]) || rename(argv[3], argv[2]))
				return 1;
		} while (!ended());
		return 0;
	} else if (!strcmp(what, "open")) {
		for (int i = 0; goes_on(i, argv[3]); i++) {
			if (argc > 4) {
				put(open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644));
				unlink(argv[2]);
				mkdir(argv[2], 0755);
				rmdir(argv[2]);
			} else
				put(open(argv[2], O_WRONLY));
		}
	} else if (!strcmp(what, "dirfd")) {
		pthread_t thread;
		first = argv[2];
		second = argv[3];
		dup2(open(first, O_RDONLY), 9);
		is_wrong();
		pthread_create(&thread, NULL, retarget, NULL);
		while (!flips)
			;
		struct stat file;
		char name[4300];
		snprintf(name, sizeof name, "%s/file", first);
		for (int i = 0; goes_on(i, argv[4]) || stat(name, &file); i++) {
			int made = mkdirat(9, "new", 0755);
			if (made && errno == EEXIST)
				errno = ENOENT;
			count(made);
			put(openat(9, "file", O_WRONLY | O_CREAT, 0644));
			fchmod(9, i % 2 ? 0755 : 0700);
			char new[4300];
			snprintf(new, sizeof new, "%s/new", first);
			rmdir(new);
		}
		over = 1;
		pthread_join(thread, NULL);
	} else
		return 2;
	fprintf(stderr, "%ld flips, done %d, refused %d, missing %d\n", flips, done, refused, missing);
	printf("done %s refused %s other %d\n", done ? "yes" : "no", refused ? "yes" : "no", other);
	return 0;
}
