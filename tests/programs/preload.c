// A library that makes a file as soon as it is loaded: what PLANT says.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void plant(void)
{
	const char *name = getenv("PLANT");
	if (name)
		close(open(name, O_WRONLY | O_CREAT, 0644));
}
