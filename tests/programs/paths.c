/* paths SEED DIR READ: makes a random tree in DIR, and looks many random paths in it up by calls that say what they found:
 * each path as it is, and behind links that lead to where it began. READ: by calls that read, too. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT 60

static uint64_t state;
static char *dir;
/* What was made, and where. */
static ino_t inodes[COUNT + 1];
static char made[COUNT + 1][300];
static int count;

static unsigned r(unsigned n)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (state >> 33) % n;
}

static const char *name(void)
{
	static const char *names[] = {"a", "b", "c", "d", "e"};
	return names[r(5)];
}

static void remember(const char *path)
{
	struct stat st;
	if (count < COUNT && !lstat(path, &st)) {
		inodes[count] = st.st_ino;
		strcpy(made[count++], path);
	}
}

static void make(void)
{
	char path[300], text[300];
	mkdir(dir, 0755);
	chdir(dir);
	remember(".");
	while (count < COUNT) {
		int parent = r(count), done;
		struct stat st;
		if (lstat(made[parent], &st) || !S_ISDIR(st.st_mode))
			continue;
		snprintf(path, sizeof path, "%.250s/%s", made[parent], name());
		switch (r(6)) {
		case 0: case 1: done = mkdir(path, 0755); break;
		case 2:
			done = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
			if (done >= 0)
				done = close(done);
			break;
		case 3: done = symlink(name(), path); break;
		case 4:
			snprintf(text, sizeof text, "%s%s/%s", r(2) ? "../" : "", name(), r(3) ? name() : "");
			done = symlink(text, path);
			break;
		default:
			snprintf(text, sizeof text, "%s/%s", dir, r(4) ? name() : "");
			done = symlink(text, path);
		}
		if (!done)
			remember(path);
		else if (r(50) == 0)
			break;
	}
	symlink(".", "here");
	symlink("here", "there");
}

/* Which of what was made the descriptor is; what was not, is removed again. */
static void show(const char *call, const char *path, long fd)
{
	struct stat st;
	int error = errno;
	printf(" %s: ", call);
	if (fd < 0) {
		printf("%s\n", strerrorname_np(error));
		return;
	}
	fstat(fd, &st);
	for (int i = 0; i < count; i++)
		if (inodes[i] == st.st_ino) {
			printf("%s\n", made[i]);
			close(fd);
			return;
		}
	char link[64], at[4096] = "";
	snprintf(link, sizeof link, "/proc/self/fd/%ld", fd);
	readlink(link, at, sizeof at - 1);
	unlink(at);
	close(fd);
	printf("new %s\n", strncmp(at, dir, strlen(dir)) ? "elsewhere" : at + strlen(dir));
}

static void status(const char *call, long result) { printf(" %s: %s\n", call, result ? strerrorname_np(errno) : "0"); }

static void look(const char *path, int reading)
{
	static const int flags[] = {O_WRONLY, O_WRONLY | O_NOFOLLOW, O_WRONLY | O_CREAT, O_WRONLY | O_CREAT | O_EXCL,
		O_WRONLY | O_CREAT | O_NOFOLLOW, O_WRONLY | O_DIRECTORY, O_RDWR | O_TMPFILE};
	char call[40];
	for (int i = 0; i < 7; i++) {
		snprintf(call, sizeof call, "open %o", flags[i]);
		long fd = syscall(SYS_openat, AT_FDCWD, path, flags[i], 0644);
		if (i == 6 && fd >= 0) {
			close(fd);
			printf(" %s: made\n", call);
		} else
			show(call, path, fd);
	}
	status("access", access(path, W_OK));
	status("nofollow", syscall(SYS_faccessat2, AT_FDCWD, path, W_OK, AT_SYMLINK_NOFOLLOW));
	status("mkdir", mkdir(path, 0755) || rmdir(path) ? -1 : 0);
	status("symlink", symlink("x", path) || unlink(path) ? -1 : 0);
	status("truncate", truncate(path, 0));
	status("chmod", syscall(SYS_chmod, path, 0755));
	status("lchown", lchown(path, -1, -1));
	status("rename", rename(path, path));
	if (!reading)
		return;
	show("read", path, syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0));
	char text[4096];
	ssize_t n = readlink(path, text, sizeof text - 1);
	text[n < 0 ? 0 : n] = 0;
	printf(" readlink: %s\n", n < 0 ? strerrorname_np(errno) : !strncmp(text, dir, strlen(dir)) ? text + strlen(dir) : text);
	/* Some links lead out of the tree with its name, nothing with another. */
	n = chdir(path);
	status("chdir", n);
	if (!n) {
		struct stat st;
		stat(".", &st);
		for (int i = 0; i < count; i++)
			if (inodes[i] == st.st_ino)
				printf(" is %s\n", made[i]);
		chdir(dir);
	}
}

int main(int argc, char **argv)
{
	state = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15 + 1;
	dir = argv[2];
	umask(0);
	make();
	for (int i = 0; i < 60; i++) {
		char path[300] = "", behind[700];
		int parts = 1 + r(4);
		for (int part = 0; part < parts; part++) {
			if (part)
				strcat(path, r(10) ? "/" : "//");
			strcat(path, r(9) == 0 ? "." : r(9) == 0 ? ".." : name());
		}
		if (r(8) == 0)
			strcat(path, "/");
		/* `..' leads out of the tree only by a name that is in the first place. */
		if (!strncmp(path, "..", 2))
			continue;
		printf("path %s\n", path);
		look(path, atoi(argv[3]));
		const char *prefixes[] = {"here/", "there/./", "/proc/self/cwd/", dir};
		for (int k = 0; k < 4; k++) {
			snprintf(behind, sizeof behind, "%s%s%s", prefixes[k], k == 3 ? "/here/" : "", path);
			printf("behind %d %s\n", k, path);
			look(behind, atoi(argv[3]));
		}
	}
	return 0;
}
