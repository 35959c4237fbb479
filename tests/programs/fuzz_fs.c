/* fuzz_fs SEED STEPS DIR FLAGS [STEP...]: makes a directory DIR and random calls of the file system in it, always the same
 * for the same seed, and prints what each of them returned and, at the end, the whole tree. With numbers of steps, only these
 * are done: each step depends on its number alone.
 *
 * Four actors take turns: a process; one of its threads; a process that shares its descriptors; a process that shares its
 * working directory and umask. As root there is a fifth, which has become user 1000.
 *
 * FLAGS: r: no openat2 with O_PATH, which is refused while reading is mediated. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#define NR_setxattrat 463
#define NR_getxattrat 464
#define NR_listxattrat 465
#define NR_removexattrat 466

/* How far above the working directory a path can lead without leaving DIR: 40 links, each with `..', and what the path
 * itself has. */
#define JAIL 50
#define ACTORS 5

static struct shared {
	sem_t turn[ACTORS], done;
	unsigned step;
	int quit;
	pid_t pids[ACTORS];
	char line[8192];
} *shared;

static uint64_t seed, state;
static char top[1024], base[1024];
static int pinned_is_refused, proc_links;

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static unsigned r(unsigned n)
{
	state = mix(state);
	return (state >> 33) % n;
}

static int chance(unsigned percent) { return r(100) < percent; }

static void say(const char *format, ...)
{
	size_t used = strlen(shared->line);
	va_list list;
	va_start(list, format);
	vsnprintf(shared->line + used, sizeof shared->line - used, format, list);
	va_end(list);
}

/* A text with what differs from run to run replaced: DIR, numbers of processes, inodes, control characters. */
static const char *plain(const char *text)
{
	static char out[4][6000];
	static int next;
	char *to = out[next++ % 4], *start = to;
	while (*text && to < start + 5900) {
		int matched = 0;
		if (!strncmp(text, top, strlen(top))) {
			to = stpcpy(to, "$D");
			text += strlen(top);
			continue;
		}
		if (*base && !strncmp(text, base, strlen(base))) {
			to = stpcpy(to, "$B");
			text += strlen(base);
			continue;
		}
		for (int i = 0; i < ACTORS && !strncmp(text, "/proc/", 6); i++) {
			char pid[32];
			int n = snprintf(pid, sizeof pid, "/proc/%d/", shared->pids[i]);
			if (shared->pids[i] && !strncmp(text, pid, n)) {
				to += sprintf(to, "/proc/$%d/", i);
				text += n;
				matched = 1;
				break;
			}
		}
		if (matched)
			continue;
		if (!strncmp(text, "/task/", 6)) {
			to = stpcpy(to, "/task/T");
			for (text += 6; *text >= '0' && *text <= '9'; text++)
				;
			continue;
		}
		if (!strncmp(text, "pipe:[", 6)) {
			to = stpcpy(to, "pipe");
			text = strchr(text, ']') + 1;
			continue;
		}
		if (!strncmp(text, "/#", 2)) {
			/* An unnamed file, by its inode. */
			to = stpcpy(to, "/#N");
			for (text += 2; *text >= '0' && *text <= '9'; text++)
				;
			continue;
		}
		if (*text < ' ' || *text > '~')
			to += sprintf(to, "\\%03o", (unsigned char)*text++);
		else
			*to++ = *text++;
	}
	*to = 0;
	if (to - start > 160)
		sprintf(start + 100, "...(%d)", (int)(to - start));
	return start;
}

/* Paths. */

static const char *name(void)
{
	static const char *names[] = {"a", "b", "c", "d", "e", "f", "la", "lb"};
	return names[r(8)];
}

static void tail(char *to)
{
	int count = 1 + r(3);
	for (int i = 0; i < count; i++) {
		if (i)
			to = stpcpy(to, chance(10) ? "//" : "/");
		to = stpcpy(to, chance(10) ? "." : chance(10) ? ".." : name());
	}
	if (chance(10))
		to = stpcpy(to, "/");
	if (chance(3))
		stpcpy(to, "/.");
}

static int any_fd(void) { return chance(90) ? 3 + r(10) : chance(50) ? -1 : 99; }

