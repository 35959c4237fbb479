/* facts DIR WHAT: what calls do that succeed, as lines that are the same with the sandbox and without. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result)
{
	int error = errno;
	printf("%s: ", what);
	if (result < 0)
		puts(strerrorname_np(error));
	else
		printf("%ld\n", result);
}

static void mode(const char *name)
{
	struct stat st;
	if (lstat(name, &st))
		printf("%s: %s\n", name, strerrorname_np(errno));
	else
		printf("%s: %o links %lu size %lld group %s\n", name, st.st_mode, (unsigned long)st.st_nlink,
			S_ISDIR(st.st_mode) ? 0LL : (long long)st.st_size, st.st_gid == getgid() ? "own" : "other");
}

static void content(const char *name)
{
	char buf[200] = "";
	int fd = open(name, O_RDONLY);
	int n = read(fd, buf, sizeof buf - 1);
	close(fd);
	printf("%s contains \"%.*s\"\n", name, n < 0 ? 0 : n, buf);
}

static void descriptors(void)
{
	static const int flags[] = {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_WRONLY | O_NONBLOCK, O_WRONLY | O_SYNC,
		O_WRONLY | O_DSYNC, O_RDWR | O_DIRECT, O_RDWR | O_NOATIME, O_RDWR | O_CLOEXEC, O_RDWR | O_NOCTTY,
		O_RDWR | O_NOFOLLOW, O_RDWR | O_CREAT, O_RDWR | O_TRUNC, O_RDONLY | O_CREAT, O_RDONLY | O_TRUNC,
		O_RDWR | O_LARGEFILE, O_RDWR | O_ASYNC, 3, 3 | O_CREAT, O_RDWR | 0x800000, O_RDWR | 0x40000000};
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		int fd = syscall(SYS_open, "file", flags[i] | O_CREAT, 0644);
		if (fd < 0)
			say("open", fd);
		else
			printf("%o: fd %d flags %o cloexec %d offset %ld\n", flags[i], fd, fcntl(fd, F_GETFL),
				fcntl(fd, F_GETFD), (long)lseek(fd, 0, SEEK_CUR));
		close(fd);
		fd = syscall(SYS_openat, AT_FDCWD, "file", flags[i]);
		if (fd < 0)
			say("openat", fd);
		else
			printf("%o: fd %d flags %o cloexec %d\n", flags[i], fd, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
		close(fd);
	}
	int a = open("file", O_RDWR), b = open("file", O_RDWR), c = open("file", O_RDWR);
	close(b);
	int again = open("file", O_RDWR);
	printf("lowest: %d\n", again == b);
	/* A description of its own. */
	write(a, "abc", 3);
	printf("offsets: %ld %ld\n", (long)lseek(a, 0, SEEK_CUR), (long)lseek(c, 0, SEEK_CUR));
	/* Locks die with the last descriptor. */
	say("flock", flock(a, LOCK_EX | LOCK_NB));
	say("flock", flock(c, LOCK_EX | LOCK_NB));
	close(a);
	say("flock", flock(c, LOCK_EX | LOCK_NB));
	close(c);
	close(again);
	/* Append and truncate. */
	a = open("file", O_WRONLY | O_APPEND);
	write(a, "def", 3);
	close(a);
	content("file");
	a = open("file", O_WRONLY | O_CREAT | O_TRUNC, 0);
	close(a);
	mode("file");
}

/* A descriptor that does not fit: nothing happens to the file. */
static void full_table(void)
{
	int a;
	struct rlimit old, full;
	getrlimit(RLIMIT_NOFILE, &old);
	full = old;
	a = dup(0);
	full.rlim_cur = a;
	close(a);
	setrlimit(RLIMIT_NOFILE, &full);
	say("EMFILE", open("unborn", O_WRONLY | O_CREAT | O_EXCL, 0600));
	say("EMFILE", open("full", O_WRONLY | O_TRUNC));
	setrlimit(RLIMIT_NOFILE, &old);
	mode("unborn");
	mode("full");
}

