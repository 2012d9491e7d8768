"""eventfd(2), and small answers of other calls; the C program prints the same on Linux."""

from tests.user.conftest import needs_gcc

PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#define S(c) do { errno = 0; long r_ = (long)(c); \
  printf("%s = %ld %s\n", #c, r_, r_ < 0 ? strerrorname_np(errno) : "-"); } while (0)
static void nothing(int s) {}
int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  uint64_t v = 0; char big[70000];
  int e = eventfd(3, EFD_NONBLOCK), s = eventfd(2, EFD_SEMAPHORE), st;
  struct pollfd p = {e, POLLIN | POLLOUT};
  S(read(e, &v, 4)); S(read(e, &v, 8)); printf("%lu\n", v); S(read(e, &v, 8));
  S(poll(&p, 1, 0)); printf("%x\n", p.revents);
  v = ~0ull; S(write(e, &v, 8)); v = ~0ull - 1; S(write(e, &v, 8)); v = 1; S(write(e, &v, 8));
  S(write(e, &v, 7));
  S(poll(&p, 1, 0)); printf("%x\n", p.revents); S(write(e, (void *)8, 8)); S(lseek(e, 0, SEEK_SET));
  S(read(s, &v, 8)); printf("%lu\n", v); S(read(s, &v, 8));
  if (!fork()) { usleep(50000); v = 9; write(s, &v, 8); _exit(0); }
  S(read(s, &v, 8)); printf("%lu\n", v); wait(&st);
  S(eventfd(0, 1 << 30)); S(fcntl(eventfd(0, EFD_CLOEXEC), F_GETFD));
  int q[2]; pipe(q); S(fcntl(q[0], F_GETPIPE_SZ)); S(fcntl(e, F_GETPIPE_SZ));
  struct sigaction a = {.sa_handler = nothing}; sigaction(SIGALRM, &a, 0); ualarm(50000, 0);
  S(write(q[1], big, sizeof big));
  S(madvise((void *)0x10000, 4096, MADV_DONTNEED)); S(msync((void *)0x10000, 4096, MS_SYNC));
  S(getpriority(PRIO_PROCESS, 0)); S(getpriority(PRIO_PROCESS, 99999)); S(getpriority(7, 0));
  return 0;
}
"""
ANSWER = """\
read(e, &v, 4) = -1 EINVAL
read(e, &v, 8) = 8 -
3
read(e, &v, 8) = -1 EAGAIN
poll(&p, 1, 0) = 1 -
4
write(e, &v, 8) = -1 EINVAL
write(e, &v, 8) = 8 -
write(e, &v, 8) = -1 EAGAIN
write(e, &v, 7) = -1 EINVAL
poll(&p, 1, 0) = 1 -
1
write(e, (void *)8, 8) = -1 EFAULT
lseek(e, 0, SEEK_SET) = 0 -
read(s, &v, 8) = 8 -
1
read(s, &v, 8) = 8 -
read(s, &v, 8) = 8 -
1
eventfd(0, 1 << 30) = -1 EINVAL
fcntl(eventfd(0, EFD_CLOEXEC), F_GETFD) = 1 -
fcntl(q[0], F_GETPIPE_SZ) = 65536 -
fcntl(e, F_GETPIPE_SZ) = -1 EBADF
write(q[1], big, sizeof big) = 65536 -
madvise((void *)0x10000, 4096, MADV_DONTNEED) = -1 ENOMEM
msync((void *)0x10000, 4096, MS_SYNC) = -1 ENOMEM
getpriority(PRIO_PROCESS, 0) = 0 -
getpriority(PRIO_PROCESS, 99999) = -1 ESRCH
getpriority(7, 0) = -1 EINVAL
"""


@needs_gcc
def test_counters(shell, compile_c):
    shell.put("/bin/program", compile_c(PROGRAM, "-static"))
    assert shell.run("/bin/program").stdout.decode() == ANSWER