/* Where names are made and removed, not in a directory of descriptors of procfs: nobody could, and which error says so
 * depends on whose directory it is. */
static int in_procfs = 1;

static const char *path(void)
{
	static char bufs[2][6000];
	static int next;
	char *buf = bufs[next++ % 2], *end = buf, rest[64];
	int fd = 3 + r(10);
	tail(rest);
	switch (r(60)) {
	case 0: *buf = 0; break;
	case 1: memset(buf, 'x', 255); buf[255] = 0; break;
	case 2: memset(buf, 'x', 256); buf[256] = 0; break;
	case 3: case 4: case 5: sprintf(buf, "/proc/self/fd/%d", fd); break;
	case 6: sprintf(buf, "/proc/self/fd/%d/%s", fd, rest); break;
	case 7: sprintf(buf, "/dev/fd/%d", fd); break;
	case 8: sprintf(buf, "/proc/self/cwd/%s", rest); break;
	case 9: sprintf(buf, "/proc/thread-self/fd/%d", fd); break;
	case 10: sprintf(buf, "/proc/%d/fd/%d", (int)getpid(), fd); break;
	case 11: sprintf(buf, "/proc/%d/cwd/%s", (int)getpid(), rest); break;
	case 12: sprintf(buf, "/proc/self/root%s/%s", top, rest); break;
	case 13: sprintf(buf, "/proc/./self/../self/cwd/%s", rest); break;
	case 14: sprintf(buf, "//%s//%s", top, rest); break;
	case 15:
		/* The longest path, and one that is too long. */
		for (int i = 0; i < 2046; i++)
			end = stpcpy(end, "./");
		end = stpcpy(end, chance(50) ? "./a" : ".//a");
		break;
	case 16: case 17: case 18: case 19: case 20: case 21: case 22: sprintf(buf, "%s/%s", top, rest); break;
	case 23: sprintf(buf, "/dev/fd/%d/%s", fd, rest); break;
	case 24: sprintf(buf, "/proc/self/fd/%d/", fd); break;
	case 25: sprintf(buf, "/proc/self/task/%d/fd/%d", (int)gettid(), fd); break;
	case 26: sprintf(buf, "/proc/self/fd/%d/..", fd); break;
	default: strcpy(buf, rest);
	}
	char *last = strstr(buf, "/fd/");
	if (!in_procfs && last && (last = last + 4, last[strspn(last, "0123456789/")] == 0))
		strcat(buf, "/a");
	return buf;
}

/* The text of a link: at most one `..', see JAIL. */
static const char *target(void)
{
	static char buf[1200];
	int fd = 3 + r(10);
	unsigned kind = r(20);
	switch (!proc_links && (kind == 1 || kind == 2 || kind == 10) ? 19 : kind) {
	case 0: *buf = 0; break;
	case 1: sprintf(buf, "/proc/self/fd/%d", fd); break;
	case 2: strcpy(buf, "/proc/self/cwd"); break;
	case 3: sprintf(buf, "%s", top); break;
	case 4: sprintf(buf, "%s/%s/", top, name()); break;
	case 5: strcpy(buf, "."); break;
	case 6: strcpy(buf, ".."); break;
	case 7: sprintf(buf, "../%s", name()); break;
	case 8: sprintf(buf, "%s/../%s", name(), name()); break;
	case 9: sprintf(buf, "%s/", name()); break;
	case 10: sprintf(buf, "/dev/fd/%d/%s", fd, name()); break;
	case 11: sprintf(buf, "%s/.", name()); break;
	case 12: case 13: sprintf(buf, "%s/%s", name(), name()); break;
	default: strcpy(buf, name());
	}
	return buf;
}

static long at_(void)
{
	int fd = chance(60) ? AT_FDCWD : any_fd();
	/* The kernel takes the low half. */
	if (sizeof(long) == 8 && chance(5))
		return (long)((uint64_t)0x7f << 32 | (unsigned)fd);
	return fd;
}

static unsigned mode(void)
{
	static const unsigned modes[] = {0644, 0755, 0700, 0600, 0777, 0666, 02775, 01777, 04755, 06711, 0555, 0444, 0, 0107777};
	return modes[r(14)];
}

