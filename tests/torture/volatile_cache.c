/* A disk that keeps only what was synced.

   Loaded into a program with LD_PRELOAD. What the program writes to *.db and *.db-wal goes to the files as always: they
   stand for the cache of the operating system, which all reads see. For each of them the folder VOLATILE_CACHE_DISK has
   one of the same name that stands for the disk: at an fsync, and only then, it gets what was written since the last.
   After a SIGKILL it holds what a power cut would have left. A file that is opened for the first time is on the disk
   already, and so is its name in its folder. One process at a time; the sync of the real disk is left out.

   A *.sqlite is made under one name and finished under another. What was synced of it is in <inode>.content; it gets its
   name in VOLATILE_CACHE_DISK at an fsync of the folder VOLATILE_CACHE_FOLDER, which drops the names that went as well.

   With VOLATILE_CACHE_CUT=n the power fails before the n-th write, cut, sync or rename that follows. With
   VOLATILE_CACHE_LIES the disk says that it has synced, and has not. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 64
#define DESCRIPTORS 4096
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

struct range { off_t start; size_t length; };

struct file {
    ino_t inode;
    char path[4096], disk_path[4096];
    int disk;
    off_t shortest; /* since the last sync, or -1 */
    struct range *dirty;
    size_t count, room;
};

static struct file files[FILES];
static struct file *opened[DESCRIPTORS];
static long done; /* so many steps since the cut was announced */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
    perror(what);
    abort();
}

static int ends(const char *path, const char *end) {
    size_t length = strlen(path), tail = strlen(end);
    return length >= tail && strcmp(path + length - tail, end) == 0;
}

static int is_named(const char *path) { return ends(path, ".db") || ends(path, ".db-wal"); }

static void step(void) {
    const char *cut = getenv("VOLATILE_CACHE_CUT");
    pthread_mutex_lock(&mutex);
    if (cut && ++done == atol(cut)) raise(SIGKILL);
    pthread_mutex_unlock(&mutex);
}

static void copy(int from, int to, off_t start, size_t length) {
    static __thread char buffer[65536];
    while (length > 0) {
        ssize_t got = REAL(pread64)(from, buffer, length < sizeof buffer ? length : sizeof buffer, start);
        if (got < 0) fail("pread");
        if (got == 0) return; /* cut off meanwhile */
        if (REAL(pwrite64)(to, buffer, got, start) != got) fail("pwrite");
        start += got;
        length -= got;
    }
}

static struct file *file_with(ino_t inode) {
    struct file *file = files;
    while (file < files + FILES && file->inode && file->inode != inode) file++;
    return file;
}

