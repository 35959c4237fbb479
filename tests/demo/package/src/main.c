#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "greet.h"

int main(int argc, char **argv)
{
    char line[256];
    if (argc != 3) {
        fprintf(stderr, "usage: %s HOUR NAME\n", argv[0]);
        return 2;
    }
    greet(line, sizeof line, atoi(argv[1]), argv[2]);
    puts(line);
    return 0;
}
