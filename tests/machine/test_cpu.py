"""The software MMU as guest code meets it, and why a run ends."""

import os
import struct
import warnings

import pytest

from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import EXEC, READ, WRITE, Access, AddressSpace
from kmod_emu.machine.traps import PORT

USER = 0x40_0000
NON_CANONICAL = 0x1234_5678_90AB_CDEF


# --- page faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "where", "offset", "access", "present"),
    [
        ("nop; mov rax, [rbx]", "NULL", 1, Access.READ, False),
        ("nop; nop; mov [rbx], rax", "NULL", 2, Access.WRITE, False),
        ("nop; mov [rbx], rax", "CODE", 1, Access.WRITE, True),
        ("nop; mov rax, [rbx + 0x10000]", "DATA", 1, Access.READ, False),
        ("nop; add qword ptr [rbx + 0x10000], 1", "DATA", 1, Access.READ, False),
    ],
)
def test_data_fault_is_precise(machine, source, where, offset, access, present):
    stop = machine.run(source, rbx=getattr(machine, where, 0), rax=77)
    assert (stop.reason, stop.rip - machine.CODE) == (StopReason.FAULT, offset)
    assert (stop.fault.access, stop.fault.present) == (access, present)
    assert machine.cpu.read("rax") == 77


@pytest.mark.parametrize(("target", "present"), [("DATA", True), ("NULL", False)])
@pytest.mark.parametrize("instruction", ["jmp", "call"])
def test_fetch_fault_is_at_the_target(machine, instruction, target, present):
    address = getattr(machine, target, 0)
    stop = machine.run(f"{instruction} rbx", rbx=address)
    assert (stop.reason, stop.rip) == (StopReason.FAULT, address)
    assert (stop.fault.access, stop.fault.present) == (Access.FETCH, present)


def test_access_across_a_page_faults_at_the_second(machine):
    edge = machine.DATA + 0x10000
    machine.memory.write(edge - 4, b"\1\2\3\4")
    stop = machine.run("mov [rbx], rax", rbx=edge - 4, rax=0)
    assert (stop.reason, stop.fault.address) == (StopReason.FAULT, edge)
    assert machine.memory.read(edge - 4, 4) == b"\1\2\3\4"


def test_access_across_two_mapped_pages(machine):
    machine.memory.write(machine.DATA + 0xFFC, struct.pack("<Q", 0x1122334455667788))
    assert machine.run("mov rax, [rbx]; hlt", rbx=machine.DATA + 0xFFC).reason is StopReason.HALT
    assert machine.cpu.read("rax") == 0x1122334455667788


def test_code_that_runs_off_its_page(machine):
    last = machine.CODE + 0x3FFE
    machine.put("nop; nop", last)
    stop = machine.cpu.run(last)
    assert (stop.reason, stop.rip) == (StopReason.FAULT, machine.CODE + 0x4000)
    assert stop.fault.access is Access.FETCH


def test_code_before_the_end_of_its_page_is_run(machine):
    """Blocks are translated whole: looking for the end on a page that is not there, nothing had run."""
    start = machine.CODE + 0x4000 - 18
    machine.put("inc rax; dec rcx; jz 0xffffffffc0000000; inc rbx; inc rbx", start)
    machine.put("inc rdx; hlt")
    machine.cpu.write("rcx", 2)
    stop = machine.cpu.run(start)
    assert (stop.reason, stop.rip) == (StopReason.FAULT, machine.CODE + 0x4000)
    assert [machine.cpu.read(name) for name in ("rax", "rbx", "rcx", "rdx")] == [1, 2, 1, 0]
    assert machine.cpu.run(start).reason is StopReason.HALT
    assert machine.cpu.read("rdx") == 1


def test_instruction_across_the_end_of_its_page(machine):
    machine.memory.write(machine.CODE + 0x3FFE, b"\x48\xb8")
    stop = machine.cpu.run(machine.CODE + 0x3FFE)
    assert (stop.reason, stop.rip) == (StopReason.FAULT, machine.CODE + 0x3FFE)
    assert stop.fault.address == machine.CODE + 0x4000


