"""Arithmetic that Python does for the kernel: it has the results of the kernel's own code."""

import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kmod_emu.errors import Killed
from tests.vmlinux.test_frontier import own_code as own_code

MPI = struct.Struct("<IIIiI4xQ")
ROOM = 8  # a result that is also an argument needs no more: the kernel's code would lose it then


@pytest.fixture
def powers(real, own_code):
    """mpi_powm() as it is served, and as the kernel has it."""
    function = real.symbol("mpi_powm")
    served = real.memory.read(function, 16)

    def power(own, values, room, same):
        real.memory.write(function, own_code(function) if own else served)
        limbs = [max(-(-abs(value).bit_length() // 64), 0) for value in values]
        places = [real.heap.kmalloc(MPI.size) for _ in range(3)]
        for place, value, count in zip(places, values, limbs, strict=True):
            contents = real.heap.kmalloc(8 * (count + ROOM))
            real.memory.write(contents, abs(value).to_bytes(8 * count, "little"))
            real.memory.write(place, MPI.pack(count + ROOM, count, 0, int(value < 0), 0, contents))
        result = real.heap.kmalloc(MPI.size)
        real.memory.write(result, MPI.pack(room, 0, 0, 0, 0, real.heap.kmalloc(8 * room) if room else 0))
        result = [result, *places][same]
        answer = real.call(function, result, *places) & 0xFFFF_FFFF
        size, sign, contents = (MPI.unpack(real.memory.read(result, MPI.size))[index] for index in (1, 3, 5))
        return answer, size, sign, real.memory.read(contents, 8 * size) if size else b""

    def both(*arguments):
        return power(True, *arguments), power(False, *arguments)

    return both


def number(limbs):
    return st.integers(-(1 << 64 * limbs) + 1, (1 << 64 * limbs) - 1)


@example((-3, 3, 7), 0, 0)
@example((7, 3, 7), 0, 0)
@example((-7 << 64, 3, 7), 0, 0)
@example((1 << 64, 3, 1 << 63), 0, 0)
@example((5, 0, 1), 0, 0)
@example((5, 0, 9), 0, 0)
@example((0, 5, 9), 4, 0)
@example((5, 5, 0), 4, 0)
@example((-5, 2, -9), 4, 1)
@given(st.tuples(number(4), number(2).map(abs), number(3)), st.integers(0, 8), st.integers(0, 3))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_powers_are_those_of_the_kernel(powers, values, room, same):
    kernels, ours = powers(values, room, same)
    assert ours == kernels
    if values[2] and values[0] >= 0:
        assert int.from_bytes(ours[3], "little") == pow(values[0], values[1], abs(values[2]))


def test_what_would_take_the_kernel_too_long_ends_the_caller(real):
    places = [real.heap.kmalloc(MPI.size) for _ in range(3)]
    for place in places:
        contents = real.heap.kmalloc(8 * 400)
        real.memory.write(contents, b"\xff" * 8 * 400)
        real.memory.write(place, MPI.pack(400, 400, 0, 0, 0, contents))
    with pytest.raises(Killed):
        real.call(real.symbol("mpi_powm"), places[0], *places)
    assert any("soft lockup" in line for line in real.dmesg())