static const char *attribute(void)
{
	static char longest[300];
	switch (r(12)) {
	case 0: return "";
	case 1: memset(longest, 'x', 290); memcpy(longest, "user.", 5); return longest;
	case 2: return "bogus.x";
	case 3: return "user.";
	case 4: return "user";
	case 5: case 6: case 7: return "user.a";
	default: return "user.b";
	}
}

static int id(void) { return chance(40) ? -1 : geteuid() && chance(70) ? (int)geteuid() : (int[]){0, 1000, 2000}[r(3)]; }

/* Results. */

static void result(long value)
{
	int error = errno;
	if (value < 0)
		say(" = %s", strerrorname_np(error) ?: "?");
	else
		say(" = %ld", value);
	errno = error;
}

static void show(const struct stat *st)
{
	say(" [%o %u:%u nlink %lu size %lld", st->st_mode, st->st_uid, st->st_gid, (unsigned long)st->st_nlink,
		S_ISDIR(st->st_mode) ? 0LL : (long long)st->st_size);
	if (st->st_mtim.tv_sec < 1000000000)
		say(" mtime %lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	say("]");
}

/* Whether we are still in the tree; a removed directory is nowhere. */
static int is_outside(const char *link)
{
	char buf[5000];
	ssize_t n = readlink(link, buf, sizeof buf - 1);
	if (n < 0)
		return 0;
	buf[n] = 0;
	return strncmp(buf, top, strlen(top)) != 0;
}

static void opened(long fd)
{
	struct stat st;
	char link[64];
	result(fd);
	if (fd < 0)
		return;
	fstat(fd, &st);
	/* O_NOFOLLOW is lost where there is no name to open by; O_LARGEFILE is always there, because the supervisor is 64-bit. */
	say(" flags %o cloexec %d", fcntl(fd, F_GETFL) & ~(O_NOFOLLOW | 0100000), fcntl(fd, F_GETFD));
	show(&st);
	snprintf(link, sizeof link, "/proc/thread-self/fd/%ld", fd);
	if (S_ISDIR(st.st_mode) && is_outside(link)) {
		close(fd);
		say(" outside");
	}
}

static int is_fifo(long at, const char *name)
{
	struct stat st;
	return fstatat((int)at, name, &st, 0) == 0 && S_ISFIFO(st.st_mode);
}

static int open_flags(long at, const char *name)
{
	int flags = (int[]){O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR, 3}[chance(3) ? 4 : r(4)];
	flags |= (chance(45) ? O_CREAT : 0) | (chance(15) ? O_EXCL : 0) | (chance(20) ? O_TRUNC : 0);
	flags |= (chance(10) ? O_APPEND : 0) | (chance(15) ? O_DIRECTORY : 0) | (chance(15) ? O_NOFOLLOW : 0);
	flags |= (chance(12) ? O_PATH : 0) | (chance(20) ? O_CLOEXEC : 0) | (chance(5) ? O_SYNC : 0);
	flags |= (chance(4) ? O_NOATIME : 0) | (chance(5) ? O_NOCTTY : 0) | (chance(3) ? 1 << 28 : 0);
	if (chance(7))
		flags |= chance(85) ? O_TMPFILE : O_TMPFILE & ~O_DIRECTORY;
	if (chance(10) || is_fifo(at, name))
		flags |= O_NONBLOCK;
	return flags;
}

static int at_flags(int useful)
{
	return (chance(25) ? useful : 0) | (chance(15) ? AT_EMPTY_PATH : 0) | (chance(3) ? 0x20000 : 0);
}

static struct timespec *times(struct timespec ts[2])
{
	for (int i = 0; i < 2; i++) {
		ts[i].tv_sec = r(100000);
		ts[i].tv_nsec = chance(5) ? 1000000000 : r(1000000000);
		if (chance(20))
			ts[i].tv_nsec = UTIME_OMIT;
		/* Not on mtime, which is compared. */
		else if (i == 0 && chance(20))
			ts[i].tv_nsec = UTIME_NOW;
	}
	return chance(10) ? NULL : ts;
}

#define S(name, ...) syscall(SYS_##name, __VA_ARGS__)
#define PATH(var) const char *var = path(); say(" \"%s\"", plain(var))
#define NAME(var) in_procfs = 0; PATH(var); in_procfs = 1
#define AT(var) long var = at_(); say(" %d", (int)var)
#define FD(var) int var = any_fd(); say(" %d", var)

