"""Ring 3: what a program can do by itself, and what leaves it."""

import struct

import pytest

from kmod_emu.machine.asm import assemble
from kmod_emu.machine.cpu import Cpu, StopReason
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE, Access, AddressSpace, Memory
from kmod_emu.machine.ring3 import SYSRET, Ring3

KERNEL, CODE, DATA = 0xFFFF_FFFF_8000_0000, 0x40_0000, 0x50_0000


class Machine:
    def __init__(self):
        self.memory = Memory()
        self.arena = self.memory.add_arena("kernel", KERNEL, 1 << 20)
        self.memory.protect(KERNEL, PAGE_SIZE, READ | EXEC)
        self.memory.protect(KERNEL + PAGE_SIZE, 8 * PAGE_SIZE, READ | WRITE)
        self.memory.write(KERNEL, SYSRET)
        self.cpu = Cpu(self.memory)
        self.ring3 = Ring3(self.cpu, KERNEL)
        self.memory.user = AddressSpace()
        self.memory.user.map(CODE, self.arena.paddr + PAGE_SIZE, READ | EXEC)
        self.memory.user.map(DATA, self.arena.paddr + 2 * PAGE_SIZE, READ | WRITE)

    def program(self, code: str | bytes):
        raw = code if isinstance(code, bytes) else assemble(code, CODE)
        self.memory.write(KERNEL + PAGE_SIZE, raw.ljust(PAGE_SIZE, b"\xcc"))
        context = self.ring3.context()
        context["rip"], context["rsp"] = CODE, DATA + PAGE_SIZE
        return context

    def run(self, code: str | bytes, **limits):
        context = self.program(code)
        return context, self.ring3.run(context, **limits)


@pytest.fixture
def machine():
    return Machine()


def test_a_system_call_leaves_the_program_behind_the_instruction(machine):
    context, stop = machine.run("mov eax, 39; syscall; mov eax, 1; syscall")
    assert (stop.reason, stop.rip, context["rax"]) == (StopReason.SYSCALL, CODE + 7, 39)
    context["rbx"] = 0x1234_5678_9ABC_DEF0
    stop = machine.ring3.run(context)
    assert (stop.reason, context["rax"], context["rbx"]) == (StopReason.SYSCALL, 1, 0x1234_5678_9ABC_DEF0)


@pytest.mark.parametrize(
    "code",
    [
        b"\xf4",  # hlt
        b"\xfa",  # cli
        b"\x0f\x20\xd8",  # mov rax, cr3
        b"\x0f\x22\xd8",  # mov cr3, rax
        b"\x0f\x32",  # rdmsr
        b"\x0f\x30",  # wrmsr
        b"\x0f\x01\xf8",  # swapgs
        b"\x48\x0f\x07",  # sysret
        b"\x0f\x01\x14\x24",  # lgdt
        b"\x0f\x01\x3c\x24",  # invlpg
        b"\x0f\x09",  # wbinvd
        b"\x0f\x06",  # clts
        b"\xe7\x6b\xf7\xf1",  # out, the instruction of traps
    ],
)
def test_privileged_instructions_are_refused(machine, code):
    called = []
    machine.cpu.traps = [lambda: called.append("trap")] * 4
    _, stop = machine.run(code)
    assert (stop.reason, stop.vector, called) == (StopReason.EXCEPTION, 13, [])


@pytest.mark.parametrize(
    ("code", "access"),
    [
        (f"mov rax, {KERNEL + PAGE_SIZE:#x}; mov rax, [rax]", Access.READ),
        (f"mov rax, {KERNEL + PAGE_SIZE:#x}; mov [rax], rax", Access.WRITE),
        (f"mov rax, {KERNEL:#x}; jmp rax", Access.FETCH),
        (f"mov rax, {CODE:#x}; mov [rax], rax", Access.WRITE),
        (f"mov rax, {DATA:#x}; jmp rax", Access.FETCH),
        ("mov rax, [0x10]", Access.READ),
    ],
)
def test_a_program_reaches_its_own_pages_only(machine, code, access):
    _, stop = machine.run(code)
    assert stop.reason is StopReason.FAULT
    assert stop.fault.access is access


