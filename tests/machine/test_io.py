"""Devices: at ports and at physical addresses behind RAM; and pages that somebody wants to hear of."""

import pytest

from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.io import IoSpace
from kmod_emu.machine.memory import EXEC, PAGE_SHIFT, PAGE_SIZE, READ, WRITE, Access, AddressSpace, PageFault

WINDOW = 0xFFFF_C900_0000_0000
USER = 0x40_0000


class Scratch:
    """Registers that keep what is written, and note every access."""

    def __init__(self, act=lambda: None):
        self.values, self.seen, self.act = {}, [], act

    def read(self, offset, size):
        self.seen.append(("r", offset, size))
        self.act()
        return self.values.get(offset, 0x1_2345_6789)

    def write(self, offset, size, value):
        self.seen.append(("w", offset, size))
        self.values[offset] = value
        self.act()


# --- an address space of devices ------------------------------------------------------------------------


def test_a_device_answers_at_its_addresses_only():
    space, device = IoSpace(), Scratch()
    space.attach(0x60, 4, device)
    space.attach(0x64, 1, Scratch())
    space.write(0x61, 1, 0x1FF)
    space.write(0x70, 1, 5)
    assert (space.read(0x61, 1), space.read(0x60, 4)) == (0xFF, 0x2345_6789)
    assert (space.read(0x5F, 1), space.read(0x70, 2)) == (0xFF, 0xFFFF), "nobody is there"
    assert device.seen == [("w", 1, 1), ("r", 1, 1), ("r", 0, 4)]
    space.detach(device)
    assert space.read(0x61, 1) == 0xFF


@pytest.mark.parametrize(("base", "size"), [(0x60, 1), (0x5F, 2), (0x63, 9), (0x50, 0x100)])
def test_two_devices_at_one_address_are_refused(base, size):
    space = IoSpace()
    space.attach(0x60, 4, Scratch())
    with pytest.raises(ValueError, match="already"):
        space.attach(base, size, Scratch())


@pytest.mark.parametrize(("base", "size"), [(0, 0), (5, -1), (-1, 1)])
def test_a_device_needs_addresses(base, size):
    with pytest.raises(ValueError, match="no addresses"):
        IoSpace().attach(base, size, Scratch())


# --- the guest's way there --------------------------------------------------------------------------------


def test_in_and_out(machine):
    device = Scratch()
    machine.cpu.ports.attach(0x70, 2, device)
    machine.run("mov eax, 0x42; out 0x70, al; xor eax, eax; in al, 0x70; hlt")
    assert machine.cpu.read("rax") == 0x42
    assert device.seen == [("w", 0, 1), ("r", 0, 1)]


@pytest.mark.parametrize("instruction", ["in al, 0x70", "out 0x70, al"])
def test_what_a_device_raises_crosses_run(machine, instruction):
    def fail():
        raise ZeroDivisionError

    machine.cpu.ports.attach(0x70, 1, Scratch(fail))
    with pytest.raises(ZeroDivisionError):
        machine.run(f"{instruction}; nop; hlt")


@pytest.fixture
def registers(machine):
    """Device memory at WINDOW."""
    cpu, device = machine.cpu, Scratch()
    cpu.open_mmio()
    cpu.open_mmio()  # once is enough
    base = machine.memory.ram_end
    cpu.mmio.attach(base, PAGE_SIZE, device)
    machine.memory.io_pages = {WINDOW >> PAGE_SHIFT: base}
    return device


def test_device_memory(machine, registers):
    machine.run("mov dword ptr [rbx], 7; mov eax, [rbx]; mov ecx, [rbx + 8]; hlt", rbx=WINDOW)
    assert (machine.cpu.read("rax"), machine.cpu.read("rcx")) == (7, 0x2345_6789)
    assert registers.seen == [("w", 0, 4), ("r", 0, 4), ("r", 8, 4)]


def test_eight_bytes_are_two_accesses(machine, registers):
    machine.run("mov rax, [rbx]; hlt", rbx=WINDOW)
    assert registers.seen == [("r", 0, 4), ("r", 4, 4)]