def test_page_behind_the_end_may_be_mapped_later(machine):
    start = machine.CODE + 0x3FFD
    machine.put("inc rax", start)
    machine.cpu.write("rax", 0)
    stop = machine.cpu.run(start)
    machine.memory.protect(machine.CODE + 0x4000, 1, READ | EXEC)
    machine.put("inc rax; hlt", machine.CODE + 0x4000)
    assert machine.cpu.run(stop.rip).reason is StopReason.HALT
    assert machine.cpu.read("rax") == 2
    assert machine.cpu.run(start).reason is StopReason.HALT
    assert machine.cpu.read("rax") == 4


def test_fault_can_be_repaired_and_retried(machine):
    page = machine.DATA + 0x10000
    stop = machine.run("mov qword ptr [rbx], 5; hlt", rbx=page)
    machine.memory.protect(page, 1, READ | WRITE)
    assert machine.cpu.run(stop.rip).reason is StopReason.HALT
    assert machine.memory.read_u64(page) == 5


def test_permission_taken_away_is_noticed(machine):
    assert machine.run("mov [rbx], rax; hlt", rbx=machine.DATA).reason is StopReason.HALT
    machine.memory.protect(machine.DATA, 1, READ)
    assert machine.cpu.run(machine.CODE).reason is StopReason.FAULT
    machine.memory.protect(machine.DATA, 1, 0)
    assert machine.run("mov rax, [rbx]; hlt").fault.present is False


def test_guest_sees_the_direct_map_alias(machine):
    machine.run(
        "mov qword ptr [rbx], 9; mov rax, [rcx]; hlt",
        rbx=machine.DIRECT + 0x2000,
        rcx=machine.DATA + 0x2000,
    )
    assert machine.cpu.read("rax") == 9


def test_guest_cannot_write_code_through_the_direct_map(machine):
    alias = machine.DIRECT + machine.memory.translate(machine.CODE)
    stop = machine.run("mov rax, [rbx]; mov [rbx], rax", rbx=alias)
    assert (stop.reason, stop.rip - machine.CODE) == (StopReason.FAULT, 3)
    assert stop.fault.access is Access.WRITE


def test_switch_of_the_user_address_space(machine):
    spaces = [AddressSpace(), AddressSpace()]
    for number, space in enumerate(spaces):
        space.map(USER, 0x1000 * (1 + number), READ | WRITE)
        machine.memory.write_u64(machine.DATA + 0x1000 * (1 + number), 100 + number)
    for number in (0, 1, 0):
        machine.memory.user = spaces[number]
        machine.cpu.flush_tlb()
        machine.run("mov rax, [rbx]; hlt", rbx=USER)
        assert machine.cpu.read("rax") == 100 + number
    machine.memory.user = None
    machine.cpu.flush_tlb()
    assert machine.cpu.run(machine.CODE).reason is StopReason.FAULT


def test_user_code_of_two_address_spaces(machine):
    for number in (0, 1):
        machine.put(f"mov eax, {number}; hlt", machine.DATA + 0x1000 * (1 + number))
    for number in (0, 1, 0):
        space = machine.memory.user = AddressSpace()
        space.map(USER, 0x1000 * (1 + number), READ | EXEC)
        machine.cpu.flush_tlb()
        machine.cpu.run(USER)
        assert machine.cpu.read("rax") == number


# --- exceptions -----------------------------------------------------------------------------------------

DIVIDE = "xor ecx, ecx; div ecx"


@pytest.mark.parametrize(
    ("source", "vector", "offset"),
    [
        (DIVIDE, 0, 2),
        ("nop; int3", 3, 2),
        ("nop; ud2", 6, 1),
        ("nop; vpaddd ymm0, ymm1, ymm2", 6, 1),
        ("nop; mov rax, [rbx]", 13, 1),
        ("nop; mov [rbx], rax", 13, 1),
        ("nop; int 0x80", 0x80, 3),
    ],
)
def test_exception(machine, source, vector, offset):
    stop = machine.run(source, rbx=NON_CANONICAL)
    assert (stop.reason, stop.vector) == (StopReason.EXCEPTION, vector)
    assert stop.rip - machine.CODE == offset


