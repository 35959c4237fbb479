/* magic CALL PATH: makes one call with a path and prints what it returned, and what a stat buffer says.
 * magic buffer ...: answers into buffers that cannot take them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct guarded {
	unsigned char before[64];
	union {
		struct stat st;
		struct statx stx;
	};
	unsigned char after[64];
};

static struct guarded g;

static void canaries(size_t size)
{
	for (int i = 0; i < 64; i++)
		if (g.before[i] != 0xa5 || g.after[i] != 0xa5)
			puts("canary");
	const unsigned char *bytes = (const void *)&g.st;
	for (size_t i = size; i < sizeof g.stx; i++)
		if (bytes[i] != 0xa5) {
			puts("too much");
			break;
		}
}

static void result(long value)
{
	if (value < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		puts("0");
}

static void show_stat(void)
{
	printf("mode %o rdev %u:%u size %lld\n", g.st.st_mode, major(g.st.st_rdev), minor(g.st.st_rdev),
		(long long)g.st.st_size);
}

static void show_statx(void)
{
	printf("mode %o rdev %u:%u size %lld\n", g.stx.stx_mode, g.stx.stx_rdev_major, g.stx.stx_rdev_minor,
		(long long)g.stx.stx_size);
}

int main(int argc, char **argv)
{
	const char *call = argv[1], *path = argv[2];
	memset(&g, 0xa5, sizeof g);
	long value = -1;
	errno = ENOSYS;
	if (!strcmp(call, "stat")) {
		value = syscall(SYS_stat, path, &g.st);
		result(value);
		if (!value)
			show_stat();
		canaries(value ? 0 : sizeof(struct stat));
	} else if (!strcmp(call, "newfstatat")) {
		value = syscall(SYS_newfstatat, AT_FDCWD, path, &g.st, argc > 3 ? atoi(argv[3]) : 0);
		result(value);
		if (!value)
			show_stat();
		canaries(value ? 0 : sizeof(struct stat));
	} else if (!strcmp(call, "statx")) {
		value = syscall(SYS_statx, AT_FDCWD, path, argc > 3 ? atoi(argv[3]) : 0, STATX_BASIC_STATS, &g.stx);
		result(value);
		if (!value)
			show_statx();
		canaries(value ? 0 : sizeof(struct statx));
	} else if (!strcmp(call, "high bits")) {
		/* The kernel looks at the low half of these. */
		value = syscall(SYS_newfstatat, 0x7f00000000 | (unsigned)AT_FDCWD, path, &g.st, 0x100000000);
		result(value);
		if (!value)
			show_stat();
	} else if (!strcmp(call, "lstat")) {
		result(syscall(SYS_lstat, path, &g.st));
	} else if (!strcmp(call, "newfstatat-nofollow")) {
		result(syscall(SYS_newfstatat, AT_FDCWD, path, &g.st, AT_SYMLINK_NOFOLLOW));
	} else if (!strcmp(call, "statx-nofollow")) {
		result(syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &g.stx));
	} else if (!strcmp(call, "newfstatat-dirfd")) {
		result(syscall(SYS_newfstatat, open("/", O_RDONLY), path, &g.st, 0));
	} else if (!strcmp(call, "statx-dirfd")) {
		result(syscall(SYS_statx, open("/", O_RDONLY), path, 0, STATX_BASIC_STATS, &g.stx));
	} else if (!strcmp(call, "relative")) {
		result(syscall(SYS_newfstatat, open("/", O_RDONLY), path + 1, &g.st, 0));
	} else if (!strcmp(call, "cwd")) {
		chdir("/dev");
		result(syscall(SYS_stat, path + 5, &g.st));
	} else if (!strcmp(call, "root")) {
		chdir("/");
		result(syscall(SYS_stat, path + 1, &g.st));
	} else if (!strcmp(call, "access")) {
		result(syscall(SYS_access, path, F_OK));
	} else if (!strcmp(call, "access-w")) {
		result(syscall(SYS_access, path, W_OK));
	} else if (!strcmp(call, "faccessat2")) {
		result(syscall(SYS_faccessat2, AT_FDCWD, path, F_OK, 0));
	} else if (!strcmp(call, "open")) {
		result(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY));
	} else if (!strcmp(call, "open-w")) {
		result(syscall(SYS_openat, AT_FDCWD, path, O_WRONLY));
	} else if (!strcmp(call, "open-path")) {
		result(syscall(SYS_openat, AT_FDCWD, path, O_PATH));
	} else if (!strcmp(call, "readlink")) {
		char buf[100];
		result(syscall(SYS_readlink, path, buf, sizeof buf));
	} else if (!strcmp(call, "chdir")) {
		result(syscall(SYS_chdir, path));
	} else if (!strcmp(call, "getxattr")) {
		char buf[100];
		result(syscall(SYS_getxattr, path, "user.x", buf, sizeof buf));
	} else if (!strcmp(call, "truncate")) {
		result(syscall(SYS_truncate, path, 0));
	} else if (!strcmp(call, "read-only buffer")) {
		unsigned char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(page, 0xa5, 8192);
		mprotect(page, 8192, PROT_READ);
		int statx = argc > 3;
		result(statx ? syscall(SYS_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, page) : syscall(SYS_stat, path, page));
		for (int i = 0; i < 8192; i++)
			if (page[i] != 0xa5) {
				puts("written");
				break;
			}
	} else if (!strcmp(call, "bad buffer")) {
		result(syscall(SYS_stat, path, 8L));
		result(syscall(SYS_stat, path, NULL));
		result(syscall(SYS_stat, path, -4096L));
	} else if (!strcmp(call, "half a buffer")) {
		/* The second half of the answer does not fit: the kernel would leave the first. */
		unsigned char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(page + 4096, 4096);
		result(syscall(SYS_stat, path, page + 4096 - 72));
	} else if (!strcmp(call, "page end")) {
		char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(page + 4096, 4096);
		char *at = page + 4096 - strlen(path) - 1;
		strcpy(at, path);
		result(syscall(SYS_stat, at, &g.st));
		/* And one that has no end. */
		memmove(at + 1, at, strlen(path));
		at[0] = '/';
		page[4095] = 'x';
		memcpy(page + 4096 - 24, "/dev/sydbox/xxxxxxxxxxxxx", 24);
		result(syscall(SYS_stat, page + 4096 - 24, &g.st));
	} else if (!strcmp(call, "bad path")) {
		result(syscall(SYS_stat, 8L, &g.st));
		result(syscall(SYS_stat, NULL, &g.st));
	} else if (!strcmp(call, "long")) {
		/* A command whose length is the number. */
		size_t length = strtoul(path, NULL, 10);
		char *text = malloc(length + 1);
		memset(text, 'a', length);
		text[length] = 0;
		memcpy(text, "/dev/sydbox/allowlist/write+/", 29);
		result(syscall(SYS_stat, text, &g.st));
	} else
		return 2;
	/* Afterwards: what did it change? */
	struct stat st;
	puts(syscall(SYS_stat, "/dev/sydbox/core/sandbox/write?", &st) ? "write off" : "write on");
	return 0;
}
