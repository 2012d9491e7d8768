"""Programs in ring 3: processes, signals, memory, bad ones."""

import pytest

from kmod_emu import KernelError, samples
from kmod_emu.uapi import errno
from tests.user.conftest import needs_busybox, needs_gcc


def text(result) -> str:
    return result.stdout.decode("latin-1")


# --- busybox --------------------------------------------------------------------------------------------


@needs_busybox
def test_the_shell_session_of_a_module(shell):
    shell.put("/hello.ko", samples.path("hello").read_bytes())
    result = shell.sh(
        "insmod hello.ko; lsmod; cat /proc/modules; dmesg | tail -1; rmmod hello; lsmod | wc -l"
    )
    assert result.status == 0
    assert text(result).splitlines()[1].split()[:3] == ["hello", "16384", "0"]
    assert "Hello world!" in text(result)
    assert text(result).splitlines()[-1] == "1"
    assert shell.kernel.modules == []


@needs_busybox
@pytest.mark.parametrize(
    ("command", "output", "status"),
    [
        ("echo one; (echo two); echo three | cat", "one\ntwo\nthree\n", 0),
        ("exit 7", "", 7),
        ("kill -9 $$", "", 137),
        ("kill -15 $$", "", 143),
        ("trap 'echo caught' USR1; kill -USR1 $$; echo on", "caught\non\n", 0),
        ("sleep 100 & kill $!; wait $!; echo $?", "Terminated\n143\n", 0),
        ("(exit 3); echo $?; false || echo no", "3\nno\n", 0),
        ("yes | head -2", "y\ny\n", 0),
        ("echo data > /tmp/f; cat < /tmp/f; wc -c /tmp/f", "data\n5 /tmp/f\n", 0),
        ("nosuch", "sh: nosuch: not found\n", 127),
        ("i=0; while [ $i -lt 50 ]; do i=$((i+1)); done; echo $i", "50\n", 0),
        ("sleep 1000; date -u +%H:%M", None, 0),
        ("ulimit -c; uname -sm; id -u", "0\nLinux x86_64\n0\n", 0),
        ("printf '%s\\n' b a | sort | tr a-z A-Z", "A\nB\n", 0),
    ],
)
def test_shell(shell, command, output, status):
    result = shell.sh(command)
    assert result.status == status
    if output is not None:
        assert text(result) == output


@needs_busybox
def test_scripts_run_under_the_program_they_name(shell):
    shell.put("/bin/script", b"#! /bin/sh -e\necho $0 $1\n")
    assert text(shell.run("/bin/script", "arg")) == "/bin/script arg\n"
    shell.put("/bin/loop", b"#!/bin/loop\n")
    with pytest.raises(KernelError) as error:
        shell.run("/bin/loop")
    assert error.value.errno == errno.ELOOP


@needs_busybox
def test_streams(shell):
    result = shell.run("/bin/busybox", "sh", "-c", "cat; echo bad >&2", stdin=b"in\n", stderr=None)
    assert (result.stdout, result.stderr) == (b"in\n", b"bad\n")


@needs_busybox
def test_two_that_never_sleep_share_the_processor(shell):
    result = shell.sh("(while :; do :; done) & sleep 0.1; echo slept; kill $!; wait; echo over")
    assert text(result) == "slept\nover\n"


@needs_busybox
def test_a_loop_is_ended_by_the_time_limit(shell):
    result = shell.sh("while :; do :; done", time_limit=0.3)
    assert (result.status, result.timed_out) == (137, True)


@needs_busybox
def test_a_fork_bomb_is_bounded(shell):
    result = shell.sh("f() { f | f; }; f", time_limit=1)
    assert len(shell.kernel.tasks.by_pid) < 20
    assert result.status in (2, 137, 0)
    assert text(shell.sh("echo alive")) == "alive\n"


@needs_busybox
def test_nothing_is_left_behind(shell):
    shell.sh("true")
    kernel = shell.kernel
    before = (
        kernel.pages.allocated,
        len(kernel.heap.live),
        kernel.vmalloc.allocated,
        sorted(kernel.tasks.by_pid),
    )
    shell.sh("echo a | cat; sleep 5 & sleep 100 & true")
    kernel.sched.advance(1)
    kernel.user_pages.drop_images()
    shell.sh("true")
    after = (
        kernel.pages.allocated,
        len(kernel.heap.live),
        kernel.vmalloc.allocated,
        sorted(kernel.tasks.by_pid),
    )
    assert after[1:] == before[1:]
    assert after[0] <= before[0] + 8  # the shell's pages that came into memory


