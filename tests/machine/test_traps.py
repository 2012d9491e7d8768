"""The two trap tails, executed."""

import struct
from importlib import resources

import pytest

from kmod_emu.kernel.layout import ARGUMENT_PAGE, TRAP_BASE
from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE
from kmod_emu.machine.snapshot import SnapshotTree
from kmod_emu.machine.traps import OFFSET, REGISTERS, RESULT, SLOT_SIZE, TARGET, TrapArea, build_tails


class Traps:
    """A trap area at CODE + 0x1000, its argument page on the next page but one."""

    def __init__(self, machine):
        self.machine, self.memory, self.cpu = machine, machine.memory, machine.cpu
        base, self.page = machine.CODE + 0x1000, machine.CODE + 0x5000
        self.memory.protect(self.page, PAGE_SIZE, READ | WRITE)
        tails = build_tails(base, self.page)
        self.memory.write(base, tails)
        self.area = TrapArea(base, tails)
        self.cpu.traps = [lambda: pytest.fail("slot 0 was called")]

    def bind(self, handler, *, all_registers=False):
        """Address of a new slot."""
        number = len(self.cpu.traps)
        self.cpu.traps.append(handler)
        self.memory.write(self.area.address(number), self.area.slot(number, all_registers=all_registers))
        return self.area.address(number)

    def spilled(self, name):
        """A register as the tail left it on the argument page."""
        return self.memory.read_u64(self.page + OFFSET[name])

    def load(self, name, value):
        """What the tail reloads a register from."""
        self.memory.write_u64(self.page + OFFSET[name], value)


@pytest.fixture
def traps(machine):
    return Traps(machine)


GENERAL = [name for name in REGISTERS if name != "rsp"]


def set_all(cpu):
    """Give every register but RSP a value of its own; those values."""
    values = {name: 0xA000_0000_0000_0000 + number for number, name in enumerate(GENERAL)}
    for name, value in values.items():
        cpu.write(name, value)
    return values


def test_c_tail_passes_arguments_and_result(traps, machine):
    seen = {}

    def handler():
        seen.update({name: traps.spilled(name) for name in REGISTERS[:7]})
        traps.memory.write_u64(traps.page + RESULT, 0x1122334455667788)

    machine.put(f"call {traps.bind(handler):#x}; hlt")
    values = set_all(machine.cpu)
    stop = machine.cpu.run(machine.CODE)
    assert stop.reason is StopReason.HALT
    assert seen == {name: values[name] for name in REGISTERS[:6]} | {"rsp": machine.STACK_TOP - 8}
    assert machine.memory.read_u64(seen["rsp"]) == machine.CODE + 5  # the return address
    after = machine.cpu.registers()
    assert after["rax"] == 0x1122334455667788
    assert after["rsp"] == machine.STACK_TOP


def test_c_tail_keeps_what_a_call_keeps(traps, machine):
    machine.put(f"call {traps.bind(lambda: None):#x}; hlt")
    values = set_all(machine.cpu)
    machine.cpu.run(machine.CODE)
    kept = ("rbx", "rbp", "r12", "r13", "r14", "r15")
    assert {name: machine.cpu.read(name) for name in kept} == {name: values[name] for name in kept}
    assert machine.cpu.read("rsp") == machine.STACK_TOP


def test_handler_that_waits_goes_on_behind_the_out(traps, machine):
    machine.put(f"call {traps.bind(machine.cpu.stop_at_trap):#x}; hlt")
    stop = machine.cpu.run(machine.CODE)
    assert stop.reason is StopReason.TRAP
    traps.load("rax", 31)  # the result is read after the wait
    assert machine.cpu.run(stop.rip).reason is StopReason.HALT
    assert (machine.cpu.read("rax"), machine.cpu.read("rsp")) == (31, machine.STACK_TOP)


def test_register_tail_keeps_every_register(traps, machine):
    machine.put(f"call {traps.bind(lambda: None, all_registers=True):#x}; hlt")
    values = set_all(machine.cpu)
    machine.cpu.write("eflags", 0x8D7)  # CF PF AF ZF SF OF
    assert machine.cpu.run(machine.CODE).reason is StopReason.HALT
    after = machine.cpu.registers()
    assert {name: after[name] for name in GENERAL} == values
    assert after["rsp"] == machine.STACK_TOP
    assert after["eflags"] & 0x8D5 == 0x8D5


def test_register_tail_shows_and_loads_every_register(traps, machine):
    seen = {}

    def handler():
        for name in REGISTERS:
            seen[name] = traps.spilled(name)
            if name != "rsp":
                traps.load(name, ~seen[name] & 0xFFFF_FFFF_FFFF_FFFF)

    machine.put(f"call {traps.bind(handler, all_registers=True):#x}; hlt")
    values = set_all(machine.cpu)
    machine.cpu.run(machine.CODE)
    assert seen == {**values, "rsp": machine.STACK_TOP - 8}
    expected = {name: ~value & 0xFFFF_FFFF_FFFF_FFFF for name, value in values.items()}
    assert {name: machine.cpu.read(name) for name in GENERAL} == expected
    assert machine.cpu.read("rsp") == machine.STACK_TOP


