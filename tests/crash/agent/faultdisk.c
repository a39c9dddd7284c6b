/* A disk that fails at a chosen system call, and a log of all that was written to it.

   Loaded with LD_PRELOAD. Every call that changes a file below one folder is counted, carried out and logged with its
   data, one at a time and in order, so that a reader of the log knows what a power cut at any point can leave behind.
   At the chosen call it returns an error instead (FAIL), carries it out and returns the error (AFTER), or fails from then
   on for good (STUCK; with EROFS it also refuses to open for writing). Writes to one more descriptor are logged as what the process has told others.

   Told by faultdisk_begin, or by the environment: FAULTDISK_ROOT and FAULTDISK_LOG. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FAIL = 1, AFTER = 2, STUCK = 3 };
enum { MAX_FD = 1024, MAX_NAME = 512 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[MAX_NAME];
static size_t root_size;
static int log_fd = -1, told_fd = -1;
static long count, chosen;
static int mode, error_given;
static char names[MAX_FD][MAX_NAME]; /* below root; empty: not ours */

struct entry {
    char op;
    char failed; /* the call returned an error; 'A': although it was carried out */
    uint16_t name_size, other_size;
    uint32_t number, data_size;
    int64_t offset;
} __attribute__((packed));

static void put(const void *data, size_t size) {
    const char *at = data;
    while (size) {
        long n = syscall(SYS_write, log_fd, at, size);
        if (n < 0) {
            if (errno == EINTR) continue;
            abort();
        }
        at += n;
        size -= (size_t)n;
    }
}

static void note(char op, char failed, long number, const char *name, const char *other, int64_t offset,
                 const void *data, size_t size) {
    struct entry entry = {op, failed, (uint16_t)strlen(name), (uint16_t)strlen(other), (uint32_t)number, (uint32_t)size,
                          offset};
    static char buffer[1 << 16];
    size_t length = sizeof entry + entry.name_size + entry.other_size;
    memcpy(buffer, &entry, sizeof entry);
    memcpy(buffer + sizeof entry, name, entry.name_size);
    memcpy(buffer + sizeof entry + entry.name_size, other, entry.other_size);
    if (length + size <= sizeof buffer) { /* one call: a kill leaves no half entry */
        if (size) memcpy(buffer + length, data, size);
        put(buffer, length + size);
    } else {
        put(buffer, length);
        put(data, size);
    }
}

/* Returns the part of a path below root, NULL when it lies elsewhere; root itself is ".". */
static const char *below(const char *path) {
    if (log_fd < 0 || !path) return NULL;
    if (path[0] != '/') return NULL;
    if (strncmp(path, root, root_size)) return NULL;
    if (!path[root_size]) return ".";
    if (path[root_size] != '/' || strlen(path + root_size + 1) >= MAX_NAME) return NULL;
    const char *name = path + root_size + 1;
    return strncmp(name, "token", 5) ? name : NULL; /* the token's store is the token's affair */
}

static const char *named(int fd) {
    return log_fd >= 0 && fd >= 0 && fd < MAX_FD && names[fd][0] ? names[fd] : NULL;
}

static int stuck(long number) { return mode == STUCK && number >= chosen; }

#define CARRY_OUT(result, op, name, other, offset, data, size, call)                            \
    do {                                                                                        \
        long number_ = ++count;                                                                 \
        int here_ = stuck(number_) ? FAIL : number_ == chosen ? mode : 0;                       \
        if (here_ == FAIL) {                                                                    \
            note(op, 'F', number_, name, other, offset, data, size);                            \
            errno = error_given;                                                                \
            result = -1;                                                                        \
        } else {                                                                                \
            result = (call);                                                                    \
            int kept_ = errno;                                                                  \
            if (result >= 0) {                                                                  \
                note(op, here_ == AFTER ? 'A' : 0, number_, name, other, offset, data, size);   \
                if (here_ == AFTER) result = -1, kept_ = error_given;                           \
            }                                                                                   \
            errno = kept_;                                                                      \
        }                                                                                       \
    } while (0)

void faultdisk_begin(const char *folder, const char *log, int told, long at, int how, int error) {
    pthread_mutex_lock(&lock);
    strncpy(root, folder, sizeof root - 1);
    root_size = strlen(root);
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
    told_fd = told;
    count = 0;
    chosen = at;
    mode = how;
    error_given = error;
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULTDISK_ROOT"), *log = getenv("FAULTDISK_LOG");
    if (folder && log) faultdisk_begin(folder, log, -1, 0, 0, 0);
}

