"""Waiting with another signal mask, and what is left of a timeout (fs/select.c, fs/eventpoll.c)."""

import errno

from kmod_emu import Kernel
from tests.user.conftest import needs_gcc

PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile int got; static sigset_t inside;
static void handler(int s) { got++; sigprocmask(SIG_BLOCK, 0, &inside); }
static sigset_t none, usr1;
static void state(const char *what, long r) {
  sigset_t now; sigprocmask(SIG_BLOCK, 0, &now);
  printf("%s %ld %s got=%d blocked=%d\n", what, r, r < 0 ? strerrorname_np(errno) : "-", got,
         sigismember(&now, SIGUSR1));
}
int main(void) {
  int p[2]; pipe(p);
  struct sigaction a = {.sa_handler = handler}; sigaction(SIGUSR1, &a, 0);
  a.sa_flags = SA_RESTART; sigaction(SIGALRM, &a, 0);
  sigemptyset(&none); sigemptyset(&usr1); sigaddset(&usr1, SIGUSR1); sigprocmask(SIG_BLOCK, &usr1, 0);
  struct pollfd f = {p[0], POLLIN}; struct timespec second = {1, 0}, t;
  raise(SIGUSR1); state("pending", 0);
  state("poll", poll(&f, 1, 10));
  state("ppoll", ppoll(&f, 1, &second, &none));
  raise(SIGUSR1); t = second;
  fd_set r; FD_ZERO(&r); FD_SET(p[0], &r);
  state("pselect", pselect(p[0] + 1, &r, 0, 0, &t, &none));
  int e = epoll_create1(0); struct epoll_event ev = {EPOLLIN}, out; epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev);
  raise(SIGUSR1);
  state("epoll_pwait", epoll_pwait(e, &out, 1, 1000, &none));
  state("quiet", ppoll(&f, 1, &(struct timespec){0, 1000}, &none));
  raise(SIGUSR1); write(p[1], "x", 1);
  state("ready", ppoll(&f, 1, &second, &none));  /* an answer comes before a signal */
  state("size", syscall(SYS_ppoll, &f, 1, &second, &none, 4));
  state("efault", syscall(SYS_ppoll, &f, 1, &second, 8L, 8));
  read(p[0], &e, 1); sigprocmask(SIG_SETMASK, &none, 0);
  ualarm(300000, 0); t = second;
  state("left", syscall(SYS_ppoll, &f, 1, &t, 0, 8)); printf("%d\n", t.tv_nsec > 400000000);
  struct timeval tv = {0, 500000}; FD_ZERO(&r); FD_SET(p[0], &r);
  state("select", syscall(SYS_select, p[0] + 1, &r, 0, 0, &tv)); printf("%ld.%06ld\n", tv.tv_sec, tv.tv_usec);
  signal(SIGALRM, SIG_DFL); signal(SIGUSR2, SIG_IGN);
  ualarm(300000, 0); signal(SIGALRM, SIG_IGN);
  struct timespec before, after; clock_gettime(CLOCK_MONOTONIC, &before);
  state("ignored", poll(&f, 1, 1000)); clock_gettime(CLOCK_MONOTONIC, &after);
  printf("%d\n", (int)((after.tv_sec - before.tv_sec) * 10 + (after.tv_nsec - before.tv_nsec) / 100000000));
  return 0;
}
"""
ANSWER = """\
pending 0 - got=0 blocked=1
poll 0 - got=0 blocked=1
ppoll -1 EINTR got=1 blocked=1
pselect -1 EINTR got=2 blocked=1
epoll_pwait -1 EINTR got=3 blocked=1
quiet 0 - got=3 blocked=1
ready 1 - got=3 blocked=1
size -1 EINVAL got=3 blocked=1
efault -1 EFAULT got=3 blocked=1
left -1 EINTR got=5 blocked=0
1
select 0 - got=5 blocked=0
0.000000
ignored 0 - got=5 blocked=0
10
"""


@needs_gcc
def test_the_mask_counts_while_waiting(shell, compile_c):
    """The answer is what the same program prints on Linux."""
    shell.put("/bin/program", compile_c(PROGRAM, "-static"))
    assert shell.run("/bin/program").stdout.decode() == ANSWER


def test_processes_of_python_have_no_mask_to_change():
    process = Kernel().process()
    mask = process.put(bytes(8))
    assert process.syscall("ppoll", 0, 0, 0, mask, 4) == -errno.EINVAL
    assert process.syscall("ppoll", 0, 0, 0, mask, 8) == -errno.ENOSYS
