from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

EINVAL, ENOMEM, EFAULT = 22, 12, 14
steps = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=30)


def put_fifo(guest: Guest, size: int, esize: int = 1) -> int:
    fifo, buffer = guest.put(bytes(24)), guest.put(bytes(size * esize))
    assert guest.call_int("__kfifo_init", fifo, buffer, size * esize, esize) == 0
    guest.write(fifo, struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0))  # soon to wrap
    return fifo


@pytest.mark.parametrize(
    ("size", "esize", "rc", "mask"), [(16, 1, 0, 15), (100, 1, 0, 63), (100, 8, 0, 7), (1, 1, -EINVAL, 0)]
)
def test_init_rounds_down(guest: Guest, size: int, esize: int, rc: int, mask: int) -> None:
    fifo = guest.put(b"\xa5" * 24)

    assert guest.call_int("__kfifo_init", fifo, 0x1000, size, esize) == rc
    assert guest.unpack("<IIIIQ", fifo) == (0, 0, mask, esize, 0x1000)


def test_alloc_rounds_up_and_free_clears(guest: Guest) -> None:
    def kmalloc(size: int, gfp: int) -> int:
        asked.append((size, gfp))
        return 0x2000

    asked: list[tuple[int, int]] = []
    freed: list[int] = []
    guest.bind_import("__kmalloc", kmalloc)
    guest.bind_import("kfree", lambda block: freed.append(block))
    fifo = guest.put(b"\xa5" * 24)

    assert guest.call_int("__kfifo_alloc", fifo, 5, 4, 0xCC0) == 0
    assert guest.unpack("<IIIIQ", fifo) == (0, 0, 7, 4, 0x2000)
    guest.call("__kfifo_free", fifo)
    assert guest.read(fifo, 24) == bytes(24)
    assert asked == [(32, 0xCC0)]
    assert freed == [0x2000]
    assert guest.call_int("__kfifo_alloc", fifo, 1, 4, 0xCC0) == -EINVAL
    guest.bind_import("__kmalloc", lambda: 0)
    assert guest.call_int("__kfifo_alloc", fifo, 8, 4, 0xCC0) == -ENOMEM