static void umasks(void)
{
	static const int masks[] = {0, 022, 077, 0277, 0777, 027};
	for (int i = 0; i < 6; i++) {
		char name[40];
		umask(masks[i]);
#define M(kind, call) snprintf(name, sizeof name, "%s.%o", kind, masks[i]), call, mode(name)
		M("open", close(open(name, O_CREAT | O_WRONLY, 0666)));
		M("exec", close(open(name, O_CREAT | O_WRONLY, 0777)));
		M("suid", close(open(name, O_CREAT | O_WRONLY, 06755)));
		M("junk", close(syscall(SYS_openat, AT_FDCWD, name, O_CREAT | O_WRONLY, 0177644)));
		M("creat", close(creat(name, 0666)));
		M("dir", mkdir(name, 0777));
		M("sticky", mkdir(name, 01777));
		M("suiddir", mkdir(name, 06777));
		M("fifo", mkfifo(name, 0666));
		M("sock", mknod(name, S_IFSOCK | 0666, 0));
		M("link", symlink("x", name));
		int fd = open(".", O_TMPFILE | O_RDWR, 0666);
		struct stat st;
		fstat(fd, &st);
		printf("tmpfile %o\n", st.st_mode);
		close(fd);
		if (fork() == 0) {
			umask(0);
			_exit(0);
		}
		wait(NULL);
		M("afterwards", close(open(name, O_CREAT | O_WRONLY, 0666)));
	}
	umask(022);
	/* A directory with the group bit hands its group down. */
	mkdir("group", 0755);
	chmod("group", 02755);
	mode("group");
	mkdir("group/d", 0755);
	mode("group/d");
	close(creat("group/f", 0644));
	mode("group/f");
}

static void *other_mask(void *name)
{
	unshare(CLONE_FS);
	umask(0);
	close(open(name, O_CREAT | O_WRONLY, 0666));
	return NULL;
}

static void thread_umask(void)
{
	pthread_t thread;
	umask(077);
	pthread_create(&thread, NULL, other_mask, "thread");
	pthread_join(thread, NULL);
	close(open("leader", O_CREAT | O_WRONLY, 0666));
	mode("thread");
	mode("leader");
	umask(022);
}