static int opened(const char *path, int flags, mode_t permissions) {
    const char *name = below(path);
    if (!name) return (int)syscall(SYS_openat, AT_FDCWD, path, flags, permissions);
    pthread_mutex_lock(&lock);
    long fd;
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    int makes = flags & O_CREAT && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    if (writes && stuck(count + 1) && error_given == EROFS) {
        errno = EROFS;
        fd = -1;
    } else if (makes || (writes && flags & O_TRUNC))
        CARRY_OUT(fd, 'O', name, "", makes ? 1 : 0, "", 0, syscall(SYS_openat, AT_FDCWD, path, flags, permissions));
    else
        fd = syscall(SYS_openat, AT_FDCWD, path, flags, permissions);
    if (fd >= 0 && fd < MAX_FD) strncpy(names[fd], name, MAX_NAME - 1);
    pthread_mutex_unlock(&lock);
    return (int)fd;
}

#define OPEN(symbol)                                                   \
    int symbol(const char *path, int flags, ...) {                     \
        mode_t permissions = 0;                                        \
        if (flags & (O_CREAT | __O_TMPFILE)) {                         \
            va_list more;                                              \
            va_start(more, flags);                                     \
            permissions = va_arg(more, mode_t);                        \
            va_end(more);                                              \
        }                                                              \
        return opened(path, flags, permissions);                       \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < MAX_FD) names[fd][0] = 0;
    return (int)syscall(SYS_close, fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    const char *name = named(fd);
    long done;
    if (log_fd >= 0 && fd == told_fd && size) { /* logged first: what may have been heard counts as said */
        pthread_mutex_lock(&lock);
        note('A', 0, 0, "", "", 0, data, size);
        done = syscall(SYS_write, fd, data, size);
        pthread_mutex_unlock(&lock);
        return done;
    }
    if (!name) return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&lock);
    struct stat found;
    long flags = syscall(SYS_fcntl, fd, F_GETFL, 0);
    int64_t offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (flags & O_APPEND && !fstat(fd, &found)) offset = found.st_size;
    CARRY_OUT(done, 'W', name, "", offset, data, size, syscall(SYS_write, fd, data, size));
    pthread_mutex_unlock(&lock);
    return done;
}

#define PWRITE(symbol)                                                                                             \
    ssize_t symbol(int fd, const void *data, size_t size, off64_t offset) {                                        \
        const char *name = named(fd);                                                                              \
        if (!name) return syscall(SYS_pwrite64, fd, data, size, offset);                                           \
        long done;                                                                                                 \
        pthread_mutex_lock(&lock);                                                                                 \
        CARRY_OUT(done, 'W', name, "", offset, data, size, syscall(SYS_pwrite64, fd, data, size, offset));         \
        pthread_mutex_unlock(&lock);                                                                               \
        return done;                                                                                               \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define WITH_FD(symbol, op, offset, call)                              \
    {                                                                  \
        const char *name = named(fd);                                  \
        if (!name) return (int)(call);                                 \
        long done;                                                     \
        pthread_mutex_lock(&lock);                                     \
        CARRY_OUT(done, op, name, "", offset, "", 0, call);            \
        pthread_mutex_unlock(&lock);                                   \
        return (int)done;                                              \
    }
int ftruncate(int fd, off_t size) WITH_FD(ftruncate, 'T', size, syscall(SYS_ftruncate, fd, size))
int ftruncate64(int fd, off64_t size) WITH_FD(ftruncate64, 'T', size, syscall(SYS_ftruncate, fd, size))
int fsync(int fd) WITH_FD(fsync, 'S', 0, syscall(SYS_fsync, fd))
int fdatasync(int fd) WITH_FD(fdatasync, 'S', 0, syscall(SYS_fdatasync, fd))

int rename(const char *from, const char *to) {
    const char *name = below(from), *other = below(to);
    if (!name || !other) return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    long done;
    pthread_mutex_lock(&lock);
    CARRY_OUT(done, 'R', name, other, 0, "", 0, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
    pthread_mutex_unlock(&lock);
    return (int)done;
}

#define WITH_PATH(op, call)                                            \
    {                                                                  \
        const char *name = below(path);                                \
        if (!name) return (int)(call);                                 \
        long done;                                                     \
        pthread_mutex_lock(&lock);                                     \
        CARRY_OUT(done, op, name, "", 0, "", 0, call);                 \
        pthread_mutex_unlock(&lock);                                   \
        return (int)done;                                              \
    }
int unlink(const char *path) WITH_PATH('U', syscall(SYS_unlinkat, AT_FDCWD, path, 0))
int rmdir(const char *path) WITH_PATH('U', syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR))
int mkdir(const char *path, mode_t permissions) WITH_PATH('D', syscall(SYS_mkdirat, AT_FDCWD, path, permissions))