static void openat2_(void)
{
	static const uint64_t resolve[] = {RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS,
		RESOLVE_NO_XDEV};
	uint64_t how_resolve = 0;
	/* In procfs the supervisor's is seen with these. */
	while (!proc_links && chance(45))
		how_resolve |= resolve[r(5)];
	AT(at);
	const char *p = path();
	while (how_resolve && (!strncmp(p, "/proc", 5) || !strncmp(p, "/dev", 4)))
		p = path();
	struct open_how how = {.flags = (unsigned)open_flags(at, p) | O_NONBLOCK, .resolve = how_resolve};
	if (pinned_is_refused)
		how.flags &= ~(uint64_t)O_PATH;
	if (how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		how.mode = mode() & 07777;
	if (how.flags & O_PATH)
		how.flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	if (chance(80))
		how.flags &= ~(uint64_t)(1 << 28);
	say(" \"%s\" flags %llo mode %llo resolve %llx", plain(p), (long long)how.flags, (long long)how.mode,
		(long long)how.resolve);
	opened(S(openat2, at, p, &how, sizeof how));
}

static void call(void)
{
	struct stat st;
	struct timespec ts[2];
	struct timeval tv[2];
	struct utimbuf ut;
	char buf[9000];
	long n;
	switch (r(100)) {
	case 0 ... 9: {
		say("open");
		PATH(p);
		int flags = open_flags(AT_FDCWD, p), m = mode();
		say(" %o %o", flags, m);
		opened(S(open, p, flags, m));
		break;
	}
	case 10 ... 17: {
		say("openat");
		AT(at);
		PATH(p);
		int flags = open_flags(at, p), m = mode();
		say(" %o %o", flags, m);
		opened(S(openat, at, p, flags, m));
		break;
	}
	case 18 ... 21:
		say("openat2");
		openat2_();
		break;
	case 22: {
		say("creat");
		PATH(p);
		int m = mode();
		say(" %o", m);
		if (is_fifo(AT_FDCWD, p))
			break;
		opened(S(creat, p, m));
		break;
	}
	case 23 ... 26: {
		say("mkdir");
		NAME(p);
		int m = mode();
		say(" %o", m);
		result(S(mkdir, p, m));
		break;
	}
	case 27: case 28: {
		say("mkdirat");
		AT(at);
		NAME(p);
		int m = mode();
		say(" %o", m);
		result(S(mkdirat, at, p, m));
		break;
	}
	case 29: case 30: {
		static const unsigned types[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, 0, S_IFDIR, S_IFLNK, 0170000, S_IFIFO};
		say("mknodat");
		AT(at);
		NAME(p);
		unsigned m = mode() & 07777, type = types[r(9)];
		say(" %o", m | type);
		result(S(mknodat, at, p, m | type, 0));
		break;
	}
	case 31: case 32: {
		say("rmdir");
		NAME(p);
		result(S(rmdir, p));
		break;
	}
	case 33: case 34: {
		say("unlink");
		NAME(p);
		result(S(unlink, p));
		break;
	}
	case 35: case 36: {
		say("unlinkat");
		AT(at);
		NAME(p);
		int flags = chance(50) ? AT_REMOVEDIR : chance(5) ? 1 : 0;
		say(" %x", flags);
		result(S(unlinkat, at, p, flags));
		break;
	}
	case 37 ... 40: {
		say("rename");
		NAME(p);
		NAME(q);
		result(S(rename, p, q));
		break;
	}
	case 41 ... 44: {
		say("renameat2");
		AT(at);
		NAME(p);
		AT(to);
		NAME(q);
		unsigned flags = chance(40) ? 0 : chance(4) ? 1 << 5 : r(8);
		say(" %x", flags);
		result(S(renameat2, at, p, to, q, flags));
		break;
	}
	case 45: case 46: {
		say("link");
		PATH(p);
		NAME(q);
		result(S(link, p, q));
		break;
	}
	case 47 ... 49: {
		say("linkat");
		AT(at);
		PATH(p);
		AT(to);
		NAME(q);
		int flags = at_flags(AT_SYMLINK_FOLLOW);
		/* It is refused for what another process opened, though a path in procfs does the same. */
		if (geteuid())
			flags &= ~AT_EMPTY_PATH;
		say(" %x", flags);
		result(S(linkat, at, p, to, q, flags));
		break;
	}
	case 50 ... 53: {
		say("symlinkat");
		const char *t = target();
		say(" \"%s\"", plain(t));
		AT(at);
		NAME(q);
		result(S(symlinkat, t, at, q));
		break;
	}
	case 54: case 55: {
		say("readlinkat");
		AT(at);
		PATH(p);
		int size = chance(80) ? 5000 : (int[]){0, -1, 3}[r(3)];
		say(" %d", size);
		memset(buf, 0, sizeof buf);
		n = S(readlinkat, at, p, buf, size);
		if (n >= 0)
			/* The length depends on DIR and on numbers of processes. */
			say(" = \"%s\"", plain(buf));
		else
			result(n);
		break;
	}
	case 56: case 57: {
		static const long lengths[] = {0, 3, 10, -1, 5000, 1};
		say("truncate");
		PATH(p);
		long length = lengths[r(6)];
		say(" %ld", length);
		result(S(truncate, p, length));
		break;
	}
	case 58: {
		say("ftruncate");
		FD(fd);
		int length = r(20);
		say(" %d", length);
		result(S(ftruncate, fd, (long)length));
		break;
	}
	case 59: case 60: {
		say("chmod");
		PATH(p);
		int m = mode();
		say(" %o", m);
		result(S(chmod, p, m));
		break;
	}
	case 61: {
		say("fchmod");
		FD(fd);
		int m = mode();
		say(" %o", m);
		result(S(fchmod, fd, m));
		break;
	}
	case 62: case 63: {
		say("fchmodat2");
		AT(at);
		PATH(p);
		int m = mode(), flags = at_flags(AT_SYMLINK_NOFOLLOW);
		say(" %o %x", m, flags);
		result(S(fchmodat2, at, p, m, flags));
		break;
	}
	case 64: {
		say("chown");
		PATH(p);
		int u = id(), g = id();
		say(" %d %d", u, g);
		result(S(chown, p, u, g));
		break;
	}
	case 65: {
		say("lchown");
		PATH(p);
		int u = id(), g = id();
		say(" %d %d", u, g);
		result(S(lchown, p, u, g));
		break;
	}
	case 66: {
		say("fchown");
		FD(fd);
		int u = id(), g = id();
		say(" %d %d", u, g);
		result(S(fchown, fd, u, g));
		break;
	}
	case 67: case 68: {
		say("fchownat");
		AT(at);
		PATH(p);
		int u = id(), g = id(), flags = at_flags(AT_SYMLINK_NOFOLLOW);
		say(" %d %d %x", u, g, flags);
		result(S(fchownat, at, p, u, g, flags));
		break;
	}
	case 69 ... 71: {
		say("utimensat");
		AT(at);
		const char *p = chance(12) ? NULL : path();
		int flags = at_flags(AT_SYMLINK_NOFOLLOW);
		struct timespec *t = times(ts);
		say(" \"%s\" %s %x", p ? plain(p) : "NULL", t ? "times" : "now", flags);
		result(S(utimensat, at, p, t, flags));
		break;
	}
	case 72: {
		int by_micro = chance(50);
		say(by_micro ? "futimesat" : "utime");
		AT(at);
		PATH(p);
		ut = (struct utimbuf){r(1000), r(1000)};
		tv[0] = tv[1] = (struct timeval){r(1000), chance(10) ? 1000000 : r(1000000)};
		result(by_micro ? S(futimesat, at, p, tv) : S(utime, p, &ut));
		break;
	}
	case 73: case 74: {
		say("setxattr");
		PATH(p);
		const char *a = attribute();
		int size = r(8), flags = chance(70) ? 0 : 1 + r(4);
		say(" %s %d %x", plain(a), size, flags);
		result(chance(70) ? S(setxattr, p, a, "01234567", size, flags) : S(lsetxattr, p, a, "01234567", size, flags));
		break;
	}
	case 75: {
		say("fsetxattr");
		FD(fd);
		const char *a = attribute();
		say(" %s", plain(a));
		result(S(fsetxattr, fd, a, "fd", 2, 0));
		break;
	}
	case 76: {
		struct { uint64_t value; uint32_t size, flags; } args = {(uintptr_t)"at", 2, 0};
		say("setxattrat");
		AT(at);
		PATH(p);
		int flags = at_flags(AT_SYMLINK_NOFOLLOW);
		const char *a = attribute();
		say(" %x %s", flags, plain(a));
		result(syscall(NR_setxattrat, at, p, flags, a, &args, sizeof args));
		break;
	}
	case 77: {
		say("removexattr");
		int by_link = chance(30);
		PATH(p);
		const char *a = attribute();
		say(" %s", plain(a));
		result(by_link ? S(lremovexattr, p, a) : S(removexattr, p, a));
		break;
	}
	case 78: {
		say("getxattr");
		int by_link = chance(30), size = chance(70) ? 100 : r(3);
		PATH(p);
		const char *a = attribute();
		say(" %s %d", plain(a), size);
		memset(buf, 0, 200);
		n = by_link ? S(lgetxattr, p, a, buf, size) : S(getxattr, p, a, buf, size);
		result(n);
		say(" \"%s\"", plain(buf));
		break;
	}
	case 79: {
		say("listxattr");
		int by_link = chance(30), size = chance(70) ? 4000 : r(8);
		PATH(p);
		say(" %d", size);
		memset(buf, 0, 200);
		n = by_link ? S(llistxattr, p, buf, size) : S(listxattr, p, buf, size);
		result(n);
		say(" \"%s\"", plain(buf));
		break;
	}
	case 80: {
		say("access");
		PATH(p);
		int m = r(9);
		say(" %d", m);
		result(S(access, p, m));
		break;
	}
	case 81: case 82: {
		say("faccessat2");
		AT(at);
		PATH(p);
		int m = r(8), flags = at_flags(AT_SYMLINK_NOFOLLOW) | (chance(30) ? AT_EACCESS : 0);
		say(" %d %x", m, flags);
		result(S(faccessat2, at, p, m, flags));
		break;
	}
	case 83: case 84: {
		say("stat");
		int by_link = chance(40);
		PATH(p);
		n = by_link ? lstat(p, &st) : stat(p, &st);
		result(n);
		/* A link of procfs has the length of its text; /proc has as many links as there are processes. */
		if (!n && (!S_ISLNK(st.st_mode) || strncmp(p, "/proc", 5)) && st.st_ino != 1)
			show(&st);
		break;
	}
	case 85: case 86: {
		say("chdir");
		PATH(p);
		result(S(chdir, p));
		if (is_outside("/proc/thread-self/cwd"))
			result(chdir(top));
		break;
	}
	case 87: {
		say("fchdir");
		FD(fd);
		result(S(fchdir, fd));
		if (is_outside("/proc/thread-self/cwd"))
			result(chdir(top));
		break;
	}
	case 88: {
		int mask = (int[]){0, 022, 027, 077, 0777, 0111}[r(6)];
		say("umask %o", mask);
		result(umask(mask));
		break;
	}
	case 89: {
		int from = 3 + r(10), to = 3 + r(10);
		say("dup2 %d %d", from, to);
		result(dup2(from, to));
		break;
	}
	case 90 ... 94: {
		int fd = 3 + r(10);
		say("close %d", fd);
		result(close(fd));
		break;
	}
	case 95: case 96: {
		FD(fd);
		int flags = fcntl(fd, F_GETFL);
		say("write");
		if (flags < 0 || flags & O_PATH || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > 100000)
			break;
		result(write(fd, "0123456789", 1 + r(10)));
		break;
	}
	case 97: {
		FD(fd);
		say("read");
		if (fstat(fd, &st) || !S_ISREG(st.st_mode))
			break;
		memset(buf, 0, 200);
		result(pread(fd, buf, 100, r(5)));
		say(" \"%s\"", plain(buf));
		break;
	}
	case 98: {
		say("getcwd");
		memset(buf, 0, 10);
		n = S(getcwd, buf, 5000);
		if (n < 0)
			result(n);
		else
			say(" = %s", plain(buf));
		break;
	}
	case 99: {
		int fd = 3 + r(10), flags = 0;
		say("FS_IOC_SETFLAGS %d", fd);
		n = syscall(SYS_ioctl, fd, FS_IOC_GETFLAGS, &flags);
		result(n);
		if (n)
			break;
		flags ^= FS_NODUMP_FL;
		result(syscall(SYS_ioctl, fd, FS_IOC_SETFLAGS, &flags));
		break;
	}
	}
}

static void act(int self)
{
	for (;;) {
		while (sem_wait(&shared->turn[self]))
			;
		if (shared->quit)
			return;
		state = mix(seed * 1000003 + shared->step);
		r(ACTORS);
		errno = 0;
		call();
		sem_post(&shared->done);
	}
}

static void *thread(void *self)
{
	act((int)(intptr_t)self);
	return NULL;
}

static int process(void *self)
{
	shared->pids[(intptr_t)self] = getpid();
	sem_post(&shared->done);
	act((int)(intptr_t)self);
	_exit(0);
}

static void wait_for(sem_t *sem, const char *what)
{
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 300;
	while (sem_timedwait(sem, &end))
		if (errno != EINTR) {
			printf("%s: %s hangs\n", what, shared->line);
			fflush(stdout);
			for (int i = 2; i < ACTORS; i++)
				if (shared->pids[i] && shared->pids[i] != getpid())
					kill(shared->pids[i], SIGKILL);
			_exit(1);
		}
}

static void file(const char *name, int mode, const char *text, int uid)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	write(fd, text, strlen(text));
	fchown(fd, uid, uid);
	fchmod(fd, mode);
	close(fd);
}

