"""A module that means harm: whatever it does, there is an answer, in time, and the host is as it was.

`attacks.ko` does one attack at a time. After each, the tools still answer: with what there is, or with an
error that says why; never with a Python exception of another kind.
"""

from contextlib import suppress
from pathlib import Path

import pytest

from kmod_emu import Kernel, KernelError, Killed, samples
from kmod_emu.errors import SleepsForever
from kmod_emu.kernel.layout import ARGUMENT_PAGE, DATA_BASE, PAGE_OFFSET, START_KERNEL_MAP, TRAP_BASE
from kmod_emu.kernel.limits import Limits
from kmod_emu.kmod.lsmod import lsmod
from kmod_emu.machine.traps import PORT
from kmod_emu.uapi import errno

ATTACKS = (Path(__file__).parent / "attacks.ko").read_bytes()
LIMITS = Limits(time=0.3, instructions=200_000, memory=8 << 20, tasks=60, files=300, dmesg=1 << 16)
LOADED, ENDED, SLEEPS = "loaded", "ended", "sleeps for ever"


@pytest.fixture(scope="module")
def booted():
    kernel = Kernel(limits=LIMITS)
    return kernel, kernel.snapshot()


@pytest.fixture
def machine(booted):
    """A machine as after boot."""
    kernel, clean = booted
    kernel.restore(clean)
    kernel.findings.reports.clear()
    kernel.cpu.watchdog.limit = LIMITS.time
    return kernel


def load(kernel: Kernel, attack: str, **parameters: object) -> str | int:
    """What comes of the attack: it loads, or is ended, or the errno that it returned."""
    words = [f"attack={attack}", *(f"{name}={value}" for name, value in parameters.items())]
    try:
        kernel.insmod(ATTACKS, " ".join(words))
    except Killed:
        return ENDED
    except SleepsForever:
        return SLEEPS
    except KernelError as error:
        return error.errno
    return LOADED


def survey(kernel: Kernel) -> None:
    """Look at the machine, as people would; the machine may be broken, the emulator is not."""
    kernel.cpu.watchdog.limit = 0.05  # some are busy for ever
    for look in (
        lambda: kernel.advance(0.001),
        lambda: lsmod(kernel),
        lambda: kernel.cat("/proc/modules"),
        lambda: kernel.cat("/proc/kallsyms"),
        lambda: kernel.insmod(samples.path("hello")),
        lambda: kernel.rmmod("hello"),
        lambda: kernel.rmmod("attacks"),
        kernel.save_tables,
    ):
        with suppress(KernelError):
            look()
    assert all(line.isprintable() or "\t" in line for line in kernel.dmesg())
    assert all(report["text"].isprintable() for report in kernel.findings.reports)


def said(kernel: Kernel) -> str:
    """All reports."""
    return "\n".join(report["text"] for report in kernel.findings.reports)


@pytest.mark.parametrize(
    ("attack", "outcome", "report"),
    [
        # the processor
        (
            "loop",
            ENDED,
            "ran 200000 instructions (--limits instructions=... gives more), at loop+",
        ),
        ("loop_without_interrupts", ENDED, "at loop_without_interrupts+"),
        ("loop_delay", ENDED, "at loop_delay+"),
        ("loop_construct", ENDED, "at loop_construct+"),
        ("loop_schedule", (ENDED, SLEEPS), ""),
        ("loop_resched", SLEEPS, ""),
        ("loop_sleep", SLEEPS, ""),
        ("halted", ENDED, "at halted+"),
        ("recurse", ENDED, "the kernel stack of 16 KiB is used up"),
        ("privileged", ENDED, "int3 at privileged+"),
        ("without_paging", errno.ECANCELED, ""),
        ("no_stack", ENDED, "where nothing fits"),
        ("all_ports", errno.ECANCELED, ""),
        # tasks and events
        ("fork_bomb", LOADED, "starts a task more than the 60 there are"),
        ("sleeping_threads", errno.EAGAIN, "starts a task more than the 60 there are"),
        ("ping_pong", LOADED, ""),
        ("tasklets", LOADED, ""),
        ("works", LOADED, ""),
        ("timers", LOADED, ""),
        ("hrtimers", LOADED, ""),
        # memory
        ("eat_pages", LOADED, "bytes where"),
        ("too_large", errno.ENOMEM, "bytes where"),
        ("self_modifying", ENDED, "whose page forbids it"),
        ("self_modifying_unprotected", 43, ""),
        # text
        ("flood", ENDED, "prints more than 65536 bytes to the log; further messages are dropped"),
        ("warn_flood", ENDED, "WARN at"),
        ("formats", ENDED, ""),
        ("format_recursion", ENDED, ""),
        ("format_deep", ENDED, "the kernel's stack would overflow"),
        ("escapes", ENDED, r"kernel panic: \x1b]0;panic\x07"),
        # what Python reads
        ("module_list_cycle", LOADED, ""),
        ("module_list_wild", LOADED, ""),
        ("forged_module", LOADED, ""),
        ("forged_module_zero", LOADED, ""),
        ("task_list_cycle", LOADED, ""),
        ("forged_task", LOADED, ""),
        ("forged_cred", LOADED, ""),
        ("wrong_current", LOADED, ""),
        # files
        ("eat_descriptors", errno.ENFILE, "opens a file more than the 300 there are"),
        ("eat_files", errno.ENFILE, "opens a file more than the 300 there are"),
        ("uevents", ENDED, "at uevents+"),
        ("many_files", ENDED, "at many_files+"),
        ("request_itself", LOADED, ""),
        ("exit", errno.EINVAL, ""),
    ],
)
def test_attack(machine, attack, outcome, report):
    assert load(machine, attack) in (outcome if isinstance(outcome, tuple) else (outcome,))
    machine.advance(0.001)
    assert report in said(machine)
    survey(machine)


