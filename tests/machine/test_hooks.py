"""How Unicorn calls Python: as C does, or as its binding does where that is not to be had."""

import pytest

from kmod_emu.machine import hooks
from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.traps import PORT

TRAP = f"mov eax, 0; out {PORT:#x}, eax; jmp next; next: hlt"


@pytest.fixture(params=["as C does", "as the binding does"])
def machine(request, monkeypatch, new_machine):
    if request.param == "as the binding does":
        monkeypatch.setattr(hooks, "_uclib", None)
    return new_machine()


def test_traps_and_misses(machine):
    calls = []
    machine.cpu.traps = [lambda: calls.append(1)]
    machine.cpu.after_traps(lambda: calls.append(2))
    stop = machine.run(f"mov [rbx], rax; mov rcx, [rbx]; {TRAP}", rbx=machine.DATA, rax=77)
    assert (stop.reason, machine.cpu.read("rcx"), calls) == (StopReason.HALT, 77, [1, 2])
    machine.cpu.after_traps(None)
    assert machine.run(TRAP).reason is StopReason.HALT
    assert calls == [1, 2, 1]


def test_a_page_that_is_not_there(machine):
    stop = machine.run("nop; mov rax, [rbx]", rbx=0x1000)
    assert (stop.reason, stop.rip - machine.CODE, stop.fault.address) == (StopReason.FAULT, 1, 0x1000)


def fail(*_):
    raise RuntimeError("a mistake")


@pytest.mark.parametrize("where", ["the handler", "what comes after it", "the MMU"])
def test_mistakes_are_raised_by_run(machine, where):
    machine.cpu.traps = [fail if where == "the handler" else lambda: None]
    if where == "what comes after it":
        machine.cpu.after_traps(fail)
    if where == "the MMU":
        machine.memory.fill = fail
    with pytest.raises(RuntimeError, match="a mistake"):
        machine.run(TRAP)