@pytest.mark.parametrize("instruction", ["mov eax, [rbx]", "mov [rbx], eax"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_device_that_stops_the_processor_sees_each_access_once(machine, registers, instruction, count):
    registers.act = machine.cpu.stop_at_trap
    machine.put(f"{instruction}; jmp next; next: hlt")
    machine.cpu.write("rbx", WINDOW)
    stop = machine.cpu.run(machine.CODE, count)
    assert len(registers.seen) == 1
    registers.act = lambda: None
    assert machine.cpu.run(stop.rip).reason is StopReason.HALT
    assert len(registers.seen) == 1


def test_a_repeated_store_reaches_the_device_word_by_word(machine, registers):
    machine.run("cld; rep stosd; hlt", rdi=WINDOW, rcx=3, rax=5)
    assert registers.values == {0: 5, 4: 5, 8: 5}


@pytest.mark.parametrize("access", ["mov eax, [rbx]", "mov [rbx], eax"])
def test_what_device_memory_raises_crosses_run(machine, registers, access):
    def fail():
        raise ZeroDivisionError

    registers.act = fail
    with pytest.raises(ZeroDivisionError):
        machine.run(f"{access}; nop; hlt", rbx=WINDOW)


def test_device_memory_is_not_executed_nor_for_ring_3(machine, registers):
    for access, user in ((Access.FETCH, False), (Access.READ, True)):
        machine.memory.user_mode = user
        with pytest.raises(PageFault) as fault:
            machine.memory.fill(WINDOW, access)
        assert fault.value.present


# --- what the software MMU does for others ----------------------------------------------------------------


def user_page(memory, perms):
    memory.user = AddressSpace()
    memory.user.map(USER, 0x5000, perms)


def test_smap_and_smep_keep_the_kernel_off_user_pages(memory):
    user_page(memory, READ | EXEC)
    assert memory.fill(USER, Access.READ)[0] == memory.fill(USER, Access.FETCH)[0] == 0x5000
    memory.smap = memory.smep = True
    for access in (Access.READ, Access.FETCH):
        with pytest.raises(PageFault):
            memory.fill(USER, access)
    memory.user_mode = True
    assert memory.fill(USER, Access.READ)[0] == memory.fill(USER, Access.FETCH)[0] == 0x5000


def test_without_write_protection_the_kernel_writes_to_what_it_may_only_read(memory):
    user_page(memory, READ)
    with pytest.raises(PageFault):
        memory.fill(USER, Access.WRITE)
    memory.write_protect = lambda: False
    assert memory.fill(USER, Access.WRITE)[1] & WRITE


def test_a_debugger_holds_permissions_back(memory, machine):
    memory.guarded = {0: WRITE}
    assert memory.fill(machine.DATA, Access.READ)[1] == READ
    with pytest.raises(PageFault) as fault:
        memory.fill(machine.DATA, Access.WRITE)
    assert fault.value.guarded
    assert memory.fill(machine.DATA + PAGE_SIZE, Access.WRITE)[1] == READ | WRITE


def test_the_next_miss_on_a_page_is_noted(memory, machine):
    memory.await_page(machine.DATA + 8)
    memory.fill(machine.DATA + PAGE_SIZE, Access.READ)
    assert not memory.page_arrived
    memory.fill(machine.DATA, Access.READ)
    assert memory.page_arrived


def test_a_page_shown_once_more(memory, machine):
    memory.aliases = {WINDOW >> PAGE_SHIFT: 0x3000}
    memory.write(machine.DATA + 0x3004, b"same")
    assert memory.read(WINDOW + 4, 4) == b"same"
    with pytest.raises(PageFault):
        memory.read(WINDOW + PAGE_SIZE, 1)


def test_a_user_page_that_is_no_ram(memory):
    user_page(memory, READ)
    memory.user.map(USER, 1 << 40, READ)
    with pytest.raises(LookupError, match="no RAM"):
        memory.read(USER, 1)
