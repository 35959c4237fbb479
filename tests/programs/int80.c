/* int80 DIR: calls of a 64-bit program through the other entries of the kernel, in DIR: those of 32-bit x86 and those of x32. */
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
#include <unistd.h>

static long int80(long number, long a, long b, long c, long d)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static char *low;

/* A text where 32 bits reach. */
static long text(const char *dir, const char *name)
{
	char *at = low;
	low += sprintf(low, "%s/%s", dir, name) + 1;
	return (long)at;
}

static void show(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(-result) : "done");
}

int main(int argc, char **argv)
{
	char *dir = argv[1];
	low = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	show("getpid", int80(20, 0, 0, 0, 0));
	/* 39 is getpid for who looks at the number alone. */
	show("mkdir", int80(39, text(dir, "new"), 0755, 0, 0));
	show("rmdir", int80(40, text(dir, "d"), 0, 0, 0));
	show("open", int80(5, text(dir, "f"), O_WRONLY | O_TRUNC, 0, 0));
	show("creat", int80(8, text(dir, "created"), 0644, 0, 0));
	show("unlink", int80(10, text(dir, "g"), 0, 0, 0));
	show("chmod", int80(15, text(dir, "f"), 0600, 0, 0));
	show("rename", int80(38, text(dir, "s"), text(dir, "t"), 0, 0));
	show("symlink", int80(83, text(".", "x"), text(dir, "y"), 0, 0));
	show("truncate64", int80(193, text(dir, "f"), 2, 0, 0));
	show("openat", int80(295, AT_FDCWD, text(dir, "n"), O_WRONLY | O_CREAT, 0644));
	/* Pointers are cut to 32 bits; this one would be NULL. */
	show("mkdir of NULL", int80(39, 1L << 32, 0755, 0, 0));
	/* x32, by its bit and by its own numbers. */
	show("x32 mkdir", syscall(0x40000000 | SYS_mkdir, text(dir, "x32"), 0755) ? -errno : 0);
	show("x32 getpid", syscall(0x40000000 | SYS_getpid) < 0 ? -errno : 0);
	for (int number = 512; number < 548; number += 5)
		if (syscall(number, text(dir, "f"), text(dir, "f"), 0, 0, 0) >= 0 || errno != ENOSYS)
			printf("%d: %s\n", number, strerrorname_np(errno));
	return 0;
}
