/* Faults of the system below a server, loaded before the C library (LD_PRELOAD). Each is there as long as a file of its
 * name is in the folder that FAULTS names.
 *
 *   hung-reads   reading a file whose name ends in `.cedar` does not return
 *   no-watches   inotify has no watch to give (ENOSPC)
 *   no-inotify   inotify has no instance to give (EMFILE)
 *   no-sync      syncing a file fails (EIO)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int is_there(const char *fault) {
    const char *folder = getenv("FAULTS");
    char path[PATH_MAX];
    if (folder == NULL) return 0;
    int before = errno;
    snprintf(path, sizeof path, "%s/%s", folder, fault);
    int found = access(path, F_OK) == 0;
    errno = before;
    return found;
}

static int ends_with(int file, const char *end) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t wanted = strlen(end);
    return length >= (ssize_t)wanted && memcmp(path + length - wanted, end, wanted) == 0;
}

static void hang(int file) {
    struct timespec moment = {0, 20 * 1000 * 1000};
    while (is_there("hung-reads") && ends_with(file, ".cedar")) nanosleep(&moment, NULL);
}

ssize_t read(int file, void *into, size_t count) {
    static ssize_t (*real)(int, void *, size_t);
    if (real == NULL) real = dlsym(RTLD_NEXT, "read");
    hang(file);
    return real(file, into, count);
}

int inotify_init1(int flags) {
    static int (*real)(int);
    if (real == NULL) real = dlsym(RTLD_NEXT, "inotify_init1");
    if (is_there("no-inotify")) {
        errno = EMFILE;
        return -1;
    }
    return real(flags);
}

int inotify_add_watch(int file, const char *path, uint32_t mask) {
    static int (*real)(int, const char *, uint32_t);
    if (real == NULL) real = dlsym(RTLD_NEXT, "inotify_add_watch");
    if (is_there("no-watches")) {
        errno = ENOSPC;
        return -1;
    }
    return real(file, path, mask);
}

int fsync(int file) {
    static int (*real)(int);
    if (real == NULL) real = dlsym(RTLD_NEXT, "fsync");
    if (is_there("no-sync")) {
        errno = EIO;
        return -1;
    }
    return real(file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (real == NULL) real = dlsym(RTLD_NEXT, "fdatasync");
    if (is_there("no-sync")) {
        errno = EIO;
        return -1;
    }
    return real(file);
}
