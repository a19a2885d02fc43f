// Lets an addon that was linked on a new glibc load on an old one (2.28), as the binaries of the npm package must.
//
// glibc 2.33 and 2.34 gave the functions of libpthread, libdl and stat new symbol versions when they moved; the first
// versions are still there, and on an older system Node itself has those libraries loaded. The linker's --wrap
// (CMakeLists.txt) sends each call in the addon, the static libstdc++'s included, to a function here that names the
// first version. Source: glibc's symbol versioning, ld.so(8); --wrap and .symver, ld(1) and as(1).
#include <dlfcn.h>
#include <pthread.h>
#include <sys/stat.h>

#if defined(__x86_64__)
#define FIRST_VERSION "GLIBC_2.2.5"
constexpr int stat_layout = 1;  // the one struct stat that 64-bit Linux has, by its old number
#elif defined(__aarch64__)
#define FIRST_VERSION "GLIBC_2.17"
constexpr int stat_layout = 0;
#endif
#define FIRST(alias, function) __asm__(".symver " #alias ", " #function "@" FIRST_VERSION)

extern "C" {

int first_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int first_pthread_join(pthread_t, void**);
int first_pthread_once(pthread_once_t*, void (*)());
void* first_dlopen(const char*, int);
void* first_dlsym(void*, const char*);
char* first_dlerror();
int first_dladdr(const void*, Dl_info*);
int first_fxstat(int, int, struct stat*);
int first_xstat(int, const char*, struct stat*);

FIRST(first_pthread_create, pthread_create);
FIRST(first_pthread_join, pthread_join);
FIRST(first_pthread_once, pthread_once);
FIRST(first_dlopen, dlopen);
FIRST(first_dlsym, dlsym);
FIRST(first_dlerror, dlerror);
FIRST(first_dladdr, dladdr);
FIRST(first_fxstat, __fxstat);
FIRST(first_xstat, __xstat);

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  return first_pthread_create(thread, attributes, start, argument);
}
int __wrap_pthread_join(pthread_t thread, void** result) { return first_pthread_join(thread, result); }
int __wrap_pthread_once(pthread_once_t* once, void (*start)()) { return first_pthread_once(once, start); }
void* __wrap_dlopen(const char* path, int flags) { return first_dlopen(path, flags); }
void* __wrap_dlsym(void* library, const char* name) { return first_dlsym(library, name); }
char* __wrap_dlerror() { return first_dlerror(); }
int __wrap_dladdr(const void* address, Dl_info* info) { return first_dladdr(address, info); }
int __wrap_fstat(int descriptor, struct stat* out) { return first_fxstat(stat_layout, descriptor, out); }
int __wrap_stat(const char* path, struct stat* out) { return first_xstat(stat_layout, path, out); }

// libstdc++ asks this variable of glibc 2.32 whether it may count references without atomic operations: never.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

}  // extern "C"