@needs_busybox
def test_two_runs_are_the_same(shell):
    command = "for i in 1 2 3; do (echo $i; sleep 0.$i; echo done $i) & done; wait; cat /proc/uptime"
    other = type(shell)()
    assert shell.sh(command).stdout == other.sh(command).stdout


def test_what_is_no_program(shell):
    for name, data, number in [
        ("/empty", b"", errno.ENOEXEC),
        ("/text", b"hello", errno.ENOEXEC),
        ("/module", samples.path("hello").read_bytes(), errno.ENOEXEC),
    ]:
        shell.put(name, data)
        with pytest.raises(KernelError) as error:
            shell.run(name)
        assert error.value.errno == number
    with pytest.raises(KernelError) as error:
        shell.run("/absent")
    assert error.value.errno == errno.ENOENT
    with pytest.raises(KernelError) as error:
        shell.run("/proc/version")
    assert error.value.errno == errno.EACCES


@needs_busybox
def test_the_shell_session_of_a_device(shell):
    shell.put("/echo.ko", samples.path("echo").read_bytes())
    command = (
        "insmod echo.ko; lsmod | tail -1; mknod /dev/e c 246 0; echo hi > /dev/e; cat /dev/e; rmmod echo"
    )
    result = shell.sh(command)
    assert result.status == 0
    assert text(result).splitlines()[0].split()[:3] == ["echo", "16384", "0"]
    assert text(result).splitlines()[1:] == ["hi"]


def test_exec_of_the_api(shell, tmp_path):
    with pytest.raises(KernelError) as error:
        shell.kernel.exec(b"nothing")
    assert error.value.errno == errno.ENOEXEC


@needs_busybox
def test_a_program_from_bytes_with_files_of_the_host(shell, tmp_path):
    (tmp_path / "in").write_text("host\n")
    script = b"#!/bin/sh\nread line; echo $line $1; cat /mnt/in; echo out > /mnt/out; exit 4"
    result = shell.kernel.exec(script, ["arg"], stdin=b"typed\n", binds={str(tmp_path): "/mnt"})
    assert (result.status, result.stdout) == (4, b"typed arg\nhost\n")
    assert (tmp_path / "out").read_text() == "out\n"


# --- compiled here ----------------------------------------------------------------------------------------

