"""Programs on a distribution's own kernel: execve, fork, signals, page faults and files are its own."""

import json
import subprocess
from pathlib import Path

import pytest

from kmod_emu import KernelError
from kmod_emu.devices.e1000 import E1000
from kmod_emu.kernel.limits import Limits
from kmod_emu.user.execute import STDOUT
from tests.conftest import RECORDINGS
from tests.module.replay import comparable
from tests.user.conftest import BUSYBOX, needs_busybox, needs_gcc

CASES = {case["name"]: case for case in json.loads((RECORDINGS / "behaviour-6.1.json").read_text())}
FAULTS = """
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static sigjmp_buf out;
static void *place;
static void handler(int signal, siginfo_t *info, void *context) {
    __asm__ volatile("pxor %%xmm7, %%xmm7" ::: "xmm7");
    place = info->si_addr;
    if (signal == SIGSEGV)
        siglongjmp(out, 1);
}
int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESETHAND};
    double kept = 2.5;
    long result;
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGUSR1, &action, 0);
    __asm__ volatile("movq %0, %%xmm7; syscall; movq %%xmm7, %0"
                     : "+r"(kept), "=a"(result) : "1"(SYS_kill), "D"(getpid()), "S"(SIGUSR1)
                     : "rcx", "r11", "memory", "xmm7");
    if (!sigsetjmp(out, 1))
        *(volatile int *)0x123450 = 1;
    printf("SIGSEGV at %p, %g\\n", place, kept);
    char *pages = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int zeros = 1;
    for (int i = 0; i < 1 << 20; i += 4096)
        zeros &= !pages[i];
    pages[5] = 1;
    printf("zeros %d\\n", zeros);
    fflush(stdout);
    *(volatile char *)0x123456 = 1;
}
"""
THREADS = """
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
static int count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *work(void *unused) {
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&lock);
        count++;
        pthread_mutex_unlock(&lock);
    }
    return 0;
}
int main(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(threads + i, 0, work, 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    printf("%d\\n", count);
    fflush(stdout);
    int child = fork(), status, stops = 0;
    if (!child) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        getppid();
        _exit(7);
    }
    struct user_regs_struct regs = {0};
    waitpid(child, &status, 0);
    for (; !WIFEXITED(status); stops++) {
        ptrace(PTRACE_GETREGS, child, 0, &regs);
        ptrace(PTRACE_SYSCALL, child, 0, 0);
        waitpid(child, &status, 0);
    }
    printf("%d stops, call %lld, exit %d\\n", stops, regs.orig_rax, WEXITSTATUS(status));
    return 0;
}
"""
HOG = """
#include <stdlib.h>
#include <string.h>
int main(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }
"""
pytestmark = needs_busybox


@pytest.fixture(scope="module")
def furnished(booted):
    """The booted machine with busybox and the recorded programs, and that moment."""
    machine, moment = booted
    machine.restore(moment)
    machine.userland.install_busybox(BUSYBOX)
    for file in (RECORDINGS / "behaviour").iterdir():
        machine.userland.put_file(f"/b/{file.name}", file.read_bytes())
    return machine, machine.snapshot()


@pytest.fixture
def sh(furnished):
    """Runs a command by the machine's shell: (status, output)."""
    machine, moment = furnished
    machine.restore(moment)
    machine.findings.reports.clear()

    def run(command, **options):
        result = machine.userland.execute(
            "/bin/busybox",
            ["busybox", "sh", "-c", command],
            **{"stderr": STDOUT, "time_limit": 60, **options},
        )
        return result.status, result.stdout.decode("latin-1")

    run.machine = machine
    return run


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_session(sh, name):
    for step in CASES[name]["steps"]:
        before = sh.machine.printk.sequence
        status, output = sh(step["cmd"])
        dmesg = [
            f"<{record.level}>{line}"
            for record in sh.machine.printk.readable()
            if record.sequence >= before
            for line in record.kmsg().split("\\x0a")
        ]
        found = {"rc": status, "out": output, "dmesg": comparable(dmesg)}
        assert found == {"rc": step["rc"], "out": step["out"], "dmesg": comparable(step["dmesg"])}, step[
            "cmd"
        ]


def test_processes_pipes_and_signals(sh):
    status, output = sh(
        "echo hello | cat | wc -c; (exit 3); echo $?; sleep 100 & kill %1; wait $!; echo $?;"
        "trap 'echo caught' USR1; kill -USR1 $$; echo after; sleep 1; kill -SEGV $$"
    )
    assert output.splitlines() == ["6", "3", "Terminated", "143", "caught", "after"]
    assert status == 128 + 11


@needs_gcc
def test_faults_of_programs_are_the_kernels_business(sh, tmp_path):
    """A page that is not there yet, one of a handler that fixes it, and one that nobody fixes."""
    source, program = tmp_path / "fault.c", tmp_path / "fault"
    source.write_text(FAULTS)
    subprocess.run(["gcc", "-static", "-O1", "-o", program, source], check=True)
    sh.machine.userland.put_file("/fault", program.read_bytes())
    sh.machine.printk.clear()
    assert sh("/fault") == (139, "SIGSEGV at 0x123450, 2.5\nzeros 1\n")
    assert sh.machine.dmesg()[0].startswith("fault[")
    assert "segfault at 123456 ip " in sh.machine.dmesg()[0]
    assert " error 6 in fault[" in sh.machine.dmesg()[0]


