"""Faults of guest code: what dmesg says, who dies, and that the machine lives on."""

import re
import struct

import pytest

from kmod_emu import Killed
from kmod_emu.kernel.faults import Tables
from kmod_emu.kernel.oops import SIGKILL, SIGSEGV
from kmod_emu.kernel.taint import Taint


def dies(guest, source, *arguments):
    with pytest.raises(Killed) as caught:
        guest.call(source, *arguments)
    return caught.value


@pytest.mark.parametrize(
    ("source", "address", "message", "code"),
    [
        ("mov rax, [rdi]; ret", 0, "kernel NULL pointer dereference, address: 0000000000000000", 0),
        ("mov rax, [rdi + 0x18]; ret", 0, "kernel NULL pointer dereference, address: 0000000000000018", 0),
        ("mov [rdi], rax; ret", 0x2008, "unable to handle page fault for address: 0000000000002008", 2),
        ("jmp rdi", 0, "kernel NULL pointer dereference, address: 0000000000000000", 0x10),
        ("jmp rdi", 0x5000, "unable to handle page fault for address: 0000000000005000", 0x10),
    ],
)
def test_page_fault(kernel, guest, source, address, message, code):
    error = dies(guest, source, address)
    assert error.signal == SIGKILL
    lines = kernel.dmesg()
    assert lines[0] == f"BUG: {message}"
    kind = {0: "read access", 2: "write access", 0x10: "instruction fetch"}[code]
    assert lines[1] == f"#PF: supervisor {kind} in kernel mode"
    assert lines[2] == f"#PF: error_code(0x{code:04x}) - not-present page"
    assert f"Oops: {code:04x} [#1] PREEMPT SMP NOPTI" in lines
    assert "---[ end trace 0000000000000000 ]---" in lines


def test_write_to_code_is_a_permissions_violation(kernel, guest):
    dies(guest, "lea rax, [rip]; mov [rax], rax; ret")
    assert "#PF: error_code(0x0003) - permissions violation" in kernel.dmesg()


def test_execution_of_data(kernel, guest):
    dies(guest, "jmp rdi", guest.data(b"\xc3"))
    lines = kernel.dmesg()
    assert lines[0] == "kernel tried to execute NX-protected page - exploit attempt? (uid: 0)"
    assert "#PF: error_code(0x0011) - permissions violation" in lines


def test_registers_code_and_trace_are_shown(kernel, guest):
    inner = guest.code("nop; " * 42 + "mov rbx, 0x1122334455667788; mov rax, [rdi]; ret")
    dies(guest, f"sub rsp, 8; call {inner:#x}; add rsp, 8; ret")
    lines = kernel.dmesg()
    rip = next(line for line in lines if line.startswith("RIP: "))
    assert rip == f"RIP: 0010:{inner + 52:#x}"
    assert any("RBX: 1122334455667788" in line for line in lines)
    code = next(line for line in lines if line.startswith("Code: "))
    assert code.startswith("Code: 90 90 90")
    assert "77 66 55 44 33 22 11 <48> 8b 07 c3 00" in code
    trace = lines[lines.index("Call Trace:") + 2 : lines.index(" </TASK>")]
    assert trace[0].startswith(f" {0xFFFF_FFFF_C000_0000:#x}"[:8])
    assert "CR2: 0000000000000000" in lines
    worker = next(line for line in lines if line.startswith("CPU: "))
    assert f"CPU: 0 PID: {kernel.sched.current.pid} Comm: kmod-emu Not tainted 6.1" in worker


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("xor ecx, ecx; div ecx; ret", "divide error: 0000 [#1] PREEMPT SMP NOPTI"),
        ("ud2", "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI"),
        (
            "mov rax, 0xdead000000000100; mov [rax + 8], rdi; ret",
            "general protection fault, probably for non-canonical address 0xdead000000000108: "
            "0000 [#1] PREEMPT SMP NOPTI",
        ),
        (
            "mov rsi, 0xffff888000001004; lock cmpxchg16b [rsi]",
            "general protection fault, maybe for address 0xffff888000001004: 0000 [#1] PREEMPT SMP NOPTI",
        ),
        (
            "xor eax, eax; movabs rax, [0x6b6b6b6b6b6b6b6b]; ret",  # which has no ModRM byte
            "general protection fault, maybe for address 0x0: 0000 [#1] PREEMPT SMP NOPTI",
        ),
        ("mov rax, 0xdead000000000100; jmp rax", "general protection fault: 0000 [#1] PREEMPT SMP NOPTI"),
        (
            "mov eax, 0x77; mov ds, eax; ret",
            "segment-related general protection fault: 0074 [#1] PREEMPT SMP NOPTI",
        ),
    ],
)
def test_exception(kernel, guest, source, line):
    assert dies(guest, source).signal == SIGSEGV
    assert kernel.dmesg()[0] == line