def test_jump_to_a_non_canonical_address(machine):
    stop = machine.run("jmp rbx", rbx=NON_CANONICAL)
    assert (stop.reason, stop.vector, stop.fault.access) == (StopReason.EXCEPTION, 13, Access.FETCH)


@pytest.mark.parametrize("address", [0x7FFF_FFFF_F000, 0xFFFF_8000_0000_0000])
def test_the_last_canonical_addresses_are_page_faults(machine, address):
    assert machine.run("mov rax, [rbx]", rbx=address).reason is StopReason.FAULT


def test_exceptions_do_not_add_up_to_a_double_fault(machine):
    """QEMU waits for an interrupt handler to finish: the second divide error came as 8, then a halt."""
    misaligned = "lock cmpxchg16b [rsp + 8]"
    for source, vector in [(DIVIDE, 0), (DIVIDE, 0), (misaligned, 13), (DIVIDE, 0), ("ud2", 6), (DIVIDE, 0)]:
        assert machine.run(source).vector == vector


def test_exception_keeps_registers(machine):
    machine.cpu.set_gs_base(machine.DATA + 0x100)
    machine.memory.write_u64(machine.DATA + 0x108, 0xABCD)
    machine.run("movq xmm15, rbx; xor ecx, ecx; div ecx", rbx=0x1122334455667788, r15=15)
    assert machine.cpu.read("r15") == 15
    machine.run("movq rax, xmm15; mov rdx, gs:[8]; hlt")
    assert (machine.cpu.read("rax"), machine.cpu.read("rdx")) == (0x1122334455667788, 0xABCD)
    assert machine.cpu.read("rsp") == machine.STACK_TOP


# --- other ends of a run --------------------------------------------------------------------------------


def test_halt_is_behind_the_instruction(machine):
    stop = machine.run("nop; hlt")
    assert (stop.reason, stop.rip - machine.CODE) == (StopReason.HALT, 2)


def test_count(machine):
    stop = machine.run("inc rax; inc rax; inc rax; hlt", count=2, rax=0)
    assert (stop.reason, stop.rip - machine.CODE) == (StopReason.COUNT, 6)
    assert machine.cpu.read("rax") == 2


def test_code_at_address_zero_is_no_end_of_a_run(machine):
    """emu_start's `until` of 0 would end any run that gets there."""
    space = machine.memory.user = AddressSpace()
    machine.put("mov eax, 42; hlt", machine.DATA + 0x1000)
    space.map(0, 0x1000, READ | EXEC)
    assert machine.run("xor ebx, ebx; jmp rbx").reason is StopReason.HALT
    assert machine.cpu.read("rax") == 42


def test_lockup(machine):
    machine.cpu.watchdog.limit = 0.5
    stop = machine.run("mov ecx, 7; pause; jmp 0xffffffffc0000005")
    assert stop.reason is StopReason.LOCKUP
    assert 5 <= stop.rip - machine.CODE <= 7
    assert machine.cpu.read("rcx") == 7
    assert machine.run("hlt").reason is StopReason.HALT


# --- traps ----------------------------------------------------------------------------------------------

TRAP = f"out {PORT:#x}, eax; jmp 0xffffffffc0000009; hlt"  # behind `mov eax, 0`


def test_handler_runs_and_the_guest_goes_on(machine):
    calls = []
    machine.cpu.traps = [lambda: calls.append(machine.cpu.read("rbx"))]
    stop = machine.run(f"mov eax, 0; {TRAP}", rbx=3)
    assert (stop.reason, calls) == (StopReason.HALT, [3])


def test_handler_stops_right_behind_the_out(machine):
    machine.cpu.traps = [machine.cpu.stop_at_trap]
    stop = machine.run(f"mov eax, 0; {TRAP}")
    assert stop.reason is StopReason.TRAP
    assert machine.cpu.run(stop.rip).reason is StopReason.HALT