static void own_files(void)
{
	char path[100], name[17] = "";
	int fd = open("/proc/self/comm", O_WRONLY);
	write(fd, "renamed", 7);
	close(fd);
	prctl(PR_GET_NAME, name);
	printf("comm %s\n", name);
	fd = open("/proc/thread-self/comm", O_RDWR);
	say("thread-self", write(fd, "again", 5));
	close(fd);
	prctl(PR_GET_NAME, name);
	printf("comm %s\n", name);
	snprintf(path, sizeof path, "/proc/%d/comm", getpid());
	fd = open(path, O_WRONLY);
	say("by number", write(fd, "number", 6));
	close(fd);
	chdir("/proc");
	fd = open("self/task/../comm", O_WRONLY);
	say("relative", write(fd, "relative", 8));
	close(fd);
	prctl(PR_GET_NAME, name);
	printf("comm %s\n", name);

	int ends[2], file;
	pipe(ends);
	snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
	fd = open(path, O_WRONLY);
	say("pipe", write(fd, "through a pipe", 14));
	int n = read(ends[0], path, sizeof path);
	printf("%.*s\n", n, path);
	close(fd);
	snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
	fd = open(path, O_WRONLY | O_NONBLOCK);
	say("the other end", write(fd, "x", 1));
	close(fd);
	fd = open("/dev/stdout", O_WRONLY);
	say("stdout", fd < 0 ? fd : 0);
	write(fd, "written\n", 8);
	close(fd);
	fd = open("/dev/stderr", O_WRONLY | O_APPEND | O_CREAT, 0666);
	say("stderr", fd < 0 ? fd : 0);
	close(fd);
	/* A file of one's own that has no name. */
	file = memfd_create("name", 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	fd = open(path, O_RDWR | O_TRUNC);
	say("memfd", write(fd, "x", 1));
	say("truncate", truncate(path, 5));
	say("fchmod", fchmod(file, 0700));
	say("chmod", chmod(path, 0600));
	say("utimensat", syscall(SYS_utimensat, file, NULL, NULL, 0));
	say("fchmod of a pipe", fchmod(ends[0], 0600));
	int pair[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	say("fchmod of a socket", fchmod(pair[0], 0600));
	snprintf(path, sizeof path, "/proc/self/fd/%d", pair[0]);
	say("open of a socket", open(path, O_RDWR));
	say("open of a closed one", open("/proc/self/fd/777", O_RDWR));
}

static void removed(const char *dir)
{
	char path[100];
	chdir(dir);
	int fd = open("gone", O_RDWR | O_CREAT | O_EXCL, 0644);
	write(fd, "x", 1);
	unlink("gone");
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	say("reopen", (fd = open(path, O_RDWR)) < 0 ? -1 : 0);
	say("read", read(fd, path + 50, 10));
	say("fchmod", fchmod(fd, 0600));
	say("fsetxattr", syscall(SYS_fsetxattr, fd, "user.x", "v", 1, 0));
	say("ftruncate", ftruncate(fd, 0));
	say("link back", linkat(AT_FDCWD, path, AT_FDCWD, "back", AT_SYMLINK_FOLLOW));
	close(fd);
	/* A file without a name gets one. */
	fd = open(".", O_TMPFILE | O_RDWR, 0644);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	say("name", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	mode("named");
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0644);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	say("name of an exclusive one", linkat(AT_FDCWD, path, AT_FDCWD, "excl", AT_SYMLINK_FOLLOW));
	fd = open(".", O_TMPFILE | O_RDWR, 0644);
	say("name by descriptor", syscall(SYS_linkat, fd, "", AT_FDCWD, "by-fd", AT_EMPTY_PATH));
	/* A working directory that is gone, and another one that has the name that the kernel gives it. */
	mkdir("cwd", 0755);
	mkdir("cwd (deleted)", 0755);
	chdir("cwd");
	rmdir("../cwd");
	say("create", open("x", O_WRONLY | O_CREAT, 0644));
	say("mkdir", mkdir("x", 0755));
	say("symlink", symlink("x", "x"));
	say("parent", mkdir("../from-there", 0755));
	say("unlink", unlink("x"));
	say("rename", rename("x", "y"));
	chdir(dir);
	say("not there", rmdir("cwd (deleted)"));
	say("from there", rmdir("from-there"));
}

static void ends_of_pages(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	strcpy(page + 4096 - 9, "page.end");
	say("end of a page", mkdir(page + 4096 - 9, 0755));
	memcpy(page + 4096 - 8, "page.end", 8);
	say("no end", mkdir(page + 4096 - 8, 0755));
	mode("page.end");
	/* Over the boundary of two pages. */
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(page + 4092, "page.over");
	say("two pages", mkdir(page + 4092, 0755));
	mode("page.over");
	/* Paths of any length, before the end of a page and across it. */
	char *pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *end = pages + 3 * 4096;
	munmap(end, 4096);
	for (int length = 250; length < 520; length += length < 260 ? 1 : 17)
		for (int behind = 0; behind < 8192; behind += behind < 300 ? 100 : 4096) {
			char *text = end - behind - length - 1;
			memset(text, '/', length);
			memcpy(text, "./", 2);
			strcpy(text + length - 4, "some");
			printf("%d, %d: ", length, behind);
			say("mkdir", mkdir(text, 0755));
			say("rmdir", rmdir(text));
		}
	memset(end - 300, '/', 300);
	end[-300] = '.';
	say("300 without an end", mkdir(end - 300, 0755));
	/* The longest name, and one more. */
	char name[300];
	memset(name, 'n', 255);
	name[255] = 0;
	say("255", mkdir(name, 0755));
	say("255", rmdir(name));
	memset(name, 'n', 256);
	name[256] = 0;
	say("256", mkdir(name, 0755));
	/* The longest path, and one more. */
	char *path = malloc(5000);
	memset(path, '/', 5000);
	getcwd(path, 1000);
	size_t len = strlen(path);
	memset(path + len, '/', 4095 - len);
	strcpy(path + 4095 - 4, "last");
	say("4095", mkdir(path, 0755));
	mode("last");
	memset(path + len, '/', 4096 - len);
	strcpy(path + 4096 - 5, "last2");
	say("4096", mkdir(path, 0755));
	/* Bytes that are no text. */
	say("bytes", mkdir("\xff\xfe\n\x1b[31m", 0755));
	say("bytes", rmdir("\xff\xfe\n\x1b[31m"));
}

static void deep(const char *dir)
{
	char name[201];
	memset(name, 'd', 200);
	name[200] = 0;
	chdir(dir);
	int depth = 0;
	while (depth < 30 && !mkdir(name, 0755) && !chdir(name))
		depth++;
	say("depth", depth);
	say("deep", open("file", O_WRONLY | O_CREAT, 0644) < 0 ? -1 : 0);
	say("deep", mkdir("dir", 0755));
	say("deep", rename("file", "dir/file"));
	say("deep", unlink("dir/file"));
	say("deep", rmdir("dir"));
	while (depth > 0 && !chdir("..") && !rmdir(name))
		depth--;
	say("depth", depth);
}

static void kinds(void)
{
	/* A program that was just written can be executed. */
	for (int i = 0; i < 50; i++) {
		int fd = open("script", O_WRONLY | O_CREAT | O_TRUNC, 0755);
		write(fd, "#!/bin/true\n", 12);
		close(fd);
		pid_t child = fork();
		if (child == 0) {
			execl("script", "script", (char *)NULL);
			_exit(errno);
		}
		int status;
		waitpid(child, &status, 0);
		if (status) {
			printf("exec %d\n", status);
			break;
		}
	}
	/* One that runs cannot be written. */
	say("ETXTBSY", open("/proc/self/exe", O_WRONLY));
	/* The size limit is the caller's. */
	signal(SIGXFSZ, SIG_IGN);
	struct rlimit old, limit;
	getrlimit(RLIMIT_FSIZE, &old);
	limit = old;
	limit.rlim_cur = 10;
	setrlimit(RLIMIT_FSIZE, &limit);
	say("EFBIG", truncate("script", 13));
	/* It was longer before: that is not limited. */
	say("shorter", truncate("script", 11));
	say("fits", truncate("script", 10));
	setrlimit(RLIMIT_FSIZE, &old);
	/* rename of two names of one file does nothing. */
	link("script", "second");
	say("same", rename("script", "second"));
	mode("script");
	mode("second");
	/* Opening a FIFO. */
	mkfifo("fifo", 0600);
	int reader = open("fifo", O_RDONLY | O_NONBLOCK), writer = open("fifo", O_WRONLY);
	printf("flags %o\n", fcntl(writer, F_GETFL));
	say("fifo", write(writer, "x", 1));
	close(writer);
	char c[2];
	say("x", read(reader, c, 1));
	say("end", read(reader, c, 1));
	signal(SIGPIPE, SIG_IGN);
	writer = open("fifo", O_WRONLY | O_NONBLOCK);
	close(reader);
	say("EPIPE", write(writer, "x", 1));
	close(writer);
	say("rdwr", open("fifo", O_RDWR) < 0 ? -1 : 0);
}

int main(int argc, char **argv)
{
	if (chdir(argv[1]))
		return 1;
	setvbuf(stdout, NULL, _IONBF, 0);
	umask(022);
	int fd = creat("full", 0644);
	write(fd, "full", 4);
	close(fd);
	const char *what = argv[2];
	if (!strcmp(what, "descriptors")) descriptors();
	else if (!strcmp(what, "full table")) full_table();
	else if (!strcmp(what, "umasks")) umasks();
	else if (!strcmp(what, "thread umask")) thread_umask();
	else if (!strcmp(what, "ends of pages")) ends_of_pages();
	else if (!strcmp(what, "kinds")) kinds();
	else if (!strcmp(what, "deep")) deep(argv[1]);
	else if (!strcmp(what, "removed")) removed(argv[1]);
	else if (!strcmp(what, "own files")) own_files();
	else return 2;
	return 0;
}
