"""The debugger's engine: every place can be stopped at, and be gone back to, exactly as it was."""

from functools import cache

import pytest

from kmod_emu import Kernel, samples
from kmod_emu.debug.debugger import Debugger, Reason
from kmod_emu.machine.asm import assemble
from tests.module.builder import ALLOC, EXEC, WRITE, Builder

LOOP = 30_000  # turns of the loop in `counting`, of three instructions


@cache
def built(source: str, data: int = 64) -> bytes:
    """A module whose init is this assembly; RBX is the address of its data."""
    module = Builder("6.1", "tiny")
    text = module.section(".init.text", flags=ALLOC | EXEC, align=16)
    module.section(".data", bytes(data), flags=ALLOC | WRITE, align=16)
    module.define("data", ".data")
    text.data += b"\x48\xc7\xc3\0\0\0\0"  # mov rbx, data
    text.relas.append((3, 11, "data", 0))
    text.data += assemble(source)
    module.entry("init", ".init.text")
    return module.build()


def counting() -> bytes:
    return built(f"mov ecx, {LOOP}; l: inc dword ptr [rbx]; dec ecx; jne l; nop; xor eax, eax; ret")


@pytest.fixture
def debugger():
    debugger = Debugger(Kernel())
    yield debugger
    debugger.close()


def walk(debugger: Debugger, count: int) -> list:
    """Step, and note every place and the registers there."""
    seen = []
    for _ in range(count):
        if debugger.ended:
            break
        seen.append((debugger.place, debugger.registers()))
        debugger.stepi()
    return seen


@pytest.mark.parametrize("name", ["hello", "completion", "kthread", "timer", "kprobe", "waitqueue"])
def test_every_place_is_found_again(debugger, name):
    debugger.start(samples.path(name))
    for place, registers in walk(debugger, 150)[::-3]:
        debugger.go(place)
        assert debugger.registers() == registers


def test_stepping_back_undoes_each_instruction(debugger):
    debugger.start(samples.path("hello"))
    seen = walk(debugger, 40)
    for _, registers in reversed(seen):
        assert debugger.reverse_stepi().reason is Reason.STEPPED
        assert debugger.registers() == registers
    assert debugger.reverse_stepi().reason is Reason.BEGINNING


def test_a_closed_debugger_leaves_the_machine_as_it_was():
    kernel = Kernel()
    before = kernel.held()
    debugger = Debugger(kernel)
    debugger.start(samples.path("hello"))
    debugger.stepi(5)
    debugger.close()
    assert (kernel.modules, kernel.held()) == ([], before)
    kernel.insmod(samples.path("hello"))
    assert kernel.dmesg()[-1] == "Hello world!"


def test_breakpoints_hit_forwards_and_backwards(debugger):
    debugger.start(samples.path("lists"))
    printk = debugger.break_on_call("_printk")
    seen = []
    while debugger.continue_().reason is Reason.BREAKPOINT:
        assert debugger.stop.points == (printk,)
        seen.append(debugger.registers())
    assert printk.hits == len(seen) == 4
    for registers in reversed(seen):
        debugger.reverse_continue()
        assert debugger.registers() == registers
    assert debugger.reverse_continue().reason is Reason.BEGINNING


def test_a_condition_decides(debugger):
    start = debugger.start(counting()).address
    debugger.break_at(start + 14, condition=lambda: debugger.registers()["rcx"] == LOOP - 100)
    debugger.continue_()
    assert debugger.registers()["rcx"] == LOOP - 100
    for _ in range(3):
        debugger.reverse_stepi()
    assert debugger.registers()["rcx"] == LOOP - 99


def test_back_from_a_place_that_was_run_to_at_full_speed(debugger):
    start, beginning = debugger.start(counting()).address, debugger.place.steps
    debugger.break_at(start + 18)
    debugger.continue_()
    data = debugger.registers()["rbx"]
    assert debugger.place.steps == beginning + 2 + 3 * LOOP
    for _ in range(3):
        debugger.reverse_stepi()
    assert debugger.memory.read_u32(data) == LOOP - 1


def test_a_watchpoint_tells_old_and_new_and_goes_back_to_the_writer(debugger):
    start = debugger.start(
        built("mov eax, 5; mov [rbx+8], eax; mov [rbx], eax; mov [rbx+8], eax; nop; ret")
    ).address
    debugger.stepi()
    data = debugger.registers()["rbx"]
    changed = debugger.watch(data + 8, 4)
    debugger.continue_()
    stop = debugger.stop
    assert (stop.reason, stop.points, stop.old, stop.new) == (
        Reason.WATCHPOINT, (changed,), bytes(4), b"\5\0\0\0",
    )  # fmt: skip
    assert debugger.reverse_continue().address == start + 12
    assert debugger.continue_().reason is Reason.WATCHPOINT
    assert debugger.continue_().reason is Reason.ENDED
    assert debugger.reverse_continue().address == start + 12  # the first write changed it
    assert debugger.read(data + 8, 4) == bytes(4)
    debugger.delete(changed)
    debugger.continue_()
    debugger.last_write(data + 8, 4)  # the second wrote the same value
    assert debugger.stop.address == start + 17


def test_what_the_user_changed_stays_changed_when_the_run_is_repeated(debugger):
    debugger.start(counting())
    debugger.stepi(2)
    debugger.set_register("rcx", 3)
    data = debugger.registers()["rbx"]
    debugger.write(data, b"\x10")
    debugger.stepi(3)
    assert debugger.memory.read_u32(data) == 0x11
    debugger.reverse_stepi()
    debugger.reverse_stepi()
    assert (debugger.memory.read_u32(data), debugger.registers()["rcx"]) == (0x11, 3)
    debugger.reverse_stepi()
    assert debugger.memory.read_u32(data) == 0x10
    for _ in range(2):
        debugger.reverse_stepi()
    assert debugger.memory.read_u32(data) == 0


def test_an_oops_is_caught_before_it_happens(debugger):
    debugger.start(samples.path("oops_null"))
    debugger.catch("oops")
    stop = debugger.continue_()
    assert (stop.reason, stop.detail) == (Reason.CATCHPOINT, "the code writes a NULL pointer")
    assert "Oops" not in "".join(debugger.kernel.dmesg())
    assert debugger.continue_().reason is Reason.ENDED
    assert "oops" in debugger.kernel.findings.reports[0]["kind"]
