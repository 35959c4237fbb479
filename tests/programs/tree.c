/* tree [-t] DIR: prints all that the calls of call.c can change below DIR; -t: and the times.
 * tree --make DIR: makes what they work on. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int times;

static void show(int dir, const char *name, int depth)
{
	struct stat st;
	char buf[4096];
	fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW);
	printf("%*s%s %o %u:%u links %lu size %lld", depth * 2, "", name, st.st_mode, st.st_uid, st.st_gid,
		(unsigned long)st.st_nlink, S_ISDIR(st.st_mode) ? 0LL : (long long)st.st_size);
	if (times)
		printf(" times %lld.%09ld %lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			(long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	else
		printf(" times %lld", st.st_mtim.tv_sec < 1000000000 ? (long long)st.st_mtim.tv_sec : -1);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dir, name, buf, sizeof buf - 1);
		printf(" -> %.*s", (int)n, buf);
	}
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		int fd = openat(dir, name, O_RDONLY | O_NOATIME);
		if (fd < 0)
			fd = openat(dir, name, O_RDONLY);
		int flags = 0;
		ioctl(fd, FS_IOC_GETFLAGS, &flags);
		printf(" flags %x", flags & (FS_NODUMP_FL | FS_NOATIME_FL | FS_APPEND_FL | FS_IMMUTABLE_FL));
		ssize_t n = flistxattr(fd, buf, sizeof buf);
		for (char *p = buf; n > 0 && p < buf + n; p += strlen(p) + 1) {
			char value[256];
			ssize_t m = fgetxattr(fd, p, value, sizeof value);
			printf(" %s=%.*s", p, (int)(m < 0 ? 0 : m), value);
		}
		if (S_ISREG(st.st_mode)) {
			n = read(fd, buf, sizeof buf);
			printf(" \"%.*s\"", (int)n, buf);
		}
		putchar('\n');
		if (S_ISDIR(st.st_mode)) {
			struct dirent **list;
			int count = scandirat(fd, ".", &list, NULL, alphasort);
			for (int i = 0; i < count; i++)
				if (strcmp(list[i]->d_name, ".") && strcmp(list[i]->d_name, ".."))
					show(fd, list[i]->d_name, depth + 1);
		}
		close(fd);
	} else
		putchar('\n');
}

static void file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
	write(fd, text, strlen(text));
	fchmod(fd, 0644);
	fsetxattr(fd, "user.there", "value", 5, 0);
	close(fd);
}

int main(int argc, char **argv)
{
	if (!strcmp(argv[1], "--make")) {
		if (mkdir(argv[2], 0755) || chdir(argv[2]))
			return 1;
		umask(0);
		file("f", "content\n");
		file("g", "other\n");
		mkdir("d", 0755);
		mkdir("e", 0755);
		file("e/x", "x\n");
		symlink("f", "s");
		symlink("nowhere", "dangling");
		mkfifo("p", 0644);
		return 0;
	}
	times = !strcmp(argv[1], "-t");
	if (chdir(argv[1 + times]))
		return 1;
	show(AT_FDCWD, ".", 0);
	return 0;
}
