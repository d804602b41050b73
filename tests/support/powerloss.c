/* A disk that forgets what was not synced, and that can be full or broken: LD_PRELOAD it into the processes under test.
 *
 * Files below TRIAGE_POWERLOSS_ROOT behave as ever while the process lives. What would survive a power cut is kept beside
 * them in TRIAGE_POWERLOSS_SHADOW (same file system): a file's content as it was at its last fsync or fdatasync, a folder's
 * names as they were at its own last fsync. Creating, renaming and removing is therefore durable once the folder was
 * synced, and writes to shared memory maps and sync_file_range never are. `powerloss.py` makes the shadow, cuts the
 * power and rebuilds the folder.
 *
 *   inodes/N   the durable content of file N
 *   dirs/N     the durable names in folder N: a line an entry, "f|d MODE INODE NAME"
 *   pins/N     a hard link to file N, so that no other file gets its number while the shadow speaks of it
 *   control    how many calls there were, and which of them is to fail or to be the process's last (struct control)
 *
 * Only what goes through libc's own functions is seen; stdio and static binaries are not.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { GROWS = 1, SYNCS = 2, REMOVES = 4 }; /* kinds of calls, as powerloss.py has them */

struct control {
    _Atomic int64_t count; /* calls so far of the kinds below */
    int64_t kinds;         /* which calls are counted, and may fail */
    int64_t first;         /* the first that fails; 0: none does */
    int64_t length;        /* how many fail; 0: all from the first on */
    int64_t error;         /* errno of those; 0: the process is killed in place of the call */
    int64_t shorten;       /* 1: the first failing write writes half of its bytes instead */
    int64_t deaf;          /* 1: nothing becomes durable any more, and every sync says that it did */
};

static char root[PATH_MAX], shadow[PATH_MAX];
static size_t root_length;
static struct control *control;

#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__)

REAL(int, fsync, int);
REAL(int, fdatasync, int);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
REAL(ssize_t, writev, int, const struct iovec *, int);
REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
REAL(int, openat, int, const char *, int, ...);
REAL(int, ftruncate, int, off_t);
REAL(int, posix_fallocate, int, off_t, off_t);
REAL(int, mkdirat, int, const char *, mode_t);
REAL(int, renameat, int, const char *, int, const char *);
REAL(int, linkat, int, const char *, int, const char *, int);
REAL(int, unlinkat, int, const char *, int);

static void broken(const char *what) { /* the shim's own trouble must never look like a result */
    dprintf(2, "powerloss.so: %s: %s\n", what, strerror(errno));
    abort();
}

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) broken(name);
    return found;
}

void powerloss_use(const char *where, const char *kept);

__attribute__((constructor)) static void start(void) {
    real_fsync = real("fsync"), real_fdatasync = real("fdatasync");
    real_write = real("write"), real_pwrite = real("pwrite64");
    real_writev = real("writev"), real_pwritev = real("pwritev64");
    real_openat = real("openat64"), real_ftruncate = real("ftruncate64");
    real_posix_fallocate = real("posix_fallocate64"), real_mkdirat = real("mkdirat");
    real_renameat = real("renameat"), real_linkat = real("linkat"), real_unlinkat = real("unlinkat");
    const char *where = getenv("TRIAGE_POWERLOSS_ROOT"), *kept = getenv("TRIAGE_POWERLOSS_SHADOW");
    if (where && kept) powerloss_use(where, kept);
}

/* Use this disk from here on: for a process that was forked from one that had no disk yet. */
void powerloss_use(const char *where, const char *kept) {
    char path[PATH_MAX + 16];
    snprintf(root, sizeof root, "%s", where), snprintf(shadow, sizeof shadow, "%s", kept);
    snprintf(path, sizeof path, "%s/control", shadow);
    int fd = real_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) broken(path);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) broken("control");
    close(fd);
    root_length = strlen(root);
}