FAULTS = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
static void caught(int sig, siginfo_t *info, void *context) {
  printf("%d %d %p\n", sig, info->si_code, info->si_addr); fflush(stdout); _exit(9);
}
int main(int argc, char **argv) {
  char kind = argv[1][0];
  struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
  if (argc > 2) for (int sig = 1; sig < 32; sig++) sigaction(sig, &action, 0);
  volatile char *p = 0; volatile int zero = 0;
  if (kind == 'n') *(char *)0x18 = 1;
  if (kind == 'k') zero = *(volatile int *)0xffffffff80000000;
  if (kind == 'w') { p = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); p[8] = 1; }
  if (kind == 'd') zero = 7 / zero;
  if (kind == 'i') asm("ud2");
  if (kind == 'h') asm("hlt");
  if (kind == 'o') asm("out %al, $0x6b");
  if (kind == 't') asm("int3");
  if (kind == 'x') ((void (*)(void))main)(), *(char *)main = 1;
  if (kind == 's') { char deep[4096]; deep[0] = 1; main(argc, argv); return deep[0] + 1; }
  if (kind == 'a') abort();
  return 0;
}
"""


@needs_gcc
@pytest.mark.parametrize(
    ("kind", "signal", "told"),
    [
        ("n", 11, "11 1 0x18\n"),
        ("k", 11, "11 1 0xffffffff80000000\n"),
        ("w", 11, "11 2 "),
        ("d", 8, "8 1 "),
        ("i", 4, "4 2 "),
        ("h", 11, "11 128 (nil)\n"),
        ("o", 11, "11 128 (nil)\n"),
        ("t", 5, "5 128 (nil)\n"),
        ("s", 11, None),
        ("a", 6, "6 -6 "),
    ],
)
def test_faults_are_signals(shell, compile_c, kind, signal, told):
    shell.put("/faults", compile_c(FAULTS, "-static"))
    assert shell.run("/faults", kind).status == 128 + signal
    if told is not None:
        result = shell.run("/faults", kind, "handle")
        assert result.status == 9
        assert text(result).startswith(told)
    assert shell.kernel.oopses.count == 0


@needs_gcc
def test_an_unhandled_fault_is_in_dmesg(shell, compile_c):
    shell.put("/faults", compile_c(FAULTS, "-static"))
    shell.run("/faults", "n")
    lines = shell.kernel.dmesg()
    assert any("segfault at 18 ip 0000000000" in line and "error 6 in faults[" in line for line in lines)
    assert lines[-1].startswith("Code: ")


CALLS = r"""
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
static volatile int rings; static double kept;
static void ring(int sig) { rings++; kept = 0.5 * rings; }
static void *thread(void *argument) { sleep(1); return (void *)(*(long *)argument * 2); }
int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  struct sigaction action = {.sa_handler = ring};
  sigaction(SIGALRM, &action, 0);
  alarm(1); int paused = pause(); printf("pause %d %d\n", paused, errno == EINTR);
  struct itimerval often = {{0, 100000}, {0, 100000}};
  double x = 1.25; setitimer(ITIMER_REAL, &often, 0);
  while (rings < 4) x = x * 1.0000001;
  often.it_interval.tv_usec = often.it_value.tv_usec = 0; setitimer(ITIMER_REAL, &often, 0);
  printf("rings %d %d\n", rings, x > 1.25);
  int fds[2]; pipe(fds);
  struct pollfd p = {fds[0], POLLIN}; printf("poll %d\n", poll(&p, 1, 50));
  char *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), own = 'p';
  for (int i = 0; i < 2; i++) if (!fork()) {
    char c; shared[i] = 's'; own = 'c'; read(fds[0], &c, 1); _exit(c);
  }
  usleep(1000); write(fds[1], "\5\6", 2);
  int status, sum = 0; while (wait(&status) > 0) sum += WEXITSTATUS(status);
  printf("fork %d %.2s %c\n", sum, shared, own);
  sigset_t set; sigemptyset(&set); sigaddset(&set, SIGALRM); sigprocmask(SIG_BLOCK, &set, 0);
  kill(getpid(), SIGALRM); int before = rings; sigprocmask(SIG_UNBLOCK, &set, 0);
  printf("mask %d\n", rings - before);
  pthread_t id; long n = 21; void *result; pthread_create(&id, 0, thread, &n); pthread_join(id, &result);
  printf("thread %ld\n", (long)result);
  char c; action.sa_flags = SA_RESTART; sigaction(SIGALRM, &action, 0); alarm(1);
  if (!fork()) { sleep(2); write(fds[1], "r", 1); _exit(0); }
  printf("restart %ld\n", (long)read(fds[0], &c, 1));
  close(fds[0]); signal(SIGPIPE, SIG_IGN);
  long broken = write(fds[1], "x", 1); printf("pipe %ld %d\n", broken, errno == EPIPE);
  signal(SIGPIPE, SIG_DFL); write(fds[1], "x", 1); return 0;
}
"""


@needs_gcc
def test_calls_of_a_c_program(shell, compile_c):
    shell.put("/calls", compile_c(CALLS, "-static", "-pthread"))
    result = shell.run("/calls")
    assert text(result).splitlines() == [
        "pause -1 1", "rings 4 1", "poll 0", "fork 11 ss p", "mask 1", "thread 42", "restart 1", "pipe -1 1",
    ]  # fmt: skip
    assert result.status == 128 + 13


@needs_gcc
@pytest.mark.parametrize("flags", [("-static",), ("-static-pie",)])
def test_kinds_of_programs(shell, compile_c, flags):
    source = r"""
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/auxv.h>
    int main(int c, char **v) {
      printf("%s %d %s %lu\n", v[0], c, getenv("K"), getauxval(AT_PAGESZ)); return 3;
    }
    """
    shell.put("/p", compile_c(source, *flags))
    result = shell.run("/p", "x", env={"K": "V"})
    assert (text(result), result.status) == ("p 2 V 4096\n", 3)


@needs_busybox
def test_a_program_that_nothing_will_wake_has_used_up_its_time(shell):
    result = shell.sh("echo before; mkfifo /tmp/f; cat /tmp/f; echo after", time_limit=1)
    assert (result.status, result.timed_out, result.stdout) == (137, True, b"before\n")
    assert not shell.kernel.tasks.by_pid.keys() & set(range(100, 200))
    with pytest.raises(KernelError) as error:
        shell.sh("cat /tmp/f", time_limit=None)
    assert error.value.errno == errno.EDEADLK


@needs_gcc
def test_select_refuses_a_negative_number_of_descriptors(shell, compile_c):
    program = "#include <errno.h>\nint main(void) { return select(-1, 0, 0, 0, 0) == -1 && errno == EINVAL; }"
    shell.put("/bin/p", compile_c(program, "-static"))
    assert shell.run("/bin/p").status == 1
