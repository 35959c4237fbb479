/* errors DIR: calls that fail, each with the name of its error. Nothing is changed by any of them, whoever calls.
 *
 * DIR is a tree of tree.c with, beside it: DIR/ro, a directory that only root can write in, with f and d in it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static void show(const char *what, long result)
{
	int error = errno;
	printf("%s: ", what);
	if (result < 0)
		puts(strerrorname_np(error));
	else
		printf("%ld\n", result);
}

#define R(call) (errno = 0, show(#call, (call)))
#define S(name, ...) syscall(SYS_##name, __VA_ARGS__)

static long openat2_(int at, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve, size_t size)
{
	char buf[8192] = {0};
	struct open_how how = {flags, mode, resolve};
	memcpy(buf, &how, sizeof how);
	return S(openat2, at, path, buf, size);
}

static char long_name[300], long_path[5000];

int main(int argc, char **argv)
{
	if (chdir(argv[1]))
		return 1;
	memset(long_name, 'n', 256);
	memset(long_path, '/', 4097);
	struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}}, bad_time[2] = {{0, 2000000000}, {0, 0}};
	struct timespec good[2] = {{1, 1}, {1, 1}};
	struct timeval bad_micro[2] = {{0, 2000000}, {0, 0}};
	int at = open(".", O_RDONLY), file = open("f", O_RDONLY), pinned = open("f", O_PATH), pipes[2];
	pipe(pipes);
	char *bad = (char *)16, *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* mkdir */
	R(S(mkdir, "f", 0755));
	R(S(mkdir, "d", 0755));
	R(S(mkdir, "d/", 0755));
	R(S(mkdir, "s", 0755));
	R(S(mkdir, "dangling", 0755));
	R(S(mkdir, "dangling/", 0755));
	R(S(mkdir, "d/.", 0755));
	R(S(mkdir, "d/..", 0755));
	R(S(mkdir, "/", 0755));
	R(S(mkdir, ".", 0755));
	R(S(mkdir, "..", 0755));
	R(S(mkdir, "", 0755));
	R(S(mkdir, "missing/x", 0755));
	R(S(mkdir, "f/x", 0755));
	R(S(mkdir, "missing/../x", 0755));
	R(S(mkdir, "f/../x", 0755));
	R(S(mkdir, long_name, 0755));
	R(S(mkdir, long_path, 0755));
	R(S(mkdir, bad, 0755));
	R(S(mkdir, none, 0755));
	R(S(mkdir, NULL, 0755));
	R(S(mkdir, "ro/d", 0755));
	R(S(mkdir, "ro/f", 0755));
	R(S(mkdirat, -1, "", 0755));
	R(S(mkdirat, -1, "x", 0755));
	R(S(mkdirat, 999, "x", 0755));
	R(S(mkdirat, -1, argv[1], 0755));
	R(S(mkdirat, file, "x", 0755));
	R(S(mkdirat, pipes[0], "x", 0755));
	R(S(mkdirat, at, "f", 0755));
#ifdef __LP64__
	R(S(mkdirat, 0x500000000 | (unsigned)at, "f", 0755));
	R(S(mkdirat, 0x7f00000000 | (unsigned)AT_FDCWD, "f", 0755));