def test_return_slot_passes_the_result(traps, machine):
    seen = []

    def returned():
        seen.append(traps.spilled("rdi"))
        machine.cpu.stop_at_trap()

    machine.cpu.traps[0] = returned
    machine.put("mov rax, 0x1234567890; ret")
    machine.memory.write_u64(machine.STACK_TOP, traps.area.address(0))
    assert machine.cpu.run(machine.CODE).reason is StopReason.TRAP
    assert seen == [0x1234567890]


def test_entry_loads_a_call_from_the_argument_page(traps, machine):
    machine.put("hlt")
    values = {name: 0xB000_0000_0000_0000 + number for number, name in enumerate(REGISTERS[:6])}
    for name, value in {**values, "rsp": machine.STACK_TOP - 0x40}.items():
        traps.load(name, value)
    traps.memory.write_u64(traps.page + TARGET, machine.CODE)
    assert machine.cpu.run(traps.area.entry).reason is StopReason.HALT
    after = machine.cpu.registers()
    assert {name: after[name] for name in values} == values
    assert after["rsp"] == machine.STACK_TOP - 0x40


def test_each_slot_has_its_number(traps, machine):
    calls = []
    slots = [traps.bind(lambda number=number: calls.append(number)) for number in range(1, 40)]
    machine.put("call rbx; hlt")
    for slot in reversed(slots):
        machine.cpu.write("rbx", slot)
        machine.cpu.run(machine.CODE)
    assert calls == list(range(39, 0, -1))


def test_slot_numbers_and_addresses(traps):
    for number in (0, 1, 1000):
        address = traps.area.address(number)
        assert traps.area.number(address) == traps.area.number(address + SLOT_SIZE - 1) == number
    assert traps.area.number(traps.area.base) is None


@pytest.mark.parametrize("all_registers", [False, True])
def test_slots_are_of_one_size(traps, all_registers):
    assert len(traps.area.slot(3, all_registers=all_registers)) == SLOT_SIZE


def test_shipped_tails_are_what_keystone_builds():
    shipped = resources.files("kmod_emu") / "data" / "base_kernel" / "traps.bin"
    assert shipped.read_bytes() == build_tails(TRAP_BASE, ARGUMENT_PAGE)


def test_tail_areas_do_not_overlap():
    tails = build_tails(TRAP_BASE, ARGUMENT_PAGE)
    entry, second, forgetter = struct.unpack_from("<III", tails, 0x200 - 12)
    assert 0 < second < entry < forgetter < 0x200 - 12 - 23
    assert {tails[place - 1] for place in (second, entry, forgetter)} <= {0xC3, 0xCC}


@pytest.fixture(params=["page by page", "all at once"])
def forgetful(request, traps, machine):
    """A machine whose processor forgets translations one way or the other."""
    if request.param == "page by page":
        machine.cpu.use_forgetter(traps.area.forgetter, machine.memory.writable(traps.page + 512, 512))
    return machine


@pytest.mark.parametrize("place", ["DATA", "DIRECT"])
def test_the_processor_forgets_what_it_may_no_longer_do(forgetful, place):
    memory, address = forgetful.memory, getattr(forgetful, place) + 0x3000
    store = "mov rax, [rbx]; mov [rbx], rcx; hlt"
    assert forgetful.run(store, rbx=address, rcx=1).reason is StopReason.HALT
    memory.protect(forgetful.DATA + 0x3000, PAGE_SIZE, 0)
    assert forgetful.run(store, rbx=address, rcx=2).fault.address == address
    memory.protect(forgetful.DATA + 0x3000, PAGE_SIZE, READ | WRITE)
    registers = forgetful.cpu.registers()
    assert forgetful.run(store, rbx=address, rcx=3).reason is StopReason.HALT
    assert memory.read_u64(address) == 3
    assert forgetful.cpu.registers() == registers | {"rax": 1, "rcx": 3, "rip": forgetful.cpu.rip}


def test_snapshots_see_writes_to_pages_that_the_processor_knows(forgetful):
    snapshots, memory = SnapshotTree(forgetful.memory), forgetful.memory
    moments = []
    for value in range(4):
        forgetful.run("mov [rbx], rcx; mov [rbx + 0x1000], rcx; hlt", rbx=forgetful.DATA, rcx=value)
        moments.append(snapshots.take())
    for value in (1, 3, 0, 2):
        snapshots.restore(moments[value])
        assert forgetful.run("mov rax, [rbx]; hlt", rbx=forgetful.DATA + 0x1000).reason is StopReason.HALT
        assert forgetful.cpu.read("rax") == memory.read_u64(forgetful.DATA) == value


def test_traps_are_not_writable_by_the_guest(traps, machine):
    stop = machine.run("mov [rbx], rax", rbx=traps.area.address(1))
    assert stop.reason is StopReason.FAULT
    assert machine.memory.mapped(traps.area.address(1), READ | EXEC)
