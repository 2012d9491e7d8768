"""Functions that modules use here and there: times, words, counts, scatter lists, calls on other processors.

What the numbers should be is what a module printed on Debian's 6.1.0-56.
"""

import errno
import re
import struct

import pytest

from kmod_emu import Kernel


@pytest.fixture(scope="module")
def kernel():
    return Kernel()


def call(kernel, name, *arguments):
    return kernel.call(kernel.symbol(name), *arguments)


def room(kernel, contents):
    address = kernel.heap.kmalloc(max(len(contents), 8))
    kernel.memory.write(address, contents)
    return address


@pytest.mark.parametrize(
    ("name", "time", "rounded"),
    [
        ("round_jiffies", 1000060, 1000060),  # that was long ago
        ("round_jiffies_up", 4294967297, 4294967500),
        ("round_jiffies", 4294967500 + 61, 4294967500),
        ("round_jiffies", 4294967500 + 62, 4294967750),
        ("__round_jiffies", 4294967500, 4294967500),
    ],
)
def test_round_jiffies(name, time, rounded):
    assert call(Kernel(), name, time) == rounded, "on a machine for which no time has passed"


def test_argv_split(kernel):
    argc = room(kernel, bytes(8))
    argv = call(kernel, "argv_split", 0xCC0, room(kernel, b"  one two\tthree \0"), argc)
    assert kernel.memory.read_u32(argc) == 3
    pointers = struct.unpack("<4Q", kernel.memory.read(argv, 32))
    assert [kernel.memory.read_cstring(pointer) for pointer in pointers[:3]] == [b"one", b"two", b"three"]
    assert pointers[3] == 0
    live = len(kernel.heap.live)
    call(kernel, "argv_free", argv)
    assert len(kernel.heap.live) == live - 1


def test_a_count_that_ends_under_a_lock(kernel):
    count = room(kernel, struct.pack("<I", 2))
    assert call(kernel, "refcount_dec_not_one", count) & 1
    assert not call(kernel, "refcount_dec_not_one", count) & 1
    assert kernel.memory.read_u32(count) == 1
    lock = room(kernel, bytes(64))
    call(kernel, "__mutex_init", lock, 0, 0)
    assert call(kernel, "refcount_dec_and_mutex_lock", count, lock) & 1
    assert call(kernel, "mutex_is_locked", lock)
    call(kernel, "mutex_unlock", lock)
    kernel.memory.write_u32(count, 2)
    assert not call(kernel, "_atomic_dec_and_lock", count, lock)
    assert kernel.memory.read_u32(count) == 1


def test_there_is_one_processor(kernel):
    assert call(kernel, "smp_call_function_single", 3, 0, 0, 1) & 0xFFFF_FFFF == 2**32 - errno.ENXIO
    seen = []

    @kernel.export("int interrupted(void *info)")
    def interrupted(kernel, info: int) -> int:
        seen.append((info, kernel.cpu.read("eflags") >> 9 & 1))
        return 7

    function = kernel.symbol("interrupted")
    assert call(kernel, "smp_call_function_single", 0, function, 5, 1) == 0
    assert call(kernel, "stop_machine", function, 6, 0) == 7
    assert seen == [(5, 0), (6, 0)]


def test_work_on_a_processor_runs_in_a_worker(kernel):
    who = []

    @kernel.export("long work_there(void *arg)")
    def work_there(kernel, arg: int) -> int:
        who.append(kernel.sched.current.comm)
        return arg + 1

    assert call(kernel, "work_on_cpu", 0, kernel.symbol("work_there"), 41) == 42
    assert who[0].startswith("kworker/")


def test_copying_through_a_scatter_list(kernel):
    table, first, second = (room(kernel, text) for text in (bytes(16), b"abcdefgh", b"ijklmnop"))
    assert call(kernel, "sg_alloc_table", table, 2, 0xCC0) == 0
    entries = kernel.memory.read_u64(table)
    call(kernel, "sg_init_one", entries, first, 8)
    kernel.memory.write_u64(entries, kernel.memory.read_u64(entries) & ~2)
    call(kernel, "sg_init_one", entries + 32, second, 8)
    buffer = room(kernel, bytes(32))
    assert call(kernel, "sg_pcopy_to_buffer", entries, 2, buffer, 8, 5) == 8
    assert kernel.memory.read(buffer, 8) == b"fghijklm"
    assert call(kernel, "sg_copy_from_buffer", entries, 2, room(kernel, b"0123456789"), 10) == 10
    assert kernel.memory.read(first, 8) + kernel.memory.read(second, 8) == b"0123456789klmnop"
    assert call(kernel, "sg_zero_buffer", entries, 2, 4, 6) == 4
    assert kernel.memory.read(second, 8) == b"\0\0klmnop"
    call(kernel, "sg_free_table", table)


def test_what_a_pool_gets_back_goes_to_its_reserve_first(kernel):
    allocate, free = kernel.symbol("mempool_kmalloc"), kernel.symbol("mempool_kfree")
    pool = call(kernel, "mempool_create", 2, allocate, free, 64)
    reserve = kernel.mempools.pools[pool][3]
    taken = reserve.pop()
    call(kernel, "mempool_free", taken, pool)
    assert reserve[-1] == taken
    assert call(kernel, "mempool_resize", pool, 4) == 0
    assert len(reserve) == 4
    live = len(kernel.heap.live)
    call(kernel, "mempool_destroy", pool)
    assert len(kernel.heap.live) == live - 5


def test_pages_shown_once_more_survive_saving(tmp_path):
    kernel = Kernel()
    pages = [call(kernel, "alloc_pages", 0xCC0, 0) for _ in range(2)]
    array = room(kernel, struct.pack("<2Q", *reversed(pages)))
    both = call(kernel, "vmap", array, 2, 4, 0)
    snapshot = kernel.snapshot()
    call(kernel, "strcpy", both + 4096, room(kernel, b"text\0"))
    kernel.save(tmp_path / "machine")
    loaded = Kernel.load(tmp_path / "machine")
    assert loaded.memory.read_cstring(both + 4096) == b"text"
    assert call(loaded, "strlen", both + 4096) == 4
    kernel.restore(snapshot)
    assert call(kernel, "strlen", both + 4096) == 0
    call(kernel, "vunmap", both)
    assert not kernel.memory.mapped(both)
    call(kernel, "vunmap", both)
    lines = kernel.dmesg()
    assert re.fullmatch(r"Trying to vfree\(\) nonexistent vm area \([0-9a-f]{16}\)", lines[1])
    assert lines[2].endswith(" at mm/vmalloc.c:2758 __vunmap+0x7e/0x340")


def test_a_saved_stack_is_printed(kernel):
    store = room(kernel, struct.pack("<2Q", kernel.symbol("strlen") + 1, kernel.symbol("strcpy") + 2))
    call(kernel, "stack_trace_print", store, 2, 1)
    first, second = kernel.dmesg()[-2:]
    assert first.startswith("  strlen+0x1/")
    assert second.startswith("  strcpy+0x2/")