@needs_gcc
def test_threads_and_ptrace(sh, tmp_path):
    """getppid() stops its caller on the way in and out, exit_group() on the way in."""
    source, program = tmp_path / "threads.c", tmp_path / "threads"
    source.write_text(THREADS)
    subprocess.run(["gcc", "-static", "-O1", "-o", program, source], check=True)
    sh.machine.userland.put_file("/threads", program.read_bytes())
    assert sh("/threads") == (0, "3000\n4 stops, call 231, exit 7\n")


def test_a_program_that_computes_lets_others_run(sh):
    assert sh("(while :; do :; done) & sleep 0.3; kill $!; wait; echo done") == (0, "done\n")


def test_files_and_devices_are_the_kernels_own(sh):
    _, output = sh(
        "mkdir -p /tmp/d; echo abc > /tmp/d/f; ln -s f /tmp/d/l; cat /tmp/d/l; stat -c %s:%a /tmp/d/f;"
        "dd if=/dev/zero bs=1k count=3 2>/dev/null | wc -c; grep -c ' /proc ' /proc/mounts; ls /nowhere"
    )
    assert output.splitlines() == ["abc", "4:644", "3072", "1", "ls: /nowhere: No such file or directory"]


def test_random_numbers_need_no_entropy(sh):
    """A disk that was used made the kernel count some, and patch a branch that is not there."""
    machine = sh.machine
    assert machine.call(machine.symbol("rng_is_initialized")) & 0xFF == 1
    machine.call(machine.symbol("_credit_init_bits"), 1000)
    assert sh("head -c 8 /dev/random | wc -c") == (0, "8\n")
    assert not machine.findings.reports


def test_what_a_program_reads_and_writes_is_the_hosts(sh):
    assert sh("cat; echo no >&2", stdin=b"yes\n", stderr=None) == (0, "yes\n")


def test_who_runs_it(sh):
    assert sh("id -u; cat /proc/1/environ", uid=1000) == (
        1,
        "1000\ncat: can't open '/proc/1/environ': Permission denied\n",
    )


def test_time_passes_without_being_waited_for(sh):
    assert sh("a=$(cut -d. -f1 /proc/uptime); sleep 1000; echo $(($(cut -d. -f1 /proc/uptime) - a))") == (
        0,
        "1000\n",
    )


def test_a_program_that_waits_for_one_with_an_alarm_is_not_forgotten(sh):
    assert sh("timeout 1000 sleep 5000; echo $?") == (0, "Terminated\n143\n")


def test_a_program_that_computes_for_ever_is_ended_and_leaves_nothing(sh):
    machine = sh.machine
    result = machine.userland.execute(
        "/bin/busybox", ["busybox", "sh", "-c", "while :; do :; done & while :; do :; done"], time_limit=0.3
    )
    assert (result.status, result.timed_out) == (128 + 9, True)
    assert not machine.user_mode.threads


@needs_gcc
def test_when_memory_is_used_up_the_kernel_ends_who_has_most(sh, tmp_path):
    source, program = tmp_path / "hog.c", tmp_path / "hog"
    source.write_text(HOG)
    subprocess.run(["gcc", "-static", "-O1", "-o", program, source], check=True)
    sh.machine.userland.put_file("/hog", program.read_bytes())
    before = sh.machine.usage.limits
    sh.machine.usage.limits = Limits(memory=6 << 20)
    try:
        assert sh("/hog; echo $?; sleep 1; echo still here") == (0, "Killed\n137\nstill here\n")
    finally:
        sh.machine.usage.limits = before
    assert any("Out of memory: Killed process" in line and "(hog)" in line for line in sh.machine.dmesg())
    assert [report["kind"] for report in sh.machine.findings.reports] == ["limit"]


def test_what_is_no_program_is_refused_in_the_kernels_words(sh):
    sh.machine.userland.put_file("/tmp/text", b"plain text")
    with pytest.raises(KernelError) as refused:
        sh.machine.userland.execute("/tmp/text", ["text"])
    assert refused.value.errno == 8  # ENOEXEC
    assert sh("echo still here") == (0, "still here\n")


def test_a_device_of_the_host_is_not_bound(sh):
    with pytest.raises(KernelError, match="Invalid argument"):
        sh.machine.userland.bind(Path("/dev/zero"), "/mnt/zero")


def test_a_bound_file_is_a_copy_unless_it_is_asked_for(sh, tmp_path):
    kept, given = tmp_path / "kept", tmp_path / "given"
    for file in (kept, given):
        file.write_text("before\n")
    sh.machine.userland.bind(kept, "/mnt/kept")
    sh.machine.userland.bind(given, "/mnt/given", "rw")
    sh("echo after > /mnt/kept; echo after > /mnt/given")
    sh.machine.userland.give_back()
    assert (kept.read_text(), given.read_text()) == ("before\n", "after\n")


def test_ping_by_a_network_card_of_python(sh, distribution_module):
    """Busybox, the kernel's network, Debian's driver, rings in memory, interrupts, and back."""
    card = sh.machine.device(**E1000.wiring)(E1000(peer="10.0.0.1"))
    sh.machine.insmod(distribution_module("drivers/net/ethernet/intel/e1000/e1000"))
    status, output = sh(
        "ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0; sleep 3;"
        "ping -c 1 10.0.0.1; ping -c 1 -W 1 10.0.0.9"
    )
    assert status == 1
    assert "1 packets transmitted, 1 packets received, 0% packet loss" in output
    assert "1 packets transmitted, 0 packets received, 100% packet loss" in output
    assert card.frames
