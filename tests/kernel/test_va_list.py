import struct

import pytest

from kmod_emu.kernel.va_list import RegisterArguments, VaList
from kmod_emu.machine.memory import PageFault
from tests.kernel.printf_world import END, World


def put_va_list(world, gp_offset, registers, stack):
    save = world.put(struct.pack(f"<{len(registers)}Q", *registers))
    overflow = world.put(struct.pack(f"<{len(stack)}Q", *stack))
    return world.put(struct.pack("<IIQQ", gp_offset, 304, overflow, save))


def test_registers_come_before_the_stack():
    world = World()
    stack = world.put(struct.pack("<2Q", 7, 8))
    arguments = RegisterArguments([5, 6], world.memory, stack)
    assert [arguments.next() for _ in range(4)] == [5, 6, 7, 8]


def test_stack_alone():
    world = World()
    arguments = RegisterArguments([], world.memory, END - 8)
    world.memory.write_u64(END - 8, 1 << 63)
    assert arguments.next() == 1 << 63
    with pytest.raises(PageFault):
        arguments.next()


def test_va_list_moves_the_guests_structure_on():
    world = World()
    address = put_va_list(world, 32, [1, 2, 3, 4, 5, 6], [7, 8, 9])
    va_list = VaList(world.memory, address)
    assert [va_list.next() for _ in range(4)] == [5, 6, 7, 8]
    assert world.memory.read_u32(address) == 48
    assert world.memory.read_u32(address + 4) == 304
    # another reader goes on where the first stopped
    assert VaList(world.memory, address).next() == 9


def test_copy_of_a_va_list_leaves_it_alone():
    world = World()
    address = put_va_list(world, 40, [1, 2, 3, 4, 5, 6], [7, 8])
    before = world.memory.read(address, 24)
    copy = VaList(world.memory, address, advance=False)
    assert [copy.next() for _ in range(3)] == [6, 7, 8]
    assert world.memory.read(address, 24) == before


def test_va_list_at_a_bad_address_faults():
    with pytest.raises(PageFault):
        VaList(World().memory, 0)
