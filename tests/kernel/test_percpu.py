"""The per-CPU area, as modules address it through GS."""

import itertools

import pytest

from kmod_emu import Killed
from kmod_emu.kernel.percpu import CANARY, CANARY_OFFSET, MODULE_RESERVE, PREEMPT_ENABLED


def read_gs(guest, offset):
    return guest.call("mov rax, gs:[rdi]; ret", offset)


def test_guest_sees_the_kernels_variables(kernel, guest):
    offset = kernel.percpu.offset
    assert read_gs(guest, offset("this_cpu_off")) == kernel.percpu.base
    assert read_gs(guest, offset("__preempt_count")) & 0xFFFF_FFFF == PREEMPT_ENABLED
    assert read_gs(guest, offset("cpu_number")) & 0xFFFF_FFFF == 0
    assert read_gs(guest, offset("current_task")) == kernel.tasks.worker().address
    assert read_gs(guest, CANARY_OFFSET) == CANARY
    assert CANARY & 0xFF == 0


def test_per_cpu_offset_table(kernel):
    assert kernel.memory.read_u64(kernel.symbol("__per_cpu_offset")) == kernel.percpu.base


def test_only_percpu_symbols_have_offsets(kernel):
    assert kernel.percpu.offset("kfree") is None
    assert kernel.percpu.offset("no such symbol") is None


def test_values_by_name(kernel):
    kernel.percpu.write("__preempt_count", 5, 4)
    assert kernel.percpu.read("__preempt_count", 4) == 5
    kernel.percpu.write("no such symbol", 5, 4)
    assert kernel.percpu.read("no such symbol", 4) == 0


def test_allocations_are_aligned_zeroed_and_apart(kernel):
    percpu = kernel.percpu
    spans = []
    for size, align in [(1, 8), (100, 64), (8, 8), (3000, 4096), (16, 16)]:
        offset = percpu.allocate(size, align)
        assert offset % align == 0
        assert kernel.memory.read(percpu.base + offset, size) == bytes(size)
        kernel.memory.write(percpu.base + offset, b"\xff" * size)
        spans.append((offset, offset + size))
    spans.sort()
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_freed_space_is_used_again_and_zeroed(kernel):
    first = kernel.percpu.allocate(64, 8)
    kernel.percpu.allocate(64, 8)
    kernel.memory.write(kernel.percpu.base + first, b"x" * 64)
    assert kernel.percpu.free(first)
    assert not kernel.percpu.free(first)
    assert kernel.percpu.allocate(64, 8) == first
    assert kernel.memory.read(kernel.percpu.base + first, 64) == bytes(64)


def test_modules_have_a_share_of_their_own(kernel):
    percpu = kernel.percpu
    start = kernel.profile.static_percpu_size
    assert start <= percpu.allocate(8, 8, reserved=True) < start + MODULE_RESERVE
    assert percpu.allocate(MODULE_RESERVE, 8, reserved=True) == 0
    assert percpu.allocate(8, 8) >= start + MODULE_RESERVE


def test_space_used_up(kernel):
    assert kernel.percpu.allocate(1 << 30, 8) == 0


def test_alloc_percpu_is_reached_through_gs(kernel, guest):
    pointer = guest.export("__alloc_percpu", 8, 8)
    guest.call("mov qword ptr gs:[rdi], 77; ret", pointer)
    assert kernel.memory.read_u64(kernel.percpu.base + pointer) == 77
    guest.export("free_percpu", pointer)
    guest.export("free_percpu", 0)
    assert guest.export("__alloc_percpu_gfp", 8, 8, 0) == pointer


def test_freeing_what_is_not_allocated_is_an_oops(kernel, guest):
    with pytest.raises(Killed):
        guest.export("free_percpu", 0x12345)
    assert kernel.oopses.count == 1


def test_state_survives(kernel):
    kernel.percpu.allocate(64, 8)
    state = kernel.percpu.save()
    following = kernel.percpu.allocate(32, 8)
    kernel.percpu.load(state)
    assert kernel.percpu.allocate(32, 8) == following
