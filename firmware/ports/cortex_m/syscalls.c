/* What newlib asks of an operating system: there is none, and no heap. */
#include <errno.h>
#include <stddef.h>

#include "port.h"

void *_sbrk(ptrdiff_t increment);
void _exit(int status);
int _write(int file, const char *text, int bytes);
int _read(int file, char *to, int bytes);
int _close(int file);
int _lseek(int file, int offset, int whence);
int _fstat(int file, void *status);
int _isatty(int file);
int _getpid(void);
int _kill(int process, int signal);

void *_sbrk(ptrdiff_t increment) {
  (void)increment;
  errno = ENOMEM;
  return (void *)-1;
}

void _exit(int status) {
  port_exit(status);
  for (;;) {
  }
}

int _write(int file, const char *text, int bytes) {
  (void)file;
  port_write(text, (size_t)bytes);
  return bytes;
}

static int unsupported(void) {
  errno = ENOSYS;
  return -1;
}

int _read(int file, char *to, int bytes) {
  (void)file;
  (void)to;
  (void)bytes;
  return unsupported();
}

int _close(int file) {
  (void)file;
  return unsupported();
}

int _lseek(int file, int offset, int whence) {
  (void)file;
  (void)offset;
  (void)whence;
  return unsupported();
}

int _fstat(int file, void *status) {
  (void)file;
  (void)status;
  return unsupported();
}

int _isatty(int file) {
  (void)file;
  return 1;
}

int _getpid(void) { return 1; }

int _kill(int process, int signal) {
  (void)process;
  (void)signal;
  return unsupported();
}
