#ifndef GREET_H
#define GREET_H

#include <stddef.h>

/* The greeting for an hour of the day. */
const char *greeting(int hour);

/* "GREETING, NAME!", written to BUF; the length it needs. */
size_t greet(char *buf, size_t size, int hour, const char *name);

#endif
