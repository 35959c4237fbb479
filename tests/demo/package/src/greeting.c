#include "greet.h"

const char *greeting(int hour)
{
    if (hour < 12)
        return "good morning";
    return hour < 18 ? "hello" : "good evening";
}