/* --- whose call it is ----------------------------------------------------------------------------------------------- */
static int below(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int descriptor_is_below(int fd) {
    char link[64], path[PATH_MAX];
    if (!root_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int name_is_below(int folder, const char *name) {
    if (!root_length) return 0;
    if (name[0] == '/') return below(name);
    if (folder != AT_FDCWD) return descriptor_is_below(folder);
    char path[PATH_MAX];
    return getcwd(path, sizeof path) && below(path);
}

/* 0 to go on; otherwise the errno to fail with. */
static int gate(int kind) {
    if (!(control->kinds & kind)) return 0;
    int64_t number = atomic_fetch_add(&control->count, 1) + 1;
    if (!control->first || number < control->first) return 0;
    if (control->length && number >= control->first + control->length) return 0;
    if (!control->error) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    return (int)control->error;
}

/* How many of `size` bytes to write: all, half of them, or -1 with errno. */
static ssize_t allowed(int fd, size_t size) {
    if (!descriptor_is_below(fd)) return (ssize_t)size;
    int error = gate(GROWS);
    if (!error) return (ssize_t)size;
    if (control->shorten && size > 1) {
        control->shorten = 0;
        return (ssize_t)(size / 2);
    }
    errno = error;
    return -1;
}

static int refused(int folder, const char *name, int kind) {
    int error = name_is_below(folder, name) ? gate(kind) : 0;
    if (error) errno = error;
    return error;
}

/* --- what is durable ------------------------------------------------------------------------------------------------ */
static void kept_at(char *path, const char *what, ino_t inode, const char *suffix) {
    snprintf(path, PATH_MAX + 64, "%s/%s/%ju%s", shadow, what, (uintmax_t)inode, suffix);
}

static void keep_content(int fd, ino_t inode) {
    static char buffer[1 << 18]; /* under the lock */
    char self[64], path[PATH_MAX + 64], fresh[PATH_MAX + 64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    kept_at(path, "pins", inode, "");
    if (real_linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) && errno != EEXIST) broken("pin");
    kept_at(path, "inodes", inode, ""), kept_at(fresh, "inodes", inode, ".new");
    int from = real_openat(AT_FDCWD, self, O_RDONLY | O_CLOEXEC);
    int to = real_openat(AT_FDCWD, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) broken(fresh);
    ssize_t size;
    while ((size = read(from, buffer, sizeof buffer)) > 0)
        if (real_write(to, buffer, (size_t)size) != size) broken(fresh);
    if (size < 0) broken("read");
    close(from), close(to);
    if (real_renameat(AT_FDCWD, fresh, AT_FDCWD, path)) broken(path);
}

static void keep_names(int fd, ino_t inode) {
    char path[PATH_MAX + 64], fresh[PATH_MAX + 64], pin[PATH_MAX + 64];
    kept_at(path, "dirs", inode, ""), kept_at(fresh, "dirs", inode, ".new");
    int again = real_openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to = real_openat(AT_FDCWD, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    DIR *folder = again < 0 || to < 0 ? NULL : fdopendir(again);
    if (!folder) broken(fresh);
    struct dirent *entry;
    struct stat found;
    while ((entry = readdir(folder))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (fstatat(again, entry->d_name, &found, AT_SYMLINK_NOFOLLOW)) continue; /* it has just gone */
        if (S_ISREG(found.st_mode)) {
            kept_at(pin, "pins", found.st_ino, "");
            if (real_linkat(again, entry->d_name, AT_FDCWD, pin, 0) && errno != EEXIST) {
                if (errno == ENOENT) continue;
                broken("pin");
            }
        } else if (!S_ISDIR(found.st_mode)) {
            continue;
        }
        dprintf(to, "%c %o %ju %s\n", S_ISDIR(found.st_mode) ? 'd' : 'f', found.st_mode & 07777,
                (uintmax_t)found.st_ino, entry->d_name);
    }
    closedir(folder), close(to);
    if (real_renameat(AT_FDCWD, fresh, AT_FDCWD, path)) broken(path);
}

static int synced(int fd, int (*otherwise)(int)) {
    struct stat what;
    if (!descriptor_is_below(fd)) return otherwise(fd);
    int error = gate(SYNCS);
    if (error) {
        errno = error;
        return -1;
    }
    if (control->deaf) return 0;
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/lock", shadow);
    int lock = real_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC); /* of its own: excludes threads, too */
    if (lock < 0 || flock(lock, LOCK_EX)) broken(path);
    if (fstat(fd, &what)) broken("fstat");
    if (S_ISDIR(what.st_mode)) keep_names(fd, what.st_ino);
    else if (S_ISREG(what.st_mode) && what.st_nlink) keep_content(fd, what.st_ino);
    close(lock);
    return 0;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

/* --- what makes files grow, and names come and go ------------------------------------------------------------------- */
ssize_t write(int fd, const void *bytes, size_t size) {
    ssize_t some = allowed(fd, size);
    return some < 0 ? -1 : real_write(fd, bytes, (size_t)some);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    ssize_t some = allowed(fd, size);
    return some < 0 ? -1 : real_pwrite(fd, bytes, (size_t)some, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return pwrite64(fd, bytes, size, at); }

static size_t length_of(const struct iovec *parts, int number) {
    size_t whole = 0;
    for (int each = 0; each < number; each++) whole += parts[each].iov_len;
    return whole;
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
    size_t whole = length_of(parts, number);
    ssize_t some = allowed(fd, whole);
    if (some < 0) return -1;
    if ((size_t)some == whole || !parts[0].iov_len) return real_writev(fd, parts, number);
    return real_write(fd, parts[0].iov_base, parts[0].iov_len < (size_t)some ? parts[0].iov_len : (size_t)some);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int number, off64_t at) {
    return allowed(fd, length_of(parts, number)) < 0 ? -1 : real_pwritev(fd, parts, number, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int number, off_t at) { return pwritev64(fd, parts, number, at); }

int ftruncate64(int fd, off64_t size) {
    if (descriptor_is_below(fd)) {
        int error = gate(GROWS);
        if (error) {
            errno = error;
            return -1;
        }
    }
    return real_ftruncate(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int posix_fallocate64(int fd, off64_t from, off64_t size) {
    int error = descriptor_is_below(fd) ? gate(GROWS) : 0;
    return error ? error : real_posix_fallocate(fd, from, size);
}

int posix_fallocate(int fd, off_t from, off_t size) { return posix_fallocate64(fd, from, size); }

static int opened(int folder, const char *name, int flags, mode_t mode) {
    if ((flags & O_CREAT) && name_is_below(folder, name) && faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW)) {
        int error = gate(GROWS);
        if (error) {
            errno = error;
            return -1;
        }
    }
    return real_openat(folder, name, flags, mode);
}

#define WITH_MODE(flags)                            \
    mode_t mode = 0;                                \
    if ((flags) & (O_CREAT | O_TMPFILE)) {          \
        va_list rest;                               \
        va_start(rest, flags);                      \
        mode = va_arg(rest, mode_t);                \
        va_end(rest);                               \
    }

int openat(int folder, const char *name, int flags, ...) {
    WITH_MODE(flags)
    return opened(folder, name, flags, mode);
}

int openat64(int folder, const char *name, int flags, ...) {
    WITH_MODE(flags)
    return opened(folder, name, flags, mode);
}

int open(const char *name, int flags, ...) {
    WITH_MODE(flags)
    return opened(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    WITH_MODE(flags)
    return opened(AT_FDCWD, name, flags, mode);
}

int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

int mkdirat(int folder, const char *name, mode_t mode) {
    return refused(folder, name, GROWS) ? -1 : real_mkdirat(folder, name, mode);
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int renameat(int from, const char *old, int to, const char *fresh) {
    return refused(to, fresh, GROWS) ? -1 : real_renameat(from, old, to, fresh);
}

int rename(const char *old, const char *fresh) { return renameat(AT_FDCWD, old, AT_FDCWD, fresh); }

int linkat(int from, const char *old, int to, const char *fresh, int flags) {
    return refused(to, fresh, GROWS) ? -1 : real_linkat(from, old, to, fresh, flags);
}

int link(const char *old, const char *fresh) { return linkat(AT_FDCWD, old, AT_FDCWD, fresh, 0); }

int unlinkat(int folder, const char *name, int flags) {
    return refused(folder, name, REMOVES) ? -1 : real_unlinkat(folder, name, flags);
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
