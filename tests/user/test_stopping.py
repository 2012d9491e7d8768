"""Stopping programs and letting them go on; the C program prints the same on Linux."""

from tests.user.conftest import needs_busybox, needs_gcc

PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
static volatile int chld, cont;
static void on_chld(int s, siginfo_t *i, void *c) { chld = i->si_code; }
static void on_cont(int s) { cont++; }
static pid_t child(int handler, int *out) {
  int p[2]; pipe(p); pid_t pid = fork();
  if (!pid) {
    if (handler) { struct sigaction a = {.sa_handler = on_cont}; sigaction(SIGCONT, &a, 0); }
    char c; int n = read(p[0], &c, 1); _exit(n == 1 ? 10 + cont : errno == EINTR ? 20 + cont : 99);
  }
  *out = p[1]; usleep(50000); return pid;
}
int main(void) {
  int st, w; setvbuf(stdout, 0, _IONBF, 0);
  struct sigaction a = {.sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGCHLD, &a, 0);
  pid_t pid = child(0, &w);
  printf("nothing %d\n", waitpid(pid, &st, WNOHANG | WUNTRACED));
  kill(pid, SIGSTOP); printf("stopped %d", waitpid(pid, &st, WUNTRACED) == pid);
  printf(" %d %d code %d\n", WIFSTOPPED(st), WSTOPSIG(st) == SIGSTOP, chld);
  printf("told once %d\n", waitpid(pid, &st, WNOHANG | WUNTRACED));
  write(w, "x", 1); usleep(50000); printf("still %d\n", waitpid(pid, &st, WNOHANG));
  kill(pid, SIGCONT); printf("goes on %d", waitpid(pid, &st, WCONTINUED) == pid);
  printf(" %d\n", WIFCONTINUED(st) || WIFEXITED(st));
  if (!WIFEXITED(st)) waitpid(pid, &st, 0); printf("read %d\n", WEXITSTATUS(st));
  pid = child(1, &w); kill(pid, SIGTSTP); waitpid(pid, &st, WUNTRACED);
  printf("tstp %d\n", WSTOPSIG(st) == SIGTSTP);
  kill(pid, SIGCONT); waitpid(pid, &st, 0); printf("handler %d\n", WEXITSTATUS(st));
  pid = child(0, &w); kill(pid, SIGSTOP); waitpid(pid, &st, WUNTRACED); kill(pid, SIGTERM); usleep(50000);
  printf("term waits %d\n", waitpid(pid, &st, WNOHANG));
  kill(pid, SIGKILL); waitpid(pid, &st, 0); printf("killed %d\n", WTERMSIG(st));
  siginfo_t i = {0}; pid = child(0, &w); kill(pid, SIGSTOP); waitid(P_PID, pid, &i, WSTOPPED | WNOWAIT);
  printf("waitid %d %d\n", i.si_code, i.si_status); waitid(P_PID, pid, &i, WSTOPPED); kill(pid, SIGCONT);
  waitid(P_PID, pid, &i, WCONTINUED); printf("waitid %d %d\n", i.si_code, i.si_status);
  kill(pid, SIGKILL); waitpid(pid, &st, 0);
  return 0;
}
"""
ANSWER = """\
nothing 0
stopped 1 1 1 code 5
told once 0
still 0
goes on 1 1
read 10
tstp 1
handler 21
term waits 0
killed 9
waitid 5 19
waitid 6 18
"""


@needs_gcc
def test_stop_and_continue(shell, compile_c):
    shell.put("/bin/program", compile_c(PROGRAM, "-static"))
    assert shell.run("/bin/program").stdout.decode() == ANSWER


@needs_busybox
def test_a_stopped_program_shows_as_such(shell):
    stop = "sleep 9 & sleep 1; kill -STOP $!; sleep 1; ps -o stat,comm | grep sleep"
    lines = shell.sh(f"{stop}; kill -CONT $!; kill $!; wait $!; echo $?").stdout.decode().splitlines()
    assert ["T", "sleep"] in [line.split() for line in lines]
    assert lines[-1] == "143"


@needs_busybox
def test_a_shell_that_stops_itself_is_ended_with_its_time(shell):
    result = shell.sh("echo before; kill -STOP $$; echo after", time_limit=1)
    assert (result.stdout, result.status, result.timed_out) == (b"before\n", 137, True)
