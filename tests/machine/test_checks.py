"""Stops from another thread are exact, since Unicorn does not look for one behind each access to memory."""

import threading

import pytest

from kmod_emu.machine.checks import Checks
from kmod_emu.machine.cpu import StopReason

TURNS = 5_000_000


@pytest.fixture
def sparse(machine):
    """A machine whose Unicorn looks for a stop only where blocks begin."""
    if machine.cpu._checks.everywhere:
        pytest.skip("no switch is found in this library of Unicorn's")
    return machine


def test_an_instruction_that_changes_memory_is_never_run_twice(sparse):
    """Of stops from the watchdog's thread in such a loop, half had done a store, and did it once more."""
    cpu, ended, stops = sparse.cpu, threading.Event(), 0

    def expire():
        while not ended.wait(0.0002):
            cpu._expire()

    sparse.put(
        "next: inc qword ptr [rbx]; add qword ptr [rbx + 8], 3; xadd [rbx + 16], rdx; dec rcx; jnz next; hlt"
    )
    for name, value in {"rbx": sparse.DATA, "rcx": TURNS, "rdx": 0}.items():
        cpu.write(name, value)
    thread = threading.Thread(target=expire)
    thread.start()
    try:
        stop = cpu.run(sparse.CODE)
        while cpu.read("rcx"):
            stops += 1
            stop = cpu.run(stop.rip)
    finally:
        ended.set()
        thread.join()
    assert stops
    assert sparse.memory.read_u64(sparse.DATA) == TURNS
    assert sparse.memory.read_u64(sparse.DATA + 8) == 3 * TURNS


def test_hooks_on_instructions_can_stop_between_two_of_them(sparse):
    """For them Unicorn has to look everywhere again, also in code that was translated before."""
    cpu, seen = sparse.cpu, []
    sparse.run("mov eax, 1; mov ecx, 2; mov edx, 3; hlt")

    def reached():
        seen.append(cpu.read("rax"))
        cpu.stop_at_trap()

    place = sparse.CODE + 5
    cpu.write("rcx", 0)
    end = cpu.before(place, reached)
    assert cpu._checks.everywhere
    stop = cpu.run(sparse.CODE)
    assert (seen, stop.rip, cpu.read("rcx")) == ([1], place, 0)
    end()
    assert cpu.run(stop.rip).reason is StopReason.HALT


def test_following_code_lasts_as_long_as_somebody_does(sparse):
    cpu, places = sparse.cpu, []
    end = cpu.follow(sparse.CODE, sparse.CODE + 0x100, places.append)
    sparse.run("nop; nop; hlt")
    assert cpu._checks.everywhere
    end()
    assert not cpu._checks.everywhere
    assert places == [sparse.CODE, sparse.CODE + 1, sparse.CODE + 2]
    assert sparse.run("nop; nop; hlt", count=1).rip == sparse.CODE + 1
    assert cpu._checks.everywhere
    sparse.run("hlt")
    assert not cpu._checks.everywhere


def test_without_the_switch_all_is_as_ever(machine, monkeypatch):
    monkeypatch.setattr("kmod_emu.machine.checks._FUNCTION", "no_such_function")
    checks = Checks(machine.cpu._uc)
    assert checks.everywhere
    checks.look(everywhere=False)
    assert checks.everywhere
