/* call --list: the names of the calls. call NAME DIR: makes the call on the tree that tree.c made, in DIR, by the raw
 * system call, and prints 0 (or that a descriptor was returned) or the name of the error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#define NR_setxattrat 463
#define NR_removexattrat 466
#define NR_file_setattr 469

static char *dir;

static char *p(const char *name)
{
	char *path;
	asprintf(&path, "%s/%s", dir, name);
	return path;
}

static int dirfd_(void) { return open(dir, O_RDONLY | O_DIRECTORY); }
static int rd(const char *name) { return open(p(name), O_RDONLY); }
static int pin(const char *name) { return open(p(name), O_PATH); }

static long openat2_(int at, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {flags, mode, resolve};
	return syscall(SYS_openat2, at, path, &how, sizeof how);
}

static long op(const char *path, int flags) { return syscall(SYS_open, path, flags, 0640); }

static long proc_fd(int fd, int flags)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return op(path, flags);
}

static struct timeval tv[2] = {{1000, 5}, {2000, 6}};
static struct timespec ts[2] = {{1000, 5}, {2000, 6}};
static struct timespec now_omit[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
static struct utimbuf ut = {1000, 2000};
static struct { uint64_t value; uint32_t size, flags; } xa = {0, 3, 0};
static struct { uint64_t xflags; uint32_t extsize, nextents, projid, cowextsize; } fa = {FS_XFLAG_NODUMP};
static int nodump = FS_NODUMP_FL;

static long setflags(int fd)
{
	int flags = 0;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return -1;
	flags |= nodump;
	return syscall(SYS_ioctl, fd, FS_IOC_SETFLAGS, &flags);
}

static long fssetxattr(int fd)
{
	struct fsxattr x;
	if (ioctl(fd, FS_IOC_FSGETXATTR, &x))
		return -1;
	x.fsx_xflags |= FS_XFLAG_NODUMP;
	return syscall(SYS_ioctl, fd, FS_IOC_FSSETXATTR, &x);
}

#define IDS getuid(), getgid()
#define CALLS \
C("open-wronly", op(p("f"), O_WRONLY)) \
C("open-rdwr", op(p("f"), O_RDWR)) \
C("open-append", op(p("f"), O_WRONLY | O_APPEND)) \
C("open-link", op(p("s"), O_WRONLY)) \
C("open-rdonly-trunc", op(p("f"), O_RDONLY | O_TRUNC)) \
C("open-trunc", op(p("f"), O_WRONLY | O_TRUNC)) \
C("open-creat", op(p("new"), O_WRONLY | O_CREAT)) \
C("open-creat-rdonly", op(p("new"), O_RDONLY | O_CREAT)) \
C("open-creat-existing", op(p("f"), O_WRONLY | O_CREAT)) \
C("open-excl", op(p("new"), O_WRONLY | O_CREAT | O_EXCL)) \
C("open-creat-dangling", op(p("dangling"), O_WRONLY | O_CREAT)) \
C("open-mode-3", op(p("f"), 3)) \
C("open-tmpfile", op(p("d"), O_RDWR | O_TMPFILE)) \
C("open-fifo-rdwr", op(p("p"), O_RDWR)) \
C("open-proc-self-fd", proc_fd(rd("f"), O_WRONLY | O_TRUNC)) \
C("open-proc-self-fd-pinned", proc_fd(pin("f"), O_RDWR)) \
C("openat", syscall(SYS_openat, dirfd_(), "f", O_WRONLY | O_TRUNC, 0)) \
C("openat-creat", syscall(SYS_openat, pin("e"), "new", O_WRONLY | O_CREAT, 0600)) \
C("openat-dotdot", syscall(SYS_openat, pin("e"), "../f", O_WRONLY | O_TRUNC, 0)) \
C("openat2", openat2_(AT_FDCWD, p("f"), O_WRONLY | O_TRUNC, 0, 0)) \
C("openat2-creat", openat2_(dirfd_(), "new", O_WRONLY | O_CREAT, 0644, RESOLVE_NO_SYMLINKS)) \
C("openat2-beneath", openat2_(dirfd_(), "e/x", O_WRONLY | O_TRUNC, 0, RESOLVE_BENEATH)) \
C("openat2-in-root", openat2_(dirfd_(), "/e/../f", O_WRONLY | O_TRUNC, 0, RESOLVE_IN_ROOT)) \
C("creat", syscall(SYS_creat, p("f"), 0644)) \
C("creat-new", syscall(SYS_creat, p("new"), 0644)) \
C("mkdir", syscall(SYS_mkdir, p("new"), 0755)) \
C("mkdir-slash", syscall(SYS_mkdir, p("new/"), 0755)) \
C("mkdirat", syscall(SYS_mkdirat, dirfd_(), "new", 0755)) \
C("mknod-fifo", syscall(SYS_mknod, p("new"), S_IFIFO | 0644, 0)) \
C("mknod-file", syscall(SYS_mknod, p("new"), S_IFREG | 0644, 0)) \
C("mknod-zero", syscall(SYS_mknod, p("new"), 0644, 0)) \
C("mknodat-socket", syscall(SYS_mknodat, dirfd_(), "new", S_IFSOCK | 0644, 0)) \
C("mknodat-whiteout", syscall(SYS_mknodat, dirfd_(), "new", S_IFCHR | 0644, 0)) \
C("rmdir", syscall(SYS_rmdir, p("d"))) \
C("unlink", syscall(SYS_unlink, p("f"))) \
C("unlink-link", syscall(SYS_unlink, p("s"))) \
C("unlinkat", syscall(SYS_unlinkat, dirfd_(), "f", 0)) \
C("unlinkat-dir", syscall(SYS_unlinkat, dirfd_(), "d", AT_REMOVEDIR)) \
C("rename", syscall(SYS_rename, p("f"), p("new"))) \
C("rename-over", syscall(SYS_rename, p("f"), p("g"))) \
C("rename-dir", syscall(SYS_rename, p("e"), p("new"))) \
C("rename-dir-over", syscall(SYS_rename, p("e"), p("d"))) \
C("renameat", syscall(SYS_renameat, dirfd_(), "f", pin("d"), "new")) \
C("renameat2", syscall(SYS_renameat2, dirfd_(), "f", dirfd_(), "g", 0)) \
C("renameat2-noreplace", syscall(SYS_renameat2, AT_FDCWD, p("f"), AT_FDCWD, p("new"), RENAME_NOREPLACE)) \
C("renameat2-exchange", syscall(SYS_renameat2, AT_FDCWD, p("f"), AT_FDCWD, p("e"), RENAME_EXCHANGE)) \
C("renameat2-whiteout", syscall(SYS_renameat2, AT_FDCWD, p("f"), AT_FDCWD, p("new"), RENAME_WHITEOUT)) \
C("link", syscall(SYS_link, p("f"), p("new"))) \
C("linkat", syscall(SYS_linkat, dirfd_(), "s", pin("d"), "new", AT_SYMLINK_FOLLOW)) \
C("linkat-link", syscall(SYS_linkat, dirfd_(), "s", dirfd_(), "new", 0)) \
C("symlink", syscall(SYS_symlink, "anything", p("new"))) \
C("symlinkat", syscall(SYS_symlinkat, "../f", pin("d"), "new")) \
C("truncate", syscall(SYS_truncate, p("f"), 3L)) \
C("truncate-grow", syscall(SYS_truncate, p("f"), 30L)) \
C("chmod", syscall(SYS_chmod, p("f"), 0600)) \
C("chmod-link", syscall(SYS_chmod, p("s"), 0600)) \
C("fchmod", syscall(SYS_fchmod, rd("f"), 0600)) \
C("fchmod-dir", syscall(SYS_fchmod, rd("d"), 0700)) \
C("fchmodat", syscall(SYS_fchmodat, dirfd_(), "f", 0600, 0x7777)) \
C("fchmodat2", syscall(SYS_fchmodat2, dirfd_(), "f", 0600, 0)) \
C("fchmodat2-empty", syscall(SYS_fchmodat2, pin("f"), "", 0600, AT_EMPTY_PATH)) \
C("chown", syscall(SYS_chown, p("f"), IDS)) \
C("lchown", syscall(SYS_lchown, p("s"), IDS)) \
C("fchown", syscall(SYS_fchown, rd("f"), IDS)) \
C("fchownat", syscall(SYS_fchownat, dirfd_(), "f", IDS, 0)) \
C("fchownat-empty", syscall(SYS_fchownat, pin("f"), "", IDS, AT_EMPTY_PATH)) \
C("utime", syscall(SYS_utime, p("f"), &ut)) \
C("utime-now", syscall(SYS_utime, p("f"), NULL)) \
C("utimes", syscall(SYS_utimes, p("f"), tv)) \
C("futimesat", syscall(SYS_futimesat, dirfd_(), "f", tv)) \
C("futimesat-fd", syscall(SYS_futimesat, rd("f"), NULL, tv)) \
C("utimensat", syscall(SYS_utimensat, dirfd_(), "f", ts, 0)) \
C("utimensat-nofollow", syscall(SYS_utimensat, dirfd_(), "s", ts, AT_SYMLINK_NOFOLLOW)) \
C("utimensat-now", syscall(SYS_utimensat, dirfd_(), "f", now_omit, 0)) \
C("utimensat-empty", syscall(SYS_utimensat, pin("f"), "", ts, AT_EMPTY_PATH)) \
C("futimens", syscall(SYS_utimensat, rd("f"), NULL, ts, 0)) \
C("setxattr", syscall(SYS_setxattr, p("f"), "user.new", "abc", 3, 0)) \
C("setxattr-empty", syscall(SYS_setxattr, p("f"), "user.new", NULL, 0, XATTR_CREATE_)) \
C("lsetxattr", syscall(SYS_lsetxattr, p("f"), "user.new", "abc", 3, 0)) \
C("fsetxattr", syscall(SYS_fsetxattr, rd("f"), "user.new", "abc", 3, 0)) \
C("setxattrat", (xa.value = (uintptr_t)"abc", syscall(NR_setxattrat, dirfd_(), "f", 0, "user.new", &xa, sizeof xa))) \
C("removexattr", syscall(SYS_removexattr, p("f"), "user.there")) \
C("lremovexattr", syscall(SYS_lremovexattr, p("f"), "user.there")) \
C("fremovexattr", syscall(SYS_fremovexattr, rd("f"), "user.there")) \
C("removexattrat", syscall(NR_removexattrat, dirfd_(), "f", 0, "user.there")) \
C("file_setattr", syscall(NR_file_setattr, AT_FDCWD, p("f"), &fa, sizeof fa, 0)) \
C("file_setattr-fd", syscall(NR_file_setattr, rd("f"), "", &fa, sizeof fa, AT_EMPTY_PATH)) \
C("FS_IOC_SETFLAGS", setflags(rd("f"))) \
C("FS_IOC_FSSETXATTR", fssetxattr(rd("f"))) \
C("access", syscall(SYS_access, p("f"), W_OK)) \
C("access-dir", syscall(SYS_access, p("d"), W_OK | X_OK)) \
C("faccessat", syscall(SYS_faccessat, dirfd_(), "f", W_OK | R_OK)) \
C("faccessat2", syscall(SYS_faccessat2, dirfd_(), "f", W_OK, AT_EACCESS)) \

#define XATTR_CREATE_ 1

int main(int argc, char **argv)
{
	if (argc == 2) {
#define C(name, call) puts(name);
		CALLS
#undef C
		return 0;
	}
	umask(022);
	dir = argv[2];
	long result = -2;
#define C(name, call) if (!strcmp(argv[1], name)) result = call;
	CALLS
#undef C
	if (result == -2)
		return 2;
	if (result < 0)
		puts(strerrorname_np(errno));
	else if (!result)
		puts("0");
	else
		printf("descriptor %ld flags %o cloexec %d\n", result, fcntl(result, F_GETFL), fcntl(result, F_GETFD));
	return 0;
}
