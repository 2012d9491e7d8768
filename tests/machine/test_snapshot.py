"""Snapshots: memory, permissions and code as they were, along any path through the tree."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE, AddressSpace
from kmod_emu.machine.snapshot import SnapshotTree


@pytest.fixture
def snapshots(memory):
    return SnapshotTree(memory)


def test_restore_brings_back_host_and_guest_writes(machine, snapshots):
    machine.memory.write_u64(machine.DATA, 1)
    moment = snapshots.take()
    machine.memory.write_u64(machine.DATA, 2)
    machine.run("mov qword ptr [rbx], 3; hlt", rbx=machine.DATA + 0x2000)
    snapshots.restore(moment)
    assert machine.memory.read_u64(machine.DATA) == 1
    assert machine.memory.read_u64(machine.DATA + 0x2000) == 0


def test_restore_twice(machine, snapshots):
    moment = snapshots.take()
    for value in (1, 2):
        machine.run("inc qword ptr [rbx]; hlt", rbx=machine.DATA)
        machine.memory.write_u64(machine.DATA + 8, value)
        snapshots.restore(moment)
        assert machine.memory.read(machine.DATA, 16) == bytes(16)


def test_only_written_pages_are_kept(machine, snapshots):
    for page in range(16):
        machine.memory.write_u8(machine.DATA + page * PAGE_SIZE, page)
    snapshots.take()
    machine.memory.write(machine.DATA + PAGE_SIZE - 1, b"ab")
    machine.run("mov rax, [rbx]; mov [rbx + 0x1000], rax; hlt", rbx=machine.DATA + 4 * PAGE_SIZE)
    # Pages 0 and 1 by the host, 5 by the guest, and the page of code; 4 was only read.
    assert snapshots.written_since_root() == {(0, 0), (0, 1), (0, 5), (1, 0)}


def test_written_since_root_spans_the_ancestors(machine, snapshots):
    snapshots.take()
    machine.memory.write_u8(machine.DATA, 1)
    snapshots.take()
    machine.memory.write_u8(machine.DATA + PAGE_SIZE, 1)
    assert snapshots.written_since_root() == {(0, 0), (0, 1)}


def test_back_and_forth_between_branches(machine, snapshots):
    place = machine.DATA
    root = snapshots.take()
    machine.memory.write_u64(place, 1)
    left = snapshots.take()
    machine.memory.write_u64(place, 2)
    left_leaf = snapshots.take()
    snapshots.restore(root)
    machine.memory.write_u64(place + 8, 3)
    right = snapshots.take()
    expected = {root: (0, 0), left: (1, 0), left_leaf: (2, 0), right: (0, 3)}
    for target in (left, right, left_leaf, root, right, left_leaf, left, right, root, left_leaf):
        snapshots.restore(target)
        assert (machine.memory.read_u64(place), machine.memory.read_u64(place + 8)) == expected[target]
        machine.memory.write_u64(place, 99)  # lost with the next restore
        machine.memory.write_u64(place + 8, 99)


def test_alias_is_kept_too(machine, snapshots):
    moment = snapshots.take()
    machine.run("mov qword ptr [rbx], 1; hlt", rbx=machine.DIRECT + 0x3000)
    machine.memory.user = AddressSpace()
    machine.memory.user.map(0x1000, 0x4000, READ | WRITE)
    machine.cpu.flush_tlb()
    machine.run("mov qword ptr [rbx], 1; hlt", rbx=0x1000)
    assert machine.memory.read_u64(machine.DATA + 0x4000) == 1
    snapshots.restore(moment)
    assert machine.memory.read(machine.DATA + 0x3000, 0x2000) == bytes(0x2000)


def test_guest_that_has_written_before_the_snapshot_is_noticed_after(machine, snapshots):
    machine.run("inc qword ptr [rbx]; hlt", rbx=machine.DATA)
    moment = snapshots.take()
    machine.cpu.run(machine.CODE)
    assert machine.memory.read_u64(machine.DATA) == 2
    snapshots.restore(moment)
    assert machine.memory.read_u64(machine.DATA) == 1


def test_permissions_come_back(machine, snapshots):
    moment = snapshots.take()
    machine.memory.protect(machine.DATA, 1, READ)
    machine.memory.protect(machine.DATA + 0x10000, 1, READ | WRITE)
    snapshots.restore(moment)
    assert machine.run("mov [rbx], rax; hlt", rbx=machine.DATA).reason is StopReason.HALT
    assert machine.run("mov [rbx], rax; hlt", rbx=machine.DATA + 0x10000).reason is StopReason.FAULT


def test_code_comes_back(machine, snapshots):
    """Translated code of the other branch was run on."""
    machine.put("mov eax, 1; hlt")
    one = snapshots.take()
    machine.cpu.run(machine.CODE)
    machine.put("mov eax, 2; hlt")
    two = snapshots.take()
    machine.cpu.run(machine.CODE)
    for target, value in ((one, 1), (two, 2), (one, 1)):
        snapshots.restore(target)
        assert machine.cpu.run(machine.CODE).reason is StopReason.HALT
        assert machine.cpu.read("rax") == value


def test_page_that_became_code_after_the_snapshot(machine, snapshots):
    """As a module that is loaded, run, and gone with the restore, then another in its place."""
    place = machine.CODE + 0x8000
    moment = snapshots.take()
    for value in (1, 2):
        machine.memory.protect(place, 1, READ | EXEC)
        machine.put(f"mov eax, {value}; hlt", place)
        machine.cpu.run(place)
        assert machine.cpu.read("rax") == value
        snapshots.restore(moment)
        assert machine.cpu.run(place).reason is StopReason.FAULT


def test_snapshot_of_another_machine_is_refused(machine, new_machine, snapshots):
    other = SnapshotTree(new_machine().memory)
    snapshots.take()
    machine.memory.write_u8(machine.DATA, 1)
    with pytest.raises(ValueError, match="another machine"):
        snapshots.restore(other.take())
    assert machine.memory.read_u8(machine.DATA) == 1
    with pytest.raises(ValueError, match="another machine"):
        SnapshotTree(new_machine().memory).restore(other.take())


class SnapshotsAgainstModel(RuleBasedStateMachine):
    """Random writes by host and guest, snapshots and restores; memory is compared with plain bytes."""

    moments = Bundle("moments")

    @initialize()
    def boot(self):
        self.machine = self.make()
        self.machine.put("mov [rbx], rax; hlt")
        self.tree = SnapshotTree(self.machine.memory)
        self.model = bytearray(0x10000)
        self.tree.take()

    @rule(offset=st.integers(0, 0xFFF8), data=st.binary(min_size=1, max_size=5000))
    def host_writes(self, offset, data):
        data = data[: 0x10000 - offset]
        self.machine.memory.write(self.machine.DATA + offset, data)
        self.model[offset : offset + len(data)] = data

    @rule(offset=st.integers(0, 0xFFF8), value=st.integers(0, (1 << 64) - 1), alias=st.booleans())
    def guest_writes(self, offset, value, alias):
        cpu = self.machine.cpu
        cpu.write("rax", value)
        cpu.write("rbx", (self.machine.DIRECT if alias else self.machine.DATA) + offset)
        assert cpu.run(self.machine.CODE).reason is StopReason.HALT
        self.model[offset : offset + 8] = value.to_bytes(8, "little")

    @rule(target=moments)
    def take(self):
        return self.tree.take(), bytes(self.model)

    @rule(moment=moments)
    def restore(self, moment):
        self.tree.restore(moment[0])
        self.model[:] = moment[1]

    @invariant()
    def agrees(self):
        assert self.machine.memory.read(self.machine.DATA, 0x10000) == self.model


def test_snapshots_against_a_model(new_machine):
    case = type("Case", (SnapshotsAgainstModel,), {"make": staticmethod(new_machine)}).TestCase
    case.settings = settings(max_examples=30, stateful_step_count=25)
    case().runTest()