@pytest.mark.parametrize("esize", [1, 4])
@given(steps=steps)
def test_first_in_first_out(machine: Guest, esize: int, steps: list[tuple[bool, int]]) -> None:
    machine.reset()
    fifo, out = put_fifo(machine, 16, esize), machine.put(bytes(20 * esize))
    queue: deque[bytes] = deque()
    number = 0
    for into, count in steps:
        if into:
            elements = [struct.pack("<I", number + i)[:esize] for i in range(count)]
            number += count
            taken = machine.call("__kfifo_in", fifo, machine.put(b"".join(elements)), count)
            assert taken == min(count, 16 - len(queue))
            queue.extend(elements[:taken])
        else:
            wanted = b"".join(list(queue)[:count])
            assert machine.call("__kfifo_out_peek", fifo, out, count) * esize == len(wanted)
            assert machine.read(out, len(wanted)) == wanted
            assert machine.call("__kfifo_out", fifo, out, count) * esize == len(wanted)
            assert machine.read(out, len(wanted)) == wanted
            for _ in range(len(wanted) // esize):
                queue.popleft()


@pytest.mark.parametrize("recsize", [1, 2])
@given(steps=steps)
def test_records(machine: Guest, recsize: int, steps: list[tuple[bool, int]]) -> None:
    machine.reset()
    fifo, out = put_fifo(machine, 64), machine.put(bytes(20))
    queue: deque[bytes] = deque()
    for number, (into, count) in enumerate(steps):
        used = sum(len(record) + recsize for record in queue)
        if into:
            record = bytes([number]) * count
            fits = used + count + recsize <= 64
            assert machine.call("__kfifo_in_r", fifo, machine.put(record), count, recsize) == (
                count if fits else 0
            )
            if fits:
                queue.append(record)
        elif queue:
            record = queue.popleft()
            assert machine.call("__kfifo_len_r", fifo, recsize) == len(record)
            assert machine.call("__kfifo_out_peek_r", fifo, out, count, recsize) == min(count, len(record))
            assert machine.call("__kfifo_out_r", fifo, out, count, recsize) == min(count, len(record))
            assert machine.read(out, min(count, len(record))) == record[:count]
        else:
            assert machine.call("__kfifo_out_r", fifo, out, count, recsize) == 0


def test_record_helpers(guest: Guest) -> None:
    fifo, tail = put_fifo(guest, 64), guest.put(bytes(4))
    guest.call("__kfifo_in_r", fifo, guest.put(b"abc"), 3, 1)
    guest.call("__kfifo_in_r", fifo, guest.put(b"de"), 2, 1)

    assert guest.call("__kfifo_out_linear_r", fifo, tail, 2, 1) == 2
    assert guest.unpack("<I", tail) == (0xFFFFFFF1,)
    guest.call("__kfifo_skip_r", fifo, 1)
    assert guest.call("__kfifo_len_r", fifo, 1) == 2
    assert [guest.call("__kfifo_max_r", n, 1) for n in (5, 255, 256)] == [5, 255, 255]


def test_out_linear_ends_where_the_buffer_does(guest: Guest) -> None:
    fifo, tail = put_fifo(guest, 32), guest.put(bytes(4))
    guest.call("__kfifo_in", fifo, guest.put(bytes(30)), 30)

    assert guest.call("__kfifo_out_linear", fifo, tail, 30) == 16
    assert guest.unpack("<I", tail) == (16,)


class User:
    """_copy_from_user and _copy_to_user of 'user' memory that ends after so many bytes."""

    def __init__(self, guest: Guest, memory: bytes) -> None:
        self.guest, self.memory = guest, bytearray(memory)
        guest.bind_import("_copy_from_user", self.from_user)
        guest.bind_import("_copy_to_user", self.to_user)

    def from_user(self, to: int, user: int, count: int) -> int:
        data = bytes(self.memory[user : user + count])
        self.guest.write(to, data)
        return count - len(data)

    def to_user(self, user: int, start: int, count: int) -> int:
        n = min(count, len(self.memory) - user)
        self.memory[user : user + n] = self.guest.read(start, n)
        return count - n


def test_from_user_and_to_user_wrap(guest: Guest) -> None:
    user, copied = User(guest, bytes(range(40))), guest.put(bytes(4))
    fifo = put_fifo(guest, 32)

    assert guest.call_int("__kfifo_from_user", fifo, 0, 40, copied) == 0
    assert guest.unpack("<I", copied) == (32,)
    user.memory[:] = bytes(40)
    assert guest.call_int("__kfifo_to_user", fifo, 5, 40, copied) == 0
    assert guest.unpack("<I", copied) == (32,)
    assert user.memory[5:37] == bytes(range(32))


def test_a_fault_keeps_what_was_copied_in_whole_elements(guest: Guest) -> None:
    User(guest, bytes(10))
    fifo, copied = put_fifo(guest, 8, 4), guest.put(bytes(4))

    assert guest.call_int("__kfifo_from_user", fifo, 0, 16, copied) == -EFAULT
    assert guest.unpack("<I", copied) == (8,)
    start, end = guest.unpack("<II", fifo)
    assert start - end == 2


def test_record_from_and_to_user(guest: Guest) -> None:
    user, copied = User(guest, b"hello"), guest.put(bytes(4))
    fifo = put_fifo(guest, 32)

    assert guest.call_int("__kfifo_from_user_r", fifo, 0, 6, copied, 1) == -EFAULT
    assert guest.call_int("__kfifo_from_user_r", fifo, 0, 5, copied, 1) == 0
    assert guest.unpack("<I", copied) == (5,)
    assert guest.call_int("__kfifo_from_user_r", fifo, 0, 200, copied, 1) == 0
    assert guest.unpack("<I", copied) == (0,)
    user.memory[:] = bytes(5)
    assert guest.call_int("__kfifo_to_user_r", fifo, 0, 99, copied, 1) == 0
    assert bytes(user.memory) == b"hello"
    assert guest.call_int("__kfifo_to_user_r", fifo, 0, 99, copied, 1) == 0
    assert guest.unpack("<I", copied) == (0,)
