"""The text of oopses and warnings, line by line (arch/x86/kernel/dumpstack.c, process_64.c, mm/fault.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.unwind import call_trace
from kmod_emu.machine.memory import Access, PageFault

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.machine.cpu import Stop

Line = tuple[int, str]

CUT_HERE = "------------[ cut here ]------------"
END_TRACE = "---[ end trace 0000000000000000 ]---"
MACHINE = "kmod-emu virtual machine"
HARDWARE = f"Hardware name: {MACHINE}"
_PROLOGUE, _EPILOGUE = 42, 21  # bytes of code shown before and after RIP
_CR0 = 0x8005_0033


def page_fault_lines(kernel: KernelCore, fault: PageFault, address: int) -> tuple[list[Line], int]:
    """The lines above the one that counts the oops, and the processor's error code."""
    code = (1 if fault.present else 0) | {Access.READ: 0, Access.WRITE: 2, Access.FETCH: 0x10}[fault.access]
    access = {Access.READ: "read access", Access.WRITE: "write access", Access.FETCH: "instruction fetch"}
    lines: list[Line] = []
    if fault.access is Access.FETCH and fault.present:
        uid = kernel.sched.current.who("uid")
        lines.append((2, f"kernel tried to execute NX-protected page - exploit attempt? (uid: {uid})"))
    what = "kernel NULL pointer dereference" if address < 4096 else "unable to handle page fault for"
    lines.append((1, f"BUG: {what}{',' if address < 4096 else ''} address: {address:016x}"))
    lines.append((1, f"#PF: supervisor {access[fault.access]} in kernel mode"))
    reason = "permissions violation" if fault.present else "not-present page"
    lines.append((1, f"#PF: error_code(0x{code:04x}) - {reason}"))
    lines.append((6, "PGD 0 P4D 0 "))
    return lines, code


def die_line(kernel: KernelCore, what: str, number: int, code: int = 0) -> Line:
    """The line that counts the oopses of this boot (__die_header)."""
    profile = kernel.profile
    later, latest = profile.has("module.mem"), profile.has("bug_entry.format_disp")
    preempt = " PREEMPT" if profile.preempt_dynamic and not latest else ""
    return 4, f"{'Oops: ' if later else ''}{what}: {code:04x} [#{number}]{preempt} SMP NOPTI"


def fault_address(kernel: KernelCore, stop: Stop) -> int:
    """The exact address of a data access: the MMU only knows the page, the instruction knows the rest."""
    assert stop.fault is not None
    page, rip = stop.fault.address & ~0xFFF, stop.rip
    if stop.fault.access is Access.FETCH:
        return rip
    from kmod_emu.machine.operands import memory_operands

    try:
        code = kernel.memory.read(rip, 15)
    except PageFault:
        return stop.fault.address
    for address, size in memory_operands(code, rip, kernel.cpu.registers()):
        if address & ~0xFFF == page:
            return address
        if (address + size - 1) & ~0xFFF == page:
            return page
    return stop.fault.address


def state_lines(
    kernel: KernelCore,
    task: Task,
    stop: Stop,
    cr2: int = 0,
    *,
    first_modules: bool = False,
) -> list[Line]:
    """CPU, RIP, code, registers, call trace, modules; `first_modules` as WARN orders them."""
    modules = [(4, f"Modules linked in:{kernel.modules_text()}")]
    lines: list[Line] = modules if first_modules else []
    lines = [*lines, *_machine_lines(kernel, task), *register_lines(kernel, stop, cr2)]
    lines += trace_lines(kernel, task)
    if not first_modules:
        lines += modules
    return lines


def dump_stack(kernel: KernelCore) -> None:
    """Print the CPU and call trace of the task that runs (lib/dump_stack.c)."""
    kernel.printk.say(stack_lines(kernel, kernel.sched.current))


def stack_lines(kernel: KernelCore, task: Task) -> list[Line]:
    """What dump_stack() prints."""
    return [*_machine_lines(kernel, task), *trace_lines(kernel, task)]


def _machine_lines(kernel: KernelCore, task: Task) -> list[Line]:
    profile = kernel.profile
    later = profile.has("module.mem")
    uid = f" UID: {task.who('uid')}" if later else ""
    who = f"CPU: 0{uid} PID: {task.pid} Comm: {task.comm} {kernel.taint}"
    lines = [f"{who} {profile.release} #1  {build(profile.version)}"]
    if later and kernel.taint.mask:
        lines.append(kernel.taint.verbose())
    return [(4, line) for line in (*lines, HARDWARE)]


def trace_lines(kernel: KernelCore, task: Task) -> list[Line]:
    """The call trace with its frame."""
    frames = [(4, frame.text(kernel)) for frame in call_trace(kernel, task)]
    return [(4, "Call Trace:"), (4, " <TASK>"), *frames, (4, " </TASK>")]


def build(version: str) -> str:
    """The package version in `uname -v`, which Debian's oopses show behind the build number.

    >>> build("#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)")
    'Debian 6.1.192-2'
    """
    return version[max(version.find("Debian"), 0) :].partition(" (")[0]


def register_lines(kernel: KernelCore, stop: Stop, cr2: int) -> list[Line]:
    """RIP, the code around it and all registers (show_regs)."""
    r = kernel.cpu.registers()
    groups = ("rax rbx rcx", "rdx rsi rdi", "rbp r8 r9", "r10 r11 r12", "r13 r14 r15")
    lines = [f"RIP: 0010:{kernel.describe(stop.rip)}", code_line(kernel, stop.rip)]
    lines.append(f"RSP: 0018:{r['rsp']:016x} EFLAGS: {r['eflags']:08x}")
    lines += [" ".join(f"{_name(name)}: {r[name]:016x}" for name in group.split()) for group in groups]
    lines.append(f"FS:  {0:016x}(0000) GS:{kernel.percpu.base:016x}(0000) knlGS:{0:016x}")
    lines.append(f"CS:  0010 DS: 0000 ES: 0000 CR0: {_CR0:016x}")
    lines.append(f"CR2: {cr2:016x} CR3: {0:016x} CR4: {0x751EF0:016x}")
    return [(4, line) for line in lines]


def _name(register: str) -> str:
    digits = register[1:]
    return f"R{int(digits):02d}" if digits.isdigit() else register.upper()


def code_line(kernel: KernelCore, rip: int) -> str:
    """The bytes around RIP, the faulting one in angle brackets."""
    try:
        code = kernel.memory.read(rip - _PROLOGUE, _PROLOGUE + _EPILOGUE + 1)
    except PageFault:
        return f"Code: Unable to access opcode bytes at {(rip - _PROLOGUE) & (1 << 64) - 1:#x}."
    shown = [f"<{byte:02x}>" if index == _PROLOGUE else f"{byte:02x}" for index, byte in enumerate(code)]
    return "Code: " + " ".join(shown)