def ends_the_machine(kernel, guest, source):
    """The log of a fault that counts as one in an interrupt."""
    dies(guest, source)
    lines = kernel.dmesg()
    assert lines[-3:] == [
        "Kernel panic - not syncing: Fatal exception in interrupt",
        "Kernel Offset: disabled",
        "---[ end Kernel panic - not syncing: Fatal exception in interrupt ]---",
    ]
    assert not [line for line in lines if line.startswith("note: ")]
    assert lines.count("Call Trace:") == 1  # none of the panic's own
    assert [report["kind"] for report in kernel.findings.reports] == ["oops", "panic"]
    return lines


def test_a_breakpoint_that_is_nobodys_ends_the_machine(kernel, guest):
    assert ends_the_machine(kernel, guest, "int3")[0] == "int3: 0000 [#1] PREEMPT SMP NOPTI"


def test_an_interrupt_vector_that_is_nobodys(kernel, guest):
    """What old teaching modules do to have their handler called: the line's vector is another one today."""
    assert guest.call("int 0x3b; mov eax, 7; ret") == 7
    assert kernel.dmesg() == ["__common_interrupt: 0.59 No irq handler for vector"]


def test_a_fault_in_a_softirq_ends_the_machine(kernel, guest):
    kernel.percpu.write("__preempt_count", 0x8000_0100, 4)
    assert ends_the_machine(kernel, guest, "ud2")[0] == "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI"


@pytest.mark.parametrize("stack", [0x1000, 0xFFFF_C900_0000_0008, 0xDEAD_0000_0000_0100])
def test_a_fault_without_a_stack_is_a_double_fault(kernel, guest, stack):
    lines = ends_the_machine(kernel, guest, f"mov rsp, {stack:#x}; push rax; ret")
    assert lines[0] == "traps: PANIC: double fault, error_code: 0x0"
    assert lines[1] == "double fault: 0000 [#1] PREEMPT SMP NOPTI"
    assert f"CR2: {(stack & ~15) - 8:016x} CR3" in "\n".join(lines)
    assert f"the stack pointer leads to {(stack & ~15) - 8:#x}" in kernel.findings.reports[0]["text"]


def test_recursion_without_end_hits_the_guard_page(kernel, guest):
    lines = ends_the_machine(kernel, guest, "again: sub rsp, 0x100; call again")
    assert re.fullmatch(
        r"BUG: TASK stack guard page was hit at P \(stack is P\.\.P\)".replace("P", "0{8}[0-9a-f]{8}"),
        lines[0],
    )
    assert lines[1] == "stack guard page: 0000 [#1] PREEMPT SMP NOPTI"
    assert "the kernel stack of 16 KiB is used up" in kernel.findings.reports[0]["text"]


@pytest.mark.parametrize("source", ["sub rsp, 8; call {panic}", "mov rsp, 0x1000; push rax"])
def test_notifiers_are_told_of_a_panic(kernel, guest, source):
    """The text is their argument; they run before the last line, whatever stack was left."""
    told = []

    @kernel.export("int goodbye(struct notifier_block *nb, unsigned long action, void *data)")
    def goodbye(kernel, nb: int, action: int, data: bytes) -> int:
        told.append((action, data, kernel.dmesg()[-1]))
        return 0

    block = guest.data(struct.pack("<QQQ", kernel.symbol("goodbye"), 0, 0))
    guest.export("atomic_notifier_chain_register", kernel.symbol("panic_notifier_list"), block)
    dies(guest, source, guest.text("the end"))
    text = b"the end" if "panic" in source else b"Fatal exception in interrupt"
    assert told == [(0, text, "Kernel Offset: disabled")]
    assert kernel.dmesg()[-1] == f"---[ end Kernel panic - not syncing: {text.decode()} ]---"


