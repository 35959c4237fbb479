/* abi32 DIR (built with -m32): calls of 32-bit x86 that have layouts or arguments of their own, in a tree of tree.c; and what
 * they did. abi32 magic PATH: stats of a name in each of the ABI's calls, with what is behind the buffer. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
#include <asm/stat.h>
#include <linux/net.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define S(name, ...) syscall(SYS_##name, __VA_ARGS__)

static void result(const char *what, long value)
{
	printf("%s: ", what);
	if (value < 0)
		puts(strerrorname_np(errno));
	else
		printf("%ld\n", value);
}

#define R(call) (errno = 0, result(#call, call))

static union {
	struct stat st;
	struct stat64 st64;
	struct statx stx;
	unsigned char bytes[400];
} g;

/* Nothing but the structure is written. */
static void canary(size_t size)
{
	for (size_t i = size; i < sizeof g; i++)
		if (g.bytes[i] != 0xa5) {
			printf("byte %zu is written\n", i);
			return;
		}
}

#define SHOW(kind, call, mode_, rdev_, size_) \
	memset(&g, 0xa5, sizeof g); \
	errno = 0; \
	value = call; \
	result(#call, value); \
	if (!value) \
		printf(" mode %o rdev %llx size %lld\n", (unsigned)(mode_), (unsigned long long)(rdev_), (long long)(size_)); \
	canary(value ? 0 : sizeof(kind));

static int magic(const char *path)
{
	long value;
	SHOW(struct stat, S(stat, path, &g.st), g.st.st_mode, g.st.st_rdev, g.st.st_size)
	SHOW(struct stat64, S(stat64, path, &g.st64), g.st64.st_mode, g.st64.st_rdev, g.st64.st_size)
	SHOW(struct stat64, S(fstatat64, AT_FDCWD, path, &g.st64, 0), g.st64.st_mode, g.st64.st_rdev, g.st64.st_size)
	SHOW(struct statx, S(statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, &g.stx), g.stx.stx_mode,
		g.stx.stx_rdev_major << 8 | g.stx.stx_rdev_minor, g.stx.stx_size)
	SHOW(struct stat64, S(lstat64, path, &g.st64), 0, 0, 0)
	SHOW(struct stat64, S(fstatat64, AT_FDCWD, path, &g.st64, AT_SYMLINK_NOFOLLOW), 0, 0, 0)
	R(S(stat64, path, 8));
	R(S(stat64, 8, &g.st64));
	return 0;
}

/* What can be seen of f. */
static void show(void)
{
	struct stat64 st;
	S(stat64, "f", &st);
	printf(" mode %o ids %lu:%lu size %lld", st.st_mode, st.st_uid, st.st_gid, (long long)st.st_size);
	if (st.st_atime < 1000000000)
		printf(" atime %lu.%09lu", (unsigned long)st.st_atime, (unsigned long)st.st_atime_nsec);
	if (st.st_mtime < 1000000000)
		printf(" mtime %lu.%09lu", (unsigned long)st.st_mtime, (unsigned long)st.st_mtime_nsec);
	puts("");
}

#define T(call) do { R(call); show(); } while (0)

int main(int argc, char **argv)
{
	if (!strcmp(argv[1], "magic"))
		return magic(argv[2]);
	if (chdir(argv[1]))
		return 1;
	int32_t buf[2] = {100, 200}, micro[4] = {300, 5, 400, 6}, nano[4] = {500, 7, 600, 8}, bad[4] = {1, 1000000, 2, 0};
	int32_t now_omit[4] = {0, 0x3fffffff, 0, 0x3ffffffe};
	/* The upper half of the nanoseconds is not looked at. */
	int64_t nano64[4] = {700, 9 | 0x7700000000, 800, 10};
	int f = S(open, "f", O_RDONLY);
	T(S(utime, "f", buf));
	T(S(utimes, "f", micro));
	T(S(utimes, "f", bad));
	T(S(futimesat, AT_FDCWD, "f", micro));
	T(S(utimensat, AT_FDCWD, "f", nano, 0));
	T(S(utimensat, AT_FDCWD, "f", now_omit, 0));
	T(S(utimensat_time64, AT_FDCWD, "f", nano64, 0));
	T(S(utimensat_time64, f, NULL, nano64, 0));
	T(S(utimensat, f, NULL, nano, 0));
	/* 16-bit ids: 65535 leaves them as they are, whatever is above. */
	T(S(chown, "f", 0xffff, 0x5ffff));
	T(S(chown, "f", syscall(SYS_getuid32), 0xffff));
	T(S(lchown, "s", 0xffff, 0xffff));
	T(S(fchown, f, 0xffff, 0xffff));
	if (!syscall(SYS_geteuid32)) {
		T(S(chown, "f", 0x10000 | 1000, 1001));
		T(S(chown32, "f", 100000, 100001));
		T(S(fchown32, f, 70000, -1));
		T(S(lchown32, "f", 0, 0));
	}
	T(S(truncate, "f", 5));
	T(S(truncate, "f", -1));
	T(S(truncate, "f", 0x80000000));
	T(S(truncate64, "f", 7, 0));
	T(S(truncate64, "f", 3, 1));
	/* Too large for who did not say O_LARGEFILE. */
	R(S(open, "f", O_WRONLY));
	R(S(open, "f", O_WRONLY | O_LARGEFILE));
	R(S(openat, AT_FDCWD, "f", O_RDWR));
	T(S(truncate64, "f", 0, 0x80000000));
	T(S(ftruncate64, f, 0, 0));
	T(S(truncate64, "f", 0, 0));
	/* The multiplexer: whatever has an address is to go by the direct calls. */
	unsigned long pair[2];
	unsigned long args[6] = {AF_UNIX, SOCK_STREAM, 0, (unsigned long)pair};
	R(S(socketcall, SYS_SOCKETPAIR, args) & 0);
	return 0;
}