static void directory(const char *name, int mode, int uid)
{
	mkdir(name, 0700);
	chown(name, uid, uid);
	chmod(name, mode);
}

/* What there is to begin with: in `top', below enough directories. */
static void populate(const char *dir)
{
	closefrom(3);
	int root = geteuid() == 0, other = root ? 1000 : -1;
	umask(0);
	mkdir(dir, 0777);
	chdir(dir);
	getcwd(base, sizeof base);
	for (int i = 0; i < JAIL; i++) {
		mkdir("j", 0777);
		chdir("j");
	}
	getcwd(top, sizeof top);
	directory("a", 0755, -1);
	directory("b", 02777, root ? 2000 : -1);
	directory("c", 01777, other);
	file("d", 0644, "content of d", -1);
	file("e", 04777, "content of e", other);
	symlink("a", "la");
	symlink("../d", "a/la");
	file("a/a", 0666, "content of a/a", other);
	directory("a/b", 0777, other);
	file("b/a", 0600, "content of b/a", -1);
	file("c/a", 0666, "content of c/a", root ? 2000 : -1);
	file("c/b", 0666, "content of c/b", -1);
	directory("c/c", 0777, other);
	symlink("lb", "lb");
	symlink("nowhere", "b/lb");
	mkfifo("f", 0666);
	setxattr("d", "user.a", "first", 5, 0);
	umask(022);
	int pipes[2];
	if (open(".", O_RDONLY | O_DIRECTORY) != 3 || open("a", O_PATH) != 4 || open("d", O_RDONLY) != 5 || pipe(pipes) ||
		pipes[0] != 6 || open("b", O_RDWR | O_TMPFILE, 0600) != 8 || memfd_create("memory", 0) != 9 ||
		open("la", O_PATH | O_NOFOLLOW) != 10 || open("c/a", O_RDWR) != 11)
		exit(3);
	struct rlimit limit = {24, 24};
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* The tree. */

static ino_t inodes[10000];
static int inode_count;

static void dump(int dir, const char *name, int depth)
{
	struct stat st;
	char buf[5000], value[300];
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
		printf("%*s%s: %s\n", depth, "", plain(name), strerrorname_np(errno));
		return;
	}
	shared->line[0] = 0;
	show(&st);
	printf("%*s%s%s", depth, "", plain(name), shared->line);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dir, name, buf, sizeof buf - 1);
		buf[n < 0 ? 0 : n] = 0;
		printf(" -> %s", plain(buf));
	}
	if (st.st_nlink > 1 && !S_ISDIR(st.st_mode)) {
		int i = 0;
		while (i < inode_count && inodes[i] != st.st_ino)
			i++;
		if (i == inode_count && i < 9999)
			inodes[inode_count++] = st.st_ino;
		printf(" inode %d", i);
	}
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW);
		if (fd < 0) {
			fchmodat(dir, name, 0700, 0);
			fd = openat(dir, name, O_RDONLY | O_NOFOLLOW);
		}
		int flags = 0;
		ioctl(fd, FS_IOC_GETFLAGS, &flags);
		if (flags & FS_NODUMP_FL)
			printf(" nodump");
		ssize_t n = flistxattr(fd, buf, sizeof buf);
		for (char *p = buf; n > 0 && p < buf + n; p += strlen(p) + 1) {
			ssize_t m = fgetxattr(fd, p, value, sizeof value - 1);
			value[m < 0 ? 0 : m] = 0;
			printf(" %s=%s", p, plain(value));
		}
		if (S_ISREG(st.st_mode)) {
			unsigned long sum = 0;
			while ((n = read(fd, buf, sizeof buf)) > 0)
				for (ssize_t i = 0; i < n; i++)
					sum = sum * 31 + (unsigned char)buf[i];
			printf(" sum %lx", sum);
		}
		putchar('\n');
		if (S_ISDIR(st.st_mode)) {
			struct dirent **list;
			fchmod(fd, 0700);
			int count = scandirat(fd, ".", &list, NULL, alphasort);
			for (int i = 0; i < count; i++)
				if (strcmp(list[i]->d_name, ".") && strcmp(list[i]->d_name, ".."))
					dump(fd, list[i]->d_name, depth + 1);
		}
		close(fd);
	} else
		putchar('\n');
}