static struct file *file_of(const char *path, int descriptor) {
    struct stat now;
    if (fstat(descriptor, &now) != 0) fail(path);
    struct file *file = file_with(now.st_ino);
    if (file == files + FILES) fail("too many files");
    if (file->path[0] && !is_named(path) && now.st_size == 0) { /* another one, which has got the inode of a removed one */
        REAL(close)(file->disk);
        REAL(unlink)(file->disk_path);
        file->path[0] = 0;
    }
    if (!file->path[0]) {
        const char *disk = getenv("VOLATILE_CACHE_DISK");
        if (is_named(path)) snprintf(file->disk_path, sizeof file->disk_path, "%s/%s", disk, strrchr(path, '/') + 1);
        else snprintf(file->disk_path, sizeof file->disk_path, "%s/%llu.content", disk, (unsigned long long)now.st_ino);
        file->disk = REAL(open64)(file->disk_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (file->disk < 0) fail(file->disk_path);
        copy(descriptor, file->disk, 0, now.st_size);
        file->count = 0;
        file->shortest = -1;
        file->inode = now.st_ino;
        strcpy(file->path, path);
    }
    return file;
}

static int follow(const char *path, int descriptor) {
    if (descriptor < 0 || !getenv("VOLATILE_CACHE_DISK") || !(is_named(path) || ends(path, ".sqlite"))) return descriptor;
    if (descriptor >= DESCRIPTORS) fail("too many descriptors");
    pthread_mutex_lock(&mutex);
    opened[descriptor] = file_of(path, descriptor);
    pthread_mutex_unlock(&mutex);
    return descriptor;
}

static struct file *followed(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? opened[descriptor] : NULL;
}

static ssize_t written(int descriptor, off_t start, ssize_t length) {
    struct file *file = followed(descriptor);
    if (!file || length <= 0) return length;
    pthread_mutex_lock(&mutex);
    if (file->count == file->room) {
        file->room = file->room ? 2 * file->room : 64;
        file->dirty = realloc(file->dirty, file->room * sizeof *file->dirty);
        if (!file->dirty) fail("realloc");
    }
    file->dirty[file->count++] = (struct range){start, length};
    pthread_mutex_unlock(&mutex);
    return length;
}

static int cut(int descriptor, off_t length, int result) {
    struct file *file = followed(descriptor);
    if (!file || result != 0) return result;
    pthread_mutex_lock(&mutex);
    if (file->shortest < 0 || length < file->shortest) file->shortest = length;
    pthread_mutex_unlock(&mutex);
    return result;
}

static void sync_file(int descriptor, struct file *file) {
    struct stat now, disk;
    if (fstat(descriptor, &now) != 0 || fstat(file->disk, &disk) != 0) fail("fstat");
    if (file->shortest >= 0 && file->shortest < disk.st_size && REAL(ftruncate64)(file->disk, file->shortest) != 0) fail("cut");
    if (REAL(ftruncate64)(file->disk, now.st_size) != 0) fail("ftruncate");
    for (size_t index = 0; index < file->count; index++)
        copy(descriptor, file->disk, file->dirty[index].start, file->dirty[index].length);
    file->count = 0;
    file->shortest = -1;
}

static void sync_names(int descriptor) {
    const char *disk = getenv("VOLATILE_CACHE_DISK"), *wanted = getenv("VOLATILE_CACHE_FOLDER");
    char link_[64], folder[4096] = "", place[8192];
    struct dirent *entry;
    struct stat now;
    snprintf(link_, sizeof link_, "/proc/self/fd/%d", descriptor);
    if (readlink(link_, folder, sizeof folder - 1) < 0 || !disk || !wanted || strcmp(folder, wanted) != 0) return;
    DIR *names = opendir(folder);
    while ((entry = readdir(names))) {
        snprintf(place, sizeof place, "%s/%s", folder, entry->d_name);
        if (!ends(entry->d_name, ".sqlite") || stat(place, &now) != 0) continue;
        struct file *file = file_with(now.st_ino);
        if (file == files + FILES || !file->path[0]) continue; /* was there before, under its name */
        snprintf(place, sizeof place, "%s/%s", disk, entry->d_name);
        REAL(unlink)(place);
        if (link(file->disk_path, place) != 0) fail(place);
    }
    closedir(names);
    names = opendir(disk);
    while ((entry = readdir(names))) {
        snprintf(place, sizeof place, "%s/%s", folder, entry->d_name);
        if (!ends(entry->d_name, ".sqlite") || access(place, F_OK) == 0) continue;
        snprintf(place, sizeof place, "%s/%s", disk, entry->d_name);
        REAL(unlink)(place);
    }
    closedir(names);
}

static int synced(int descriptor) {
    struct file *file = followed(descriptor);
    step();
    if (getenv("VOLATILE_CACHE_LIES")) return 0;
    pthread_mutex_lock(&mutex);
    if (file) sync_file(descriptor, file);
    else sync_names(descriptor);
    pthread_mutex_unlock(&mutex);
    return 0;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int descriptor = REAL(open64)(path, flags, va_arg(more, int));
    va_end(more);
    return follow(path, descriptor);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int descriptor = REAL(open)(path, flags, va_arg(more, int));
    va_end(more);
    return follow(path, descriptor);
}

int close(int descriptor) {
    if (followed(descriptor)) opened[descriptor] = NULL;
    return REAL(close)(descriptor);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t start) {
    if (followed(descriptor)) step();
    return written(descriptor, start, REAL(pwrite64)(descriptor, data, length, start));
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t start) {
    if (followed(descriptor)) step();
    return written(descriptor, start, REAL(pwrite)(descriptor, data, length, start));
}

ssize_t write(int descriptor, const void *data, size_t length) {
    off_t start = followed(descriptor) ? lseek(descriptor, 0, SEEK_CUR) : 0;
    if (followed(descriptor)) step();
    return written(descriptor, start, REAL(write)(descriptor, data, length));
}

int ftruncate64(int descriptor, off64_t length) {
    if (followed(descriptor)) step();
    return cut(descriptor, length, REAL(ftruncate64)(descriptor, length));
}

int ftruncate(int descriptor, off_t length) {
    if (followed(descriptor)) step();
    return cut(descriptor, length, REAL(ftruncate)(descriptor, length));
}

int rename(const char *from, const char *to) {
    if (ends(to, ".sqlite")) step();
    return REAL(rename)(from, to);
}

int fsync(int descriptor) { return synced(descriptor); }

int fdatasync(int descriptor) { return synced(descriptor); }

int unlink(const char *path) {
    pthread_mutex_lock(&mutex);
    for (struct file *file = files; file < files + FILES && file->path[0]; file++)
        if (is_named(path) && strcmp(file->path, path) == 0) fail("a file that is followed is removed");
    pthread_mutex_unlock(&mutex);
    return REAL(unlink)(path);
}