def test_exceptions_one_after_another(machine):
    """None was ever delivered, so the processor would make the second a double fault."""
    for _ in range(3):
        _, stop = machine.run("xor ecx, ecx; div ecx")
        assert (stop.vector, stop.rip) == (0, CODE + 2)
        context, stop = machine.run("mov eax, 5; syscall")
        assert (stop.reason, context["rax"]) == (StopReason.SYSCALL, 5)
    assert machine.run(b"\x0f\x0b")[1].vector == 6
    assert machine.run(b"\xcc")[1].vector == 3
    assert machine.run(b"\xcd\x80")[1].vector == 0x80


def test_a_non_canonical_address_is_a_general_protection_fault(machine):
    _, stop = machine.run("mov rax, 0x8000000000000000; mov rax, [rax]")
    assert (stop.reason, stop.vector) == (StopReason.EXCEPTION, 13)


def test_contexts_keep_all_registers_apart(machine):
    code = (
        "movq xmm3, rax; fld1; fldpi; mov rbx, rax; syscall; movq rcx, xmm3; fstp qword ptr [rsp-8]; syscall"
    )
    one, other = machine.program(code), machine.program(code)
    one["rax"], other["rax"] = 11, 22
    one["fs_base"], other["fs_base"] = 0x7000, 0x8000
    machine.ring3.run(one)
    machine.ring3.run(other)
    copy = machine.ring3.context(one)
    for context in (copy, other, one):
        machine.ring3.run(context)
        pi = struct.unpack("<d", machine.memory.read(DATA + PAGE_SIZE - 8, 8))[0]
        assert round(pi, 6) == 3.141593
    assert (one["rcx"], other["rcx"], copy["rcx"]) == (11, 22, 11)
    assert (one["fs_base"], other["fs_base"]) == (0x7000, 0x8000)


def test_floating_point_state_is_saved_as_fxsave_does(machine):
    context, _ = machine.run(
        "mov rax, 0x1122334455667788; movq xmm1, rax; movlhps xmm1, xmm1; fld1; fldpi; syscall; "
        "fxsave [rsp-1024]; movq rbx, xmm1; syscall"
    )
    area = machine.ring3.fxsave(context)
    other = machine.ring3.context()
    other["rip"], other["rsp"] = context["rip"], context["rsp"]
    machine.ring3.fxrstor(other, area)
    machine.ring3.run(other)
    stored = machine.memory.read(DATA + PAGE_SIZE - 1024, 512)
    assert other["rbx"] == 0x1122334455667788
    for start, end in ((0, 5), (24, 28), (32, 64), (160, 416)):  # control, MXCSR, ST0 and ST1, SSE
        assert area[start:end] == stored[start:end]


def test_the_kernel_s_registers_survive(machine):
    machine.cpu.write("rbx", 99)
    machine.cpu.set_gs_base(0x1234)
    machine.run("mov rbx, 1; syscall")
    assert machine.cpu.read("rbx") == 99


def test_a_page_that_is_missing_is_brought_in_without_a_stop(machine):
    space, wanted = machine.memory.user, []

    def fault(address: int, access: Access) -> bool:
        wanted.append((address, access))
        space.map(address & -PAGE_SIZE, machine.arena.paddr + 4 * PAGE_SIZE, READ | WRITE)
        return True

    space.fault = fault
    context, stop = machine.run("mov rax, 0x600010; mov [rax], rax; mov rbx, [rax]; syscall")
    assert (stop.reason, context["rbx"]) == (StopReason.SYSCALL, 0x600010)
    assert wanted == [(0x600000, Access.WRITE)]


def test_code_that_never_ends_is_stopped_by_a_budget(machine):
    context, stop = machine.run(b"\xff\xc0\xeb\xfc", count=1001)
    assert (stop.reason, context["rax"]) == (StopReason.COUNT, 501)