#endif
	/* symlink, link, mknod */
	R(S(symlink, "t", "f"));
	R(S(symlink, "t", "d"));
	R(S(symlink, "t", "dangling"));
	R(S(symlink, "t", "new/"));
	R(S(symlink, "t", "f/"));
	R(S(symlink, "", "new"));
	R(S(symlink, bad, "new"));
	R(S(symlink, "t", bad));
	R(S(symlink, "t", ""));
	R(S(symlink, "t", "ro/f"));
	R(S(symlink, long_path, "new"));
	R(S(symlinkat, "t", -1, "new"));
	R(S(link, "f", "g"));
	R(S(link, "f", "dangling"));
	R(S(link, "f", "new/"));
	R(S(link, "missing", "new"));
	R(S(link, "missing", "g"));
	R(S(link, "d", "new"));
	R(S(link, "d", "g"));
	R(S(link, "f", "missing/new"));
	R(S(link, "f/", "new"));
	R(S(link, "", "new"));
	R(S(linkat, -100, "f", -100, "new", 0x10000));
	R(S(linkat, -1, "f", -100, "new", 0));
	R(S(linkat, -1, "", -100, "new", AT_EMPTY_PATH));
	R(S(mknod, "f", S_IFIFO | 0600, 0));
	R(S(mknod, "f", S_IFDIR | 0600, 0));
	R(S(mknod, "new", S_IFDIR | 0600, 0));
	R(S(mknod, "new", S_IFLNK | 0600, 0));
	if (geteuid())
		R(S(mknod, "new", S_IFBLK | 0600, 0x801));
	R(S(mknod, "new/", S_IFIFO | 0600, 0));
	R(S(mknod, "dangling", S_IFIFO | 0600, 0));
	/* open */
	R(S(open, "f", O_CREAT | O_EXCL | O_WRONLY, 0600));
	R(S(open, "dangling", O_CREAT | O_EXCL | O_WRONLY, 0600));
	R(S(open, "d", O_CREAT | O_EXCL | O_WRONLY, 0600));
	R(S(open, "ro/f", O_CREAT | O_EXCL | O_WRONLY, 0600));
	R(S(open, "missing", O_WRONLY));
	R(S(open, "missing/f", O_WRONLY | O_CREAT, 0600));
	R(S(open, "f/x", O_WRONLY | O_CREAT, 0600));
	R(S(open, "d", O_WRONLY));
	R(S(open, "d", O_RDWR | O_CREAT, 0600));
	R(S(open, "d", O_RDONLY | O_TRUNC));
	R(S(open, "d", O_RDONLY | O_CREAT, 0600));
	R(S(open, ".", O_WRONLY));
	R(S(open, ".", O_RDONLY | O_CREAT, 0600));
	R(S(open, "/", O_WRONLY | O_CREAT, 0600));
	R(S(open, "..", O_WRONLY));
	R(S(open, "new/", O_WRONLY | O_CREAT, 0600));
	R(S(open, "f/", O_WRONLY));
	R(S(open, "f/", O_WRONLY | O_CREAT, 0600));
	R(S(open, "f", O_WRONLY | O_DIRECTORY));
	R(S(open, "s", O_WRONLY | O_DIRECTORY));
	R(S(open, "new", O_CREAT | O_DIRECTORY | O_WRONLY, 0600));
	R(S(open, "f", O_CREAT | O_DIRECTORY | O_WRONLY, 0600));
	R(S(open, "s", O_WRONLY | O_NOFOLLOW));
	R(S(open, "s", O_WRONLY | O_NOFOLLOW | O_CREAT, 0600));
	R(S(open, "dangling", O_WRONLY | O_NOFOLLOW | O_CREAT, 0600));
	R(S(open, "s", O_WRONLY | O_NOFOLLOW | O_DIRECTORY));
	R(S(open, "s/", O_WRONLY));
	R(S(open, "dangling", O_WRONLY));
	R(S(open, "dangling/", O_WRONLY | O_CREAT, 0600));
	R(S(open, "f", O_TMPFILE | O_WRONLY, 0600));
	R(S(open, "d", O_TMPFILE | O_RDONLY, 0600));
	R(S(open, "d", O_TMPFILE & ~O_DIRECTORY | O_WRONLY, 0600));
	R(S(open, "missing", O_TMPFILE | O_WRONLY, 0600));
	R(S(open, "d", O_TMPFILE | O_CREAT | O_WRONLY, 0600));
	R(S(open, "p", O_WRONLY | O_NONBLOCK));
	R(S(open, "", O_WRONLY | O_CREAT, 0600));
	R(S(open, bad, O_WRONLY | O_CREAT, 0600));
	R(S(open, none, O_WRONLY | O_CREAT, 0600));
	R(S(open, long_name, O_WRONLY | O_CREAT, 0600));
	R(S(open, long_path, O_WRONLY | O_CREAT, 0600));
	R(S(openat, -1, "rel", O_WRONLY));
	R(S(openat, -1, "", O_WRONLY));
	R(S(openat, file, "rel", O_WRONLY | O_CREAT, 0600));
	R(S(openat, pinned, "rel", O_WRONLY | O_CREAT, 0600));
	R(S(openat, -1, "/nonexistent", O_WRONLY));
	R(S(creat, "d", 0600));
	R(S(creat, "missing/x", 0600));
	R(S(creat, "new/", 0600));
	R(openat2_(at, "f", O_WRONLY, 0, 0, 8));
	R(openat2_(at, "f", O_WRONLY, 0, 0, 5000));
	R(openat2_(at, "f", O_WRONLY, 0600, 0, 24));
	R(openat2_(at, "f", O_WRONLY | 1ULL << 40, 0, 0, 24));
	R(openat2_(at, "f", O_WRONLY, 0, 1 << 20, 24));
	R(openat2_(at, "f", O_WRONLY | O_CREAT, 0100644, 0, 24));
	R(openat2_(at, "f", O_WRONLY | O_PATH, 0, 0, 24));
	R(openat2_(at, "s", O_WRONLY, 0, RESOLVE_NO_SYMLINKS, 24));
	R(openat2_(at, "../x", O_WRONLY | O_CREAT, 0600, RESOLVE_BENEATH, 24));
	R(openat2_(at, "/etc/passwd", O_WRONLY, 0, RESOLVE_BENEATH, 24));
	R(openat2_(at, "/nonexistent/x", O_WRONLY | O_CREAT, 0600, RESOLVE_IN_ROOT, 24));
	R(openat2_(at, "f", O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT, 24));
	R(openat2_(-1, "f", O_WRONLY, 0, RESOLVE_BENEATH, 24));
	R(openat2_(file, "f", O_WRONLY, 0, 0, 24));
	R(S(openat2, at, "f", bad, 24));
	/* unlink, rmdir */
	R(S(unlink, "missing"));
	R(S(unlink, "d"));
	R(S(unlink, "d/"));
	R(S(unlink, "f/"));
	R(S(unlink, "missing/"));
	R(S(unlink, "/"));
	R(S(unlink, "."));
	R(S(unlink, ".."));
	R(S(unlink, ""));
	R(S(unlink, "f/x"));
	R(S(unlink, "ro/missing"));
	R(S(unlinkat, at, "f", 1));
	R(S(unlinkat, -1, "f", 0));
	R(S(unlinkat, at, "d", 0));
	R(S(unlinkat, at, "f", AT_REMOVEDIR));
	R(S(rmdir, "missing"));
	R(S(rmdir, "f"));
	R(S(rmdir, "s"));
	R(S(rmdir, "f/"));
	R(S(rmdir, "e"));
	R(S(rmdir, "e/"));
	R(S(rmdir, "/"));
	R(S(rmdir, "."));
	R(S(rmdir, "d/."));
	R(S(rmdir, ".."));
	R(S(rmdir, "d/.."));
	/* rename */
	R(S(rename, "missing", "new"));
	R(S(rename, "missing", "f"));
	R(S(rename, "d", "f"));
	R(S(rename, "f", "d"));
	R(S(rename, "d", "e"));
	R(S(rename, "e", "e/y"));
	R(S(rename, "e", "e/x/y"));
	R(S(rename, "e/x", "e"));
	R(S(rename, ".", "new"));
	R(S(rename, "f", "."));
	R(S(rename, "f", ".."));
	R(S(rename, "/", "new"));
	R(S(rename, "f", "new/"));
	R(S(rename, "f/", "new"));
	R(S(rename, "f", "missing/new"));
	R(S(rename, "f", "/proc/new"));
	R(S(rename, "", "new"));
	R(S(rename, "f", ""));
	R(S(rename, bad, "new"));
	R(S(rename, "f", bad));
	R(S(renameat2, at, "f", at, "g", RENAME_NOREPLACE));
	R(S(renameat2, at, "f", at, "f", RENAME_NOREPLACE));
	R(S(renameat2, at, "f", at, "new", RENAME_EXCHANGE));
	R(S(renameat2, at, "f", at, "g", RENAME_EXCHANGE | RENAME_NOREPLACE));
	R(S(renameat2, at, "f", at, "g", 8));
	R(S(renameat2, at, "e", at, "e/x", RENAME_EXCHANGE));
	R(S(renameat2, -1, "f", at, "new", 0));
	R(S(renameat2, at, "f", -1, "new", 0));
	R(S(renameat, file, "f", at, "new"));
	/* attributes */
	R(S(chmod, "missing", 0600));
	R(S(chmod, "f/x", 0600));
	R(S(chmod, "dangling", 0600));
	R(S(chmod, "", 0600));
	R(S(chmod, bad, 0600));
	R(S(fchmod, -1, 0600));
	R(S(fchmod, AT_FDCWD, 0600));
	R(S(fchmod, pinned, 0600));
	R(S(fchmodat, -1, "f", 0600));
	R(S(fchmodat2, at, "s", 0600, AT_SYMLINK_NOFOLLOW));
	R(S(fchmodat2, at, "f", 0600, 1));
	R(S(fchmodat2, -1, "", 0600, AT_EMPTY_PATH));
	R(S(fchmodat2, at, NULL, 0600, AT_EMPTY_PATH));
	R(S(chown, "missing", -1, -1));
	R(S(fchown, pinned, -1, -1));
	R(S(fchown, -1, -1, -1));
	R(S(fchownat, at, "", -1, -1, 0));
	R(S(fchownat, at, "f", -1, -1, 1));
	R(S(lchown, "f/", -1, -1));
	R(S(utime, "missing", NULL));
	R(S(utime, "f", bad));
	R(S(utimes, "missing", NULL));
	R(S(utimes, "f", bad_micro));
	R(S(utimensat, at, "missing", omit, 0));
	R(S(utimensat, at, bad, omit, 0));
	R(S(utimensat, at, "missing", NULL, 0));
	R(S(utimensat, at, "f", bad_time, 0));
	R(S(utimensat, at, "missing", bad_time, 0));
	R(S(utimensat, at, "f", bad, 0));
	R(S(utimensat, AT_FDCWD, NULL, good, 0));
	R(S(utimensat, at, NULL, good, AT_SYMLINK_NOFOLLOW));
	R(S(utimensat, -1, NULL, good, 0));
	R(S(utimensat, pinned, NULL, good, 0));
	R(S(utimensat, at, "f", good, 1));
	R(S(truncate, "missing", 0L));
	R(S(truncate, "d", 0L));
	R(S(truncate, "p", 0L));
	R(S(truncate, "f", -1L));
	R(S(truncate, "missing", -1L));
	R(S(truncate, "dangling", 0L));
	R(S(truncate, "f/", 0L));
	R(S(truncate, bad, 0L));
	R(S(setxattr, "missing", "user.x", "v", 1, 0));
	R(S(setxattr, "f", "user.there", "v", 1, 1));
	R(S(setxattr, "f", "user.missing", "v", 1, 2));
	R(S(setxattr, "f", "user.x", "v", 1, 4));
	R(S(setxattr, "f", "user.x", "v", 1, 3));
	R(S(setxattr, "f", "", "v", 1, 0));
	R(S(setxattr, "f", "user.", "v", 1, 0));
	R(S(setxattr, "f", long_name, "v", 1, 0));
	R(S(setxattr, "f", bad, "v", 1, 0));
	R(S(setxattr, "f", "user.x", bad, 1, 0));
	R(S(setxattr, "f", "user.x", "v", 70000, 0));
	R(S(setxattr, "f", "bogus.x", "v", 1, 0));
	R(S(setxattr, bad, "user.x", "v", 1, 0));
	R(S(lsetxattr, "s", "user.x", "v", 1, 0));
	R(S(fsetxattr, pinned, "user.x", "v", 1, 0));
	R(S(fsetxattr, -1, "user.x", "v", 1, 0));
	R(S(removexattr, "missing", "user.x"));
	R(S(removexattr, "f", "user.missing"));
	R(S(removexattr, "f", ""));
	R(S(fremovexattr, -1, "user.x"));
	/* access */
	R(S(access, "missing", W_OK));
	R(S(access, "f/x", W_OK));
	R(S(access, "f", 8));
	R(S(access, "f", 10));
	R(S(access, bad, W_OK));
	R(S(access, "", W_OK));
	R(S(faccessat2, at, "f", W_OK, 1));
	R(S(faccessat2, -1, "f", W_OK, 0));
	/* links */
	for (int i = 0; i <= 41; i++) {
		char name[20];
		snprintf(name, sizeof name, "l%d", i);
		int fd = open(name, O_WRONLY);
		show(name, fd < 0 ? -1 : 0);
		close(fd);
		strcat(name, "/x");
		show(name, S(mkdir, name, 0700));
	}
	R(S(open, "loop", O_WRONLY));
	R(S(open, "loop", O_WRONLY | O_CREAT, 0600));
	R(S(open, "loop/x", O_WRONLY | O_CREAT, 0600));
	R(S(mkdir, "loop", 0600));
	R(S(mkdir, "loop/x", 0600));
	R(S(chmod, "loop", 0600));
	return 0;
}