int main(int argc, char **argv)
{
	seed = strtoull(argv[1], NULL, 10);
	unsigned steps = strtoul(argv[2], NULL, 10);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!strcmp(argv[4], "dump")) {
		struct rlimit limit = {1024, 4096};
		setrlimit(RLIMIT_NOFILE, &limit);
		chdir(argv[3]);
		strcpy(top, argv[3]);
		for (int i = 0; i < JAIL; i++)
			strcat(top, "/j");
		dump(AT_FDCWD, ".", 0);
		return 0;
	}
	proc_links = seed % 2;
	pinned_is_refused = strchr(argv[4], 'r') != NULL;
	populate(argv[3]);
	sem_init(&shared->done, 1, 0);
	for (int i = 0; i < ACTORS; i++)
		sem_init(&shared->turn[i], 1, 0);
	pthread_t mate;
	int stack = 1 << 18, actors = geteuid() ? 4 : 5;
	shared->pids[0] = shared->pids[1] = getpid();
	pthread_t first;
	pthread_create(&first, NULL, thread, (void *)0);
	pthread_create(&mate, NULL, thread, (void *)1);
	/* Without CLONE_VM: each has its own buffers. */
	clone(process, (char *)malloc(stack) + stack, CLONE_FILES | SIGCHLD, (void *)2);
	wait_for(&shared->done, "start");
	clone(process, (char *)malloc(stack) + stack, CLONE_FS | SIGCHLD, (void *)3);
	wait_for(&shared->done, "start");
	shared->pids[4] = shared->pids[0];
	if (actors == 5) {
		if (fork() == 0) {
			gid_t groups[] = {2000};
			if (setgroups(1, groups) || setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))
				exit(4);
			/* As after an exec: who may not be looked at has only itself to look. */
			prctl(PR_SET_DUMPABLE, 1);
			process((void *)4);
		}
		wait_for(&shared->done, "start");
	}
	unsigned count = argc > 5 ? (unsigned)argc - 5 : steps;
	for (unsigned i = 0; i < count; i++) {
		unsigned step = argc > 5 ? strtoul(argv[5 + i], NULL, 10) : i;
		state = mix(seed * 1000003 + step);
		unsigned actor = r(ACTORS) % actors;
		shared->step = step;
		snprintf(shared->line, sizeof shared->line, "%u %u: ", step, actor);
		sem_post(&shared->turn[actor]);
		wait_for(&shared->done, "step");
		puts(shared->line);
	}
	shared->quit = 1;
	for (int i = 0; i < actors; i++)
		sem_post(&shared->turn[i]);
	pthread_join(first, NULL);
	pthread_join(mate, NULL);
	while (wait(NULL) > 0)
		;
	return 0;
}
