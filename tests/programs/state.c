/* state CASE OK NO: what happens to the state of the sandbox when processes are made, end and execute.
 *
 * Nothing may be written in NO until a process says so by magic. Each case prints lines that its test knows, and makes
 * files in NO that the test looks for. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *no, *self;

static int magic(const char *format, const char *value)
{
	char path[4200];
	struct stat st;
	int n = snprintf(path, sizeof path, "/dev/sydbox/");
	snprintf(path + n, sizeof path - n, format, value);
	return stat(path, &st) ? errno : 0;
}

static int allow(void) { return magic("allowlist/write+%s/***", no); }
static int forbid(void) { return magic("allowlist/write-%s/***", no); }

/* Makes a file in NO: 0 or errno. */
static int make(const char *name)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/%s", no, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static void say(const char *what, int result)
{
	printf("%s: %s\n", what, result ? strerrorname_np(result) : "0");
	fflush(stdout);
}

static int status(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void await(int fd)
{
	char c;
	while (read(fd, &c, 1) < 0 && errno == EINTR)
		;
}

static void tell(int fd) { write(fd, "x", 1); }

static void double_fork(void)
{
	pid_t a = fork();
	if (a == 0) {
		say("allow", allow());
		pid_t b = fork();
		if (b == 0) {
			pid_t c = fork();
			if (c == 0)
				_exit(make("grandchild"));
			_exit(status(c));
		}
		_exit(status(b));
	}
	say("grandchild", status(a));
	say("parent", make("parent"));
}

static void orphan(void)
{
	int gone[2], done[2];
	pipe(gone);
	pipe(done);
	pid_t a = fork();
	if (a == 0) {
		close(done[0]);
		say("allow", allow());
		pid_t parent = getpid();
		if (fork() == 0) {
			close(gone[1]);
			await(gone[0]);
			/* The parent's descriptors are closed; it is gone for us a little later. */
			while (getppid() == parent)
				sched_yield();
			say("orphan", make("orphan"));
			_exit(0);
		}
		_exit(0);
	}
	close(gone[1]);
	close(done[1]);
	status(a);
	await(done[0]);
	say("parent", make("parent"));
}

static void vforked(void)
{
	volatile int inherits = -1, allowed = -1, makes = -1;
	pid_t a = vfork();
	if (a == 0) {
		inherits = make("early");
		allowed = allow();
		makes = make("vforked");
		_exit(0);
	}
	status(a);
	say("inherits", inherits);
	say("allow", allowed);
	say("child", makes);
	say("parent", make("parent"));
	allow();
	a = vfork();
	if (a == 0) {
		makes = make("second");
		_exit(0);
	}
	status(a);
	say("second", makes);
}

static void *toggler(void *result)
{
	*(int *)result = allow();
	return NULL;
}

/* One thread gives a command while another makes children: each has the old state or the new one, whole. */
static void threads(void)
{
	int old = 0, new = 0, wrong = 0;
	for (int round = 0; round < 60; round++) {
		pthread_t thread;
		int allowed = -1;
		pthread_create(&thread, NULL, toggler, &allowed);
		for (int i = 0; i < 6; i++) {
			char name[40];
			snprintf(name, sizeof name, "%d.%d", round, i);
			pid_t child = fork();
			if (child == 0) {
				int first = make(name);
				strcat(name, "b");
				_exit(first == make(name) ? first : 99);
			}
			int result = status(child);
			result == 0 ? new++ : result == EPERM ? old++ : wrong++;
		}
		pthread_join(thread, NULL);
		char name[40];
		snprintf(name, sizeof name, "%d", round);
		if (allowed || make(name))
			wrong++;
		strcat(name, "c");
		pid_t child = fork();
		if (child == 0)
			_exit(make(name));
		if (status(child) || forbid())
			wrong++;
	}
	printf("children: %d\nwrong: %d\n", old + new, wrong);
	fprintf(stderr, "%d old, %d new\n", old, new);
}

static void siblings(void)
{
	int go[2], done[2];
	pipe(go);
	pipe(done);
	pid_t idle = fork();
	if (idle == 0) {
		close(go[1]);
		await(go[0]);
		_exit(make("sibling"));
	}
	pid_t busy = fork();
	if (busy == 0) {
		pid_t own = fork();
		if (own == 0) {
			close(go[1]);
			await(go[0]);
			_exit(make("existing-child"));
		}
		say("allow", allow());
		say("self", make("self"));
		tell(done[1]);
		close(go[1]);
		_exit(status(own));
	}
	await(done[0]);
	say("parent", make("parent"));
	close(go[1]);
	say("sibling", status(idle));
	say("existing child", status(busy));
}

/* state probe OK NO: what a program finds that was executed. */
static void probe(void)
{
	struct stat st;
	say("check", stat("/dev/sydbox", &st) ? errno : 0);
	say("allow", allow());
	say("make", make("probe"));
}

static void run_probe(char **argv)
{
	execl(self, self, "probe", argv[2], argv[3], (char *)NULL);
	_exit(125);
}

static void exec_lock(char **argv)
{
	say("exec_lock", magic("%s", "exec_lock"));
	pid_t child = fork();
	if (child == 0)
		run_probe(argv);
	status(child);
	say("allow", allow());
	say("parent", make("parent"));
	say("forbid", forbid());
	say("check", magic("%s", "check"));
	child = fork();
	if (child == 0)
		_exit(magic("%s", "check"));
	say("fork", status(child));
	/* A vfork whose child executes something must lock the child alone. */
	child = vfork();
	if (child == 0)
		run_probe(argv);
	status(child);
	say("check", magic("%s", "check"));
}

static void failed_exec(char **argv)
{
	char path[4200];
	say("exec_lock", magic("%s", "exec_lock"));
	char *words[] = {"nowhere", NULL};
	setenv("PATH", "/nonexistent:/dev/null/x:/proc/self/fd/99/x", 1);
	execvp("nowhere", words);
	say("along PATH", errno == ENOENT || errno == ENOTDIR ? 0 : errno);
	execv("/nonexistent/nowhere", words);
	say("missing", errno);
	execv("/dev/null/nowhere", words);
	say("not a directory", errno);
	execv((char *)16, words);
	say("bad pointer", errno);
	say("check", magic("%s", "check"));
	snprintf(path, sizeof path, "%s/plain", argv[2]);
	execv(path, words);
	say("not executable", errno);
	say("check", magic("%s", "check"));
	execv(argv[2], words);
	say("directory", errno);
	say("check", magic("%s", "check"));
	run_probe(argv);
}

static void daemonise(void)
{
	int done[2];
	pipe(done);
	pid_t a = fork();
	if (a == 0) {
		close(done[0]);
		say("allow", allow());
		setsid();
		pid_t parent = getpid();
		if (fork() == 0) {
			while (getppid() == parent)
				sched_yield();
			setpgid(0, 0);
			say("daemon", make("daemon"));
			say("forbid", forbid());
			say("after", make("after"));
			_exit(0);
		}
		_exit(0);
	}
	close(done[1]);
	status(a);
	await(done[0]);
	say("parent", make("parent"));
}

/* By a descriptor, which is looked up in the caller's table. */
static int by_descriptor(const char *ok)
{
	int fd = open(ok, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fchmod(fd, 0755) ? errno : 0;
}

static void pid_reuse(const char *ok)
{
	pid_t first;
	/* Numbers below 300 do not come again. */
	do {
		first = fork();
		if (first == 0) {
			int result = getpid() > 310 ? allow() : 0;
			if (getpid() > 310 && result == 0)
				result = make("first");
			_exit(getpid() > 310 && result == 0 ? by_descriptor(ok) : result);
		}
		int result = status(first);
		if (first > 310)
			say("first", result);
	} while (first <= 310);
	for (int i = 0; i < 100000; i++) {
		pid_t again = fork();
		if (again == 0) {
			if (getpid() == first)
				say("its own", by_descriptor(ok));
			_exit(getpid() == first ? make("again") : 0);
		}
		int result = status(again);
		if (again == first) {
			say("again", result);
			return;
		}
	}
	puts("never");
}

static void one_way(char **argv)
{
	const char *how = argv[4];
	say("lock", magic("core/trace/magic_lock:%s", how));
	int off = magic("%s", "core/trace/magic_lock:off");
	say("off", off == ENOENT || off == EINVAL || off == EPERM ? 0 : 99);
	pid_t child = fork();
	if (child == 0)
		run_probe(argv);
	status(child);
	if (strcmp(how, "on") == 0)
		probe();
}

static void limits(void)
{
	struct rlimit before, old, low = {1, 1}, high = {RLIM_INFINITY, RLIM_INFINITY}, after;
	getrlimit(RLIMIT_LOCKS, &before);
	say("setrlimit", setrlimit(RLIMIT_LOCKS, &low) ? errno : 0);
	say("raise", setrlimit(RLIMIT_LOCKS, &high) ? errno : 0);
	say("prlimit", prlimit(0, RLIMIT_LOCKS, &low, &old) ? errno : 0);
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	say("prlimit of a child", prlimit(child, RLIMIT_LOCKS, &low, NULL) ? errno : 0);
	prlimit(child, RLIMIT_LOCKS, NULL, &after);
	say("child", before.rlim_cur == after.rlim_cur && before.rlim_max == after.rlim_max ? 0 : 99);
	kill(child, SIGKILL);
	status(child);
	getrlimit(RLIMIT_LOCKS, &after);
	say("unchanged", before.rlim_cur == after.rlim_cur && before.rlim_max == after.rlim_max ? 0 : 99);
	say("allow", allow());
	say("make", make("limits"));
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	const char *name = argv[1];
	self = argv[0];
	no = argv[3];
	if (!strcmp(name, "double-fork")) double_fork();
	else if (!strcmp(name, "orphan")) orphan();
	else if (!strcmp(name, "vfork")) vforked();
	else if (!strcmp(name, "threads")) threads();
	else if (!strcmp(name, "siblings")) siblings();
	else if (!strcmp(name, "probe")) probe();
	else if (!strcmp(name, "exec-lock")) exec_lock(argv);
	else if (!strcmp(name, "failed-exec")) failed_exec(argv);
	else if (!strcmp(name, "daemon")) daemonise();
	else if (!strcmp(name, "pid-reuse")) pid_reuse(argv[2]);
	else if (!strcmp(name, "one-way")) one_way(argv);
	else if (!strcmp(name, "limits")) limits();
	else return 2;
	return 0;
}
