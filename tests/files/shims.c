/* Systems that lack something, for LD_PRELOAD; LACKS names what, several with commas between. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int lacks(const char *what) {
    const char *all = getenv("LACKS");
    return all && strstr(all, what) != NULL;
}

/* A file system that is mounted without locks. */
int flock(int fd, int operation) {
    (void)fd, (void)operation;
    if (!lacks("flock")) return syscall(SYS_flock, fd, operation);
    errno = ENOSYS;
    return -1;
}

/* A file system that has no fsync for folders, or none at all. */
int fsync(int fd) {
    struct stat about;
    int folder = !fstat(fd, &about) && S_ISDIR(about.st_mode);
    if (!lacks("fsync") && !(folder && lacks("dirsync"))) return syscall(SYS_fsync, fd);
    errno = EINVAL;
    return -1;
}

/* No memory for a new process: after the first FORKS of them, for FOR_S seconds (or ever). */
static int refuses(void) {
    static int made;
    static time_t first;
    const char *forks = getenv("FORKS"), *seconds = getenv("FOR_S");
    if (!lacks("memory") || made++ < (forks ? atoi(forks) : 0)) return 0;
    if (!first) first = time(NULL);
    if (seconds && time(NULL) - first >= atoi(seconds)) return 0;
    errno = ENOMEM;
    return 1;
}

pid_t fork(void) {
    if (refuses()) return -1;
    pid_t (*real)(void) = dlsym(RTLD_NEXT, "fork");
    return real();
}

pid_t vfork(void) { return fork(); }

/* No thread beside the first one. */
int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *with) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        dlsym(RTLD_NEXT, "pthread_create");
    return lacks("threads") ? EAGAIN : real(thread, how, run, with);
}
