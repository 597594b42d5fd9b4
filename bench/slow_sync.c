/* A slow disk: every wait for it takes 5 ms longer. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

#define DELAY_MICROSECONDS 5000

int fsync(int file) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    usleep(DELAY_MICROSECONDS);
    return next(file);
}

int fdatasync(int file) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    usleep(DELAY_MICROSECONDS);
    return next(file);
}