@pytest.mark.parametrize("attack", ["eat_kmalloc", "eat_vmalloc", "eat_everything"])
def test_who_eats_everything_leaves_what_the_kernel_keeps(attack):
    kernel = Kernel(limits=Limits(memory=1 << 20))
    assert load(kernel, attack) == LOADED
    assert "--limits memory=... gives more" in said(kernel)
    assert kernel.cat("/proc/modules").startswith(b"attacks ")
    kernel.rmmod("attacks")


PLACES = {
    "the base kernel's text": START_KERNEL_MAP,
    "trap slots": TRAP_BASE,
    "the argument page": ARGUMENT_PAGE,
    "exported data": DATA_BASE,
    "the first pages of RAM": PAGE_OFFSET,
    "nothing": 0x4141_4141_0000,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", ["write_at", "overwrite_at", "jump_to", "return_to_users"])
def test_a_place_that_is_the_kernels(machine, attack, place):
    outcome = load(machine, attack, at=hex(PLACES[place]))
    if attack == "write_at":
        assert (outcome == ENDED) == (place in ("the base kernel's text", "trap slots", "nothing"))
    survey(machine)


@pytest.mark.parametrize("offset", range(1, 16))
def test_a_jump_into_the_middle_of_a_trap_slot(machine, offset):
    load(machine, "jump_to", at=hex(machine.symbol("_printk") + offset))
    survey(machine)


@pytest.mark.parametrize("offset", range(0, 96, 5))
def test_a_jump_into_the_traps_tails(machine, offset):
    load(machine, "jump_to", at=hex(TRAP_BASE + offset))
    survey(machine)


def test_forged_calls_of_every_handler(booted):
    """`out` to our port, with a number and arguments that nobody wrote by a call."""
    kernel, clean = booted
    count = len(kernel.cpu.traps)
    for number in [*range(0, count, 37), count, count + 1, 0xFFFF_FFFF]:
        kernel.restore(clean)
        load(kernel, "forged_trap", at=hex(ARGUMENT_PAGE), port=PORT, number=number)
    survey(kernel)


@pytest.mark.parametrize("name", ["endless", "giant", "lying"])
def test_a_file_without_an_end(machine, name, monkeypatch):
    monkeypatch.setattr("kmod_emu.user.files._ENDLESS", 1 << 18)
    assert load(machine, f"{name}_file") == LOADED
    with pytest.raises(KernelError) as refused:
        machine.cat(f"/proc/{name}")
    assert refused.value.errno in (errno.EFBIG, errno.EINTR, errno.ENOMEM)
    survey(machine)


def test_an_exit_that_never_returns(machine):
    with suppress(KernelError):
        machine.insmod(ATTACKS, "attack=tasklets")
    survey(machine)


def test_nothing_of_the_host_is_reached(machine, tmp_path):
    """Files, programs, commands in names: what the machine has is not what the host has."""
    victim = tmp_path / "victim"
    assert load(machine, "outside", path=victim) == errno.ENOENT or not victim.exists()
    victim.write_text("secret")
    machine.restore(machine.snapshot())
    load(machine, "outside", path=victim)
    assert victim.read_text() == "secret"
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]