@pytest.mark.parametrize("error", [ValueError("lost"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_handler_raises_crosses_run(machine, error):
    def handler():
        raise error

    machine.cpu.traps = [handler]
    with pytest.raises(type(error)) as caught:
        machine.run(f"mov eax, 0; {TRAP}")
    assert caught.value is error
    assert machine.run("mov eax, 5; hlt").reason is StopReason.HALT
    assert machine.cpu.read("rax") == 5


def test_run_is_never_nested(machine):
    machine.cpu.traps = [lambda: machine.cpu.run(machine.CODE)]
    with pytest.raises(RuntimeError, match="make the handler async"):
        machine.run(f"mov eax, 0; {TRAP}")
    assert machine.run("hlt").reason is StopReason.HALT


@pytest.mark.parametrize("number", [1, 0xFFFF_FFFF])
def test_out_with_a_number_that_is_no_trap(machine, number):
    machine.cpu.traps = [lambda: pytest.fail("called")]
    assert machine.run(f"mov eax, {number}; {TRAP}").reason is StopReason.HALT


def test_other_ports_are_ignored(machine):
    machine.cpu.traps = [lambda: pytest.fail("called")]
    assert machine.run("xor eax, eax; out 0x80, eax; out 0x80, al; hlt").reason is StopReason.HALT


def test_handler_may_change_memory_and_permissions(machine):
    def handler():
        machine.memory.protect(machine.DATA + 0x10000, 1, READ | WRITE)
        machine.memory.write_u64(machine.DATA + 0x10000, 11)

    machine.cpu.traps = [handler]
    machine.run(
        f"xor eax, eax; out {PORT:#x}, eax; jmp 0xffffffffc0000006; mov rdx, [rbx]; hlt",
        rbx=machine.DATA + 0x10000,
    )
    assert machine.cpu.read("rdx") == 11


def test_handler_may_unmap_the_code_it_came_from_elsewhere(machine):
    """Dropping translated code asks the MMU from inside a hook; that is no fault of the guest's."""
    other = machine.CODE + 0x1000
    machine.put("hlt", other)
    machine.cpu.run(other)
    machine.cpu.traps = [lambda: machine.memory.protect(other, 1, 0)]
    assert machine.run(f"mov eax, 0; {TRAP}").reason is StopReason.HALT
    stop = machine.cpu.run(other)
    assert (stop.reason, stop.rip) == (StopReason.FAULT, other)


# --- code that the host changes -------------------------------------------------------------------------


def test_rewritten_code_is_translated_anew(machine):
    for value in (1, 2, 3):
        machine.run(f"mov eax, {value}; hlt")
        assert machine.cpu.read("rax") == value


def test_code_rewritten_inside_a_handler(machine):
    machine.put("mov edx, 1; hlt", machine.CODE + 0x1000)
    machine.cpu.run(machine.CODE + 0x1000)
    machine.cpu.traps = [lambda: machine.put("mov edx, 2; hlt", machine.CODE + 0x1000)]
    machine.run(
        f"xor eax, eax; out {PORT:#x}, eax; jmp 0xffffffffc0000006; mov rbx, 0xffffffffc0001000; jmp rbx"
    )
    assert machine.cpu.read("rdx") == 2


def test_code_rewritten_through_the_direct_map(machine):
    machine.run("mov eax, 1; hlt")
    machine.memory.write_u8(machine.DIRECT + machine.memory.translate(machine.CODE) + 1, 9)
    machine.cpu.run(machine.CODE)
    assert machine.cpu.read("rax") == 9


def test_code_rewritten_in_place(machine):
    machine.run("mov eax, 1; hlt")
    machine.memory.writable(machine.CODE + 1, 1)[0] = 8
    machine.cpu.run(machine.CODE)
    assert machine.cpu.read("rax") == 8


def test_code_the_guest_rewrote_while_it_was_writable(machine):
    machine.run("mov eax, 1; hlt")
    other = machine.CODE + 0x2000
    machine.memory.protect(machine.CODE, 0x1000, READ | WRITE)
    machine.put("mov byte ptr [rbx + 1], 6; hlt", other)
    machine.cpu.write("rbx", machine.CODE)
    machine.cpu.run(other)
    machine.memory.protect(machine.CODE, 0x1000, READ | EXEC)
    machine.cpu.run(machine.CODE)
    assert machine.cpu.read("rax") == 6


def test_protect_forgets_code_behind_the_first_page(machine):
    """The range began with data, and only its first page was asked whether it is code."""
    code = machine.CODE + 0x1000
    machine.put("mov eax, 1; hlt", code)
    machine.cpu.run(code)
    machine.memory.protect(machine.CODE, 0x1000, READ)
    machine.memory.protect(machine.CODE, 0x2000, READ | WRITE)
    machine.code_arena.view[0x1001] = 2
    machine.memory.protect(code, 0x1000, READ | EXEC)
    machine.cpu.run(code)
    assert machine.cpu.read("rax") == 2


def test_user_page_that_was_code_is_reused(machine):
    """A page of one program, freed and given to the next."""
    for value in (1, 2):
        space = machine.memory.user = AddressSpace()
        machine.put(f"mov eax, {value}; hlt", machine.DATA + 0x1000)
        space.map(USER, 0x1000, READ | EXEC)
        machine.cpu.flush_tlb()
        machine.cpu.run(USER)
        assert machine.cpu.read("rax") == value


# --- registers ------------------------------------------------------------------------------------------


def test_registers_by_name(machine):
    for number, name in enumerate(machine.cpu.registers()):
        if name not in {"rip", "eflags"}:
            machine.cpu.write(name, (1 << 63) + number)
            assert machine.cpu.read(name) == machine.cpu.registers()[name] == (1 << 63) + number


def test_register_values_are_taken_modulo(machine):
    machine.cpu.write("rax", -1)
    assert machine.cpu.read("rax") == 0xFFFF_FFFF_FFFF_FFFF


def test_rip(machine):
    stop = machine.run("nop; hlt")
    assert machine.cpu.rip == machine.cpu.read("rip") == stop.rip


def test_context_holds_all_registers(machine):
    machine.cpu.set_gs_base(machine.DATA)
    machine.memory.write_u64(machine.DATA, 5)
    machine.run("movq xmm0, rbx; hlt", rbx=21, r12=12)
    saved = machine.cpu.save()
    before = machine.cpu.registers()
    machine.cpu.set_gs_base(0)
    machine.run("xorps xmm0, xmm0; xor r12, r12; hlt")
    machine.cpu.restore(saved)
    assert machine.cpu.registers() == before
    machine.run("movq rax, xmm0; mov rcx, gs:[0]; hlt")
    assert (machine.cpu.read("rax"), machine.cpu.read("rcx")) == (21, 5)


def test_counting(machine):
    machine.put("mov ecx, 10; dec ecx; jnz 0xffffffffc0000005; hlt")
    machine.cpu.run(machine.CODE)  # translated before it is counted
    with machine.cpu.counting() as executed:
        machine.cpu.run(machine.CODE)
        assert executed() == 1 + 2 * 10 + 1
        machine.cpu.run(machine.CODE)
    machine.cpu.run(machine.CODE)
    assert executed() == 2 * 22


# --- several machines, several processes ----------------------------------------------------------------


def test_machines_are_independent(new_machine):
    first, second = new_machine(), new_machine()
    first.run("mov qword ptr [rbx], 1; hlt", rbx=first.DATA)
    second.run("mov rax, [rbx]; hlt", rbx=second.DATA)
    assert second.cpu.read("rax") == 0


def test_fork(machine):
    """The child's machine works, with its watchdog, and its writes stay its own."""
    machine.run("mov qword ptr [rbx], 1; hlt", rbx=machine.DATA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the watchdog's thread; it only sleeps
        child = os.fork()
    if not child:
        machine.cpu.watchdog.limit = 0.3
        fine = machine.run("inc qword ptr [rbx]; hlt").reason is StopReason.HALT
        fine = fine and machine.memory.read_u64(machine.DATA) == 2
        fine = fine and machine.run("jmp 0xffffffffc0000000").reason is StopReason.LOCKUP
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert machine.memory.read_u64(machine.DATA) == 1
    assert machine.run("mov rax, [rbx]; hlt").reason is StopReason.HALT


def test_code_that_is_gone_does_not_fault_when_a_budget_ends(machine):
    """Unicorn drops its translations then, and asks for the pages of all of them."""
    space = machine.memory.user = AddressSpace()
    space.map(USER, machine.memory.translate(machine.CODE) + 0x1000, READ | EXEC)
    machine.put("nop; jmp rbx", machine.CODE + 0x1000)
    machine.run(f"mov rax, {USER:#x}; jmp rax", rbx=0, count=100)
    space.unmap(USER)
    machine.cpu.flush_tlb()
    calls = []
    machine.cpu.traps = [lambda: calls.append(1)]
    stop = machine.run(f"xor eax, eax; out {PORT:#x}, eax; jmp {machine.CODE + 6:#x}; hlt")
    assert (stop.reason, calls) == (StopReason.HALT, [1])


def test_a_run_that_is_to_end_does_so_behind_a_trap(machine):
    """Behind a store Unicorn would break an instruction off that adds to memory, and run it a second time."""
    cpu, seen = machine.cpu, []

    def trap():
        seen.append(machine.memory.read_u64(machine.DATA))
        if len(seen) % 7 == 0:
            cpu.watchdog.expire()  # as its thread does when time is up

    cpu.traps = [trap]
    machine.put(f"inc qword ptr [rbx]; xor eax, eax; out {PORT:#x}, eax; dec rcx; jnz {machine.CODE:#x}; hlt")
    cpu.write("rbx", machine.DATA)
    cpu.write("rcx", 100)
    stop, stops = cpu.run(machine.CODE), 0
    while stop.reason is StopReason.PATIENCE:
        assert machine.memory.read_u64(machine.DATA) == len(seen) == 7 * (stops + 1)
        stop, stops = cpu.run(stop.rip), stops + 1
    assert (stop.reason, stops) == (StopReason.HALT, 14)
    assert seen == list(range(1, 101))


@pytest.mark.parametrize("at", ["its begin", "its middle", "its end", "from the page before"])
def test_of_code_that_is_written_over_nothing_old_runs(machine, at):
    edge = machine.CODE + 0x1000
    start = edge - 2 if at == "from the page before" else edge
    machine.put("mov ecx, 1; mov edx, 2; mov ebx, 3; hlt", start)
    machine.put("mov eax, 4; hlt", edge + 64)
    for _ in range(2):
        machine.cpu.run(start)
        machine.cpu.run(edge + 64)
    number = {"its begin": 1, "its middle": 6, "its end": 11, "from the page before": 1}[at]
    machine.memory.write(start + number, b"\x77")
    machine.cpu.run(start)
    assert 0x77 in {machine.cpu.read(name) for name in ("rcx", "rdx", "rbx")}
    machine.cpu.write("rax", 0)
    machine.cpu.run(edge + 64)
    assert machine.cpu.read("rax") == 4


def test_code_that_may_no_longer_be_written_need_not_be_translated_anew(machine):
    machine.memory.protect(machine.CODE, 0x1000, READ | WRITE | EXEC)
    assert machine.run("mov [rbx], eax; hlt", rbx=machine.CODE + 0x30).reason is StopReason.HALT
    dropped = []
    machine.memory.drop_code = lambda address, size: dropped.append(address)
    machine.memory.protect(machine.CODE, 0x1000, READ | EXEC)
    assert dropped == []
    assert machine.cpu.run(machine.CODE).reason is StopReason.FAULT
    machine.memory.protect(machine.CODE, 0x1000, READ)
    assert dropped == [machine.CODE]