@pytest.fixture
def die_chain(kernel, guest):
    """What a notifier is told, and the events at which it says stop, to go on behind two bytes."""
    told, stops_at = [], []

    @kernel.export("int dying(struct notifier_block *nb, unsigned long action, void *data)")
    def dying(kernel, nb: int, action: int, data: int) -> int:
        regs, text, error, vector, signal = struct.unpack("<QQqii", kernel.memory.read(data, 32))
        told.append((action, kernel.memory.read_text(text), error, vector, signal))
        if action not in stops_at:
            return 0
        kernel.view("pt_regs", regs).ip += 2
        return 0x8001

    block = guest.data(struct.pack("<QQQ", kernel.symbol("dying"), 0, 0))
    guest.export("register_die_notifier", block)
    return told, stops_at


@pytest.mark.parametrize(
    ("source", "events"),
    [  # as recorded from a module that registers a notifier and then does this
        ("mov [rdi], eax; ret", [(1, "Oops", 2, 0, 11)]),
        ("ud2", [(8, "invalid opcode", 0, 6, 4), (1, "invalid opcode", 0, 6, 11)]),
        ("xor eax, eax; div eax", [(8, "divide error", 0, 0, 8), (1, "divide error", 0, 0, 11)]),
        ("int3", [(2, "int3", 0, 3, 5), (1, "int3", 0, 3, 11)]),
    ],
)
def test_die_notifiers_are_told_before_and_in_an_oops(kernel, guest, die_chain, source, events):
    dies(guest, source)
    assert die_chain[0] == events
    assert kernel.dmesg().count("---[ end trace 0000000000000000 ]---") == 1


@pytest.mark.parametrize(("event", "oopses"), [(8, 0), (1, 1)])
def test_a_die_notifier_saves_the_task(kernel, guest, die_chain, event, oopses):
    die_chain[1].append(event)
    assert guest.call("mov ebx, 5; ud2; lea eax, [rbx + 2]; ret") == 7
    assert kernel.oopses.count == oopses


def test_oopses_are_counted_and_taint_once(kernel, guest):
    for _ in range(3):
        dies(guest, "ud2")
    lines = kernel.dmesg()
    heads = [line for line in lines if "invalid opcode" in line]
    assert [line.split()[3] for line in heads] == ["[#1]", "[#2]", "[#3]"]
    assert kernel.oopses.count == 3
    assert kernel.taint.test(Taint.DIE)
    assert "Tainted: G      D" in next(line for line in reversed(lines) if line.startswith("CPU: "))
    assert [report["kind"] for report in kernel.findings.reports] == ["oops"] * 3


def test_only_the_task_dies(kernel, guest):
    victim = kernel.tasks.worker()
    dies(guest, "ud2")
    assert victim.dead
    assert guest.call("mov eax, 42; ret") == 42
    assert kernel.tasks.worker() is not victim
    assert victim.pid in kernel.tasks.by_pid  # it holds whatever it held


def test_divide_errors_one_after_another(kernel, guest):
    """They became a double fault, and then a processor that did nothing any more."""
    for number in range(1, 4):
        dies(guest, "xor ecx, ecx; div ecx; ret")
        assert f"divide error: 0000 [#{number}] PREEMPT SMP NOPTI" in kernel.dmesg()


# --- tables of a module ---------------------------------------------------------------------------------


def entry_table(kernel, guest, layout, *entries):
    """A table whose entries hold distances from their own fields."""
    place = guest.near_data(b"", 0x100)
    data = b""
    for entry in entries:
        fields = [
            value - (place + len(data) + 4 * index) if value > 1 << 62 else value
            for index, value in enumerate(entry)
        ]
        data += struct.pack(layout, *fields)
    kernel.memory.write(place, data)
    return place, len(data)


@pytest.mark.parametrize("address", [0, 0xDEAD_0000_0000_0000], ids=["page fault", "general protection"])
def test_exception_table_goes_on_at_the_fixup(kernel, guest, address):
    place = guest.code("mov rax, [rdi]; ret; mov eax, 14; ret")
    table = entry_table(kernel, guest, "<iii", (place, place + 4, 3))
    kernel.faults.tables["test"] = Tables((0, 0), table)
    assert kernel.call(place, address) == 14
    assert kernel.oopses.count == 0


