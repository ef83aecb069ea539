/* Preloaded into a process, it writes down what that does to the files of a folder, in order:
 * what is named (c: created, r: renamed, u: unlinked), what is written (w, t: truncated), and what
 * is synced (s: a file, d: the folder). RECORD_FOLDER is the folder, RECORD_LOG the record. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *folder;
static int out = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    folder = getenv("RECORD_FOLDER");
    const char *log = getenv("RECORD_LOG");
    if (folder && log) out = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int inside(const char *path) {
    return out >= 0 && path && strncmp(path, folder, strlen(folder)) == 0;
}

/* The path of an open file of the folder, or 0. */
static int named(int fd, char *path, size_t size) {
    char link[64] = "/proc/self/fd/";
    char digits[16]; int n = 0;
    if (out < 0 || fd < 0) return 0;
    do digits[n++] = '0' + fd % 10; while ((fd /= 10) > 0);
    char *end = link + strlen(link);
    while (n > 0) *end++ = digits[--n];
    *end = 0;
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path);
}

static uint64_t number(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

static void record(char kind, uint64_t file, uint64_t offset, const char *name, const void *data, uint64_t size) {
    struct { uint64_t kind, file, offset, name, size; } head = {kind, file, offset, name ? strlen(name) : 0, size};
    pthread_mutex_lock(&lock);
    syscall(SYS_write, out, &head, sizeof head);
    if (head.name) syscall(SYS_write, out, name, head.name);
    if (size) syscall(SYS_write, out, data, size);
    pthread_mutex_unlock(&lock);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int opened(int fd, const char *path, int flags, int existed) {
    char full[4096];
    if (fd < 0 || !named(fd, full, sizeof full)) return fd;
    if ((flags & O_CREAT) && !existed) record('c', number(fd), 0, full, 0, 0);
    else if (flags & O_TRUNC) record('t', number(fd), 0, 0, 0, 0);
    return fd;
}

static int exists(int at, const char *path) {
    struct stat found;
    return syscall(SYS_newfstatat, at, path, &found, 0) == 0;
}

#define OPEN(name)                                                          \
    int name(const char *path, int flags, ...) {                            \
        va_list rest; va_start(rest, flags);                                \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                       \
        int before = exists(AT_FDCWD, path);                                \
        return opened(REAL(name)(path, flags, mode), path, flags, before);  \
    }
#define OPENAT(name)                                                        \
    int name(int at, const char *path, int flags, ...) {                    \
        va_list rest; va_start(rest, flags);                                \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                       \
        int before = exists(at, path);                                      \
        return opened(REAL(name)(at, path, flags, mode), path, flags, before); \
    }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

#define PWRITE(name, type)                                                  \
    ssize_t name(int fd, const void *data, size_t size, type offset) {      \
        char full[4096];                                                    \
        ssize_t done = REAL(name)(fd, data, size, offset);                  \
        if (done > 0 && named(fd, full, sizeof full)) record('w', number(fd), offset, 0, data, done); \
        return done;                                                        \
    }
PWRITE(pwrite, off_t) PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t size) {
    char full[4096];
    int ours = named(fd, full, sizeof full);
    off_t offset = 0;
    if (ours) {
        struct stat found;
        int append = fcntl(fd, F_GETFL) & O_APPEND;
        offset = append && fstat(fd, &found) == 0 ? found.st_size : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t done = REAL(write)(fd, data, size);
    if (ours && done > 0) record('w', number(fd), offset, 0, data, done);
    return done;
}

#define TRUNCATE(name, type)                                                \
    int name(int fd, type size) {                                           \
        char full[4096];                                                    \
        int failed = REAL(name)(fd, size);                                  \
        if (!failed && named(fd, full, sizeof full)) record('t', number(fd), size, 0, 0, 0); \
        return failed;                                                      \
    }
TRUNCATE(ftruncate, off_t) TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                          \
    int name(int fd) {                                                      \
        char full[4096];                                                    \
        struct stat found;                                                  \
        int failed = REAL(name)(fd);                                        \
        if (!failed && named(fd, full, sizeof full) && fstat(fd, &found) == 0) \
            record(S_ISDIR(found.st_mode) ? 'd' : 's', found.st_ino, 0, 0, 0, 0); \
        return failed;                                                      \
    }
SYNC(fsync) SYNC(fdatasync)

int rename(const char *from, const char *to) {
    int failed = REAL(rename)(from, to);
    if (!failed && inside(from)) record('r', 0, 0, from, to, strlen(to));
    return failed;
}

int unlink(const char *path) {
    int failed = REAL(unlink)(path);
    if (!failed && inside(path)) record('u', 0, 0, path, 0, 0);
    return failed;
}
