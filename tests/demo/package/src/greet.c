#include <stdio.h>

#include "config.h"
#include "greet.h"

size_t greet(char *buf, size_t size, int hour, const char *name)
{
    int need = snprintf(buf, size, "%s, %s!", greeting(hour), name);
    return need < 0 ? 0 : (size_t)need;
}