def bug(kernel, guest, flags):
    """A function with a ud2 that the bug table knows as file.c:7."""
    place = guest.code("ud2; mov eax, 5; ret")
    table = entry_table(kernel, guest, "<iiHH", (place, guest.near_data(b"file.c\0"), 7, flags))
    kernel.faults.tables["test"] = Tables(table, (0, 0))
    return place


WARNING, ONCE, NO_CUT_HERE, TAINT_WARN = 1, 2, 8, 9 << 8


def test_warn_goes_on(kernel, guest):
    place = bug(kernel, guest, WARNING | TAINT_WARN)
    assert kernel.call(place) == 5
    lines = kernel.dmesg()
    assert lines[0] == "------------[ cut here ]------------"
    assert lines[1].startswith(f"WARNING: CPU: 0 PID: {kernel.tasks.worker().pid} at file.c:7 ")
    assert lines[-1] == "---[ end trace 0000000000000000 ]---"
    assert kernel.taint.test(Taint.WARN)
    assert kernel.oopses.count == 0


def test_warn_once(kernel, guest):
    place = bug(kernel, guest, WARNING | ONCE | TAINT_WARN)
    assert [kernel.call(place) for _ in range(3)] == [5, 5, 5]
    assert sum(line.startswith("WARNING: ") for line in kernel.dmesg()) == 1


def test_warn_with_text_has_cut_the_line_itself(kernel, guest):
    kernel.call(bug(kernel, guest, WARNING | NO_CUT_HERE | TAINT_WARN))
    assert kernel.dmesg()[0].startswith("WARNING: ")


def test_bug_dies(kernel, guest):
    place = bug(kernel, guest, 0)
    with pytest.raises(Killed) as caught:
        kernel.call(place)
    assert caught.value.signal == SIGSEGV
    assert kernel.dmesg()[:3] == [
        "------------[ cut here ]------------",
        "kernel BUG at file.c:7!",
        "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
    ]


def test_panic_stops_the_caller(kernel, guest):
    text = guest.text("out of %s")
    error = dies(guest, "sub rsp, 8; call {panic}; mov eax, 1; add rsp, 8; ret", text, guest.text("luck"))
    assert "out of luck" in error.explanation
    assert "Kernel panic - not syncing: out of luck" in kernel.dmesg()


def test_state_survives(kernel, guest):
    kernel.faults.tables["test"] = Tables((1, 0), (3, 0))
    dies(guest, "ud2")
    parts = (kernel.faults, kernel.oopses)
    states = [part.save() for part in parts]
    kernel.faults.tables.clear()
    dies(guest, "ud2")
    for part, state in zip(parts, states, strict=True):
        part.load(state)
    assert kernel.oopses.count == 1
    assert kernel.faults.tables == {"test": Tables((1, 0), (3, 0))}


def test_the_registers_of_the_first_oops_close_every_report(kernel, guest):
    dies(guest, "mov rbx, 0x1111; ud2")
    kernel.printk.clear()
    dies(guest, "mov rbx, 0x2222; ud2")
    lines = kernel.dmesg()
    end = lines.index("---[ end trace 0000000000000000 ]---")
    assert any("RBX: 0000000000002222" in line for line in lines[:end])
    assert any("RBX: 0000000000001111" in line for line in lines[end:])
    assert not any("RBX: 0000000000002222" in line for line in lines[end:])


def test_what_a_dead_task_held_is_noted(kernel, guest):
    dies(guest, "mov rax, [rdi]; ret", 0)
    assert kernel.dmesg()[-1].endswith("exited with irqs disabled")  # page faults are handled that way
    dies(guest, "ud2")
    assert "exited" not in kernel.dmesg()[-1]
    dies(guest, "cli; ud2")
    assert kernel.dmesg()[-1].endswith("exited with irqs disabled")
    count = kernel.percpu.offset("__preempt_count")
    dies(guest, f"inc dword ptr gs:[{count:#x}]; ud2")
    assert kernel.dmesg()[-1].endswith("exited with preempt_count 1")
    assert kernel.percpu.read("__preempt_count", 4) == 0x8000_0000
