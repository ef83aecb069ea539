/* A quota of QUOTA_BYTES on the files of QUOTA_FOLDER, while the file `quota` is in it.
   Preloaded, since only few kernels have a file system with quotas that a test could mount. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_over(int file, off_t end) {
    char link[64], path[4096];
    const char *folder = getenv("QUOTA_FOLDER");
    struct stat state;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0 || strncmp(path, folder, strlen(folder)) != 0) return 0;
    if (fstat(file, &state) != 0 || end <= state.st_size) return 0;
    off_t used = end - state.st_size;
    int is_set = 0;
    DIR *files = opendir(folder);
    for (struct dirent *each; (each = readdir(files)) != NULL;) {
        is_set |= strcmp(each->d_name, "quota") == 0;
        if (each->d_type == DT_REG && fstatat(dirfd(files), each->d_name, &state, 0) == 0)
            used += state.st_size;
    }
    closedir(files);
    return is_set && used > atoll(getenv("QUOTA_BYTES"));
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int file, const void *data, size_t size, off_t at) {
    if (is_over(file, at + size)) return errno = EDQUOT, -1;
    return REAL(pwrite64)(file, data, size, at);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    return pwrite64(file, data, size, at);
}

ssize_t write(int file, const void *data, size_t size) {
    off_t at = lseek(file, 0, SEEK_CUR);
    if (at >= 0 && is_over(file, at + size)) return errno = EDQUOT, -1;
    return REAL(write)(file, data, size);
}

int posix_fallocate64(int file, off_t at, off_t size) {
    return is_over(file, at + size) ? EDQUOT : REAL(posix_fallocate64)(file, at, size);
}

int posix_fallocate(int file, off_t at, off_t size) { return posix_fallocate64(file, at, size); }
