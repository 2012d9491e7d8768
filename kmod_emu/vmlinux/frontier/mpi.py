"""Arithmetic on large integers, which is only faster here: half of what a boot runs are self-tests of it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.watchdog import stuck
from kmod_emu.machine.cpu import Stop, StopReason
from kmod_emu.uapi import errno
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_LIMB, _BITS = 8, 64
_MPI = struct.Struct("<IIIiI4xQ")  # struct gcry_mpi, which kernels without types have as well
_SIZE, _SIGN = 4, 12  # in it: of the number in limbs, and where its sign is
_MOST = 10**9  # products of two limbs: the kernel's own code takes longer than the watchdog lets it run


class Number(NamedTuple):
    """A `struct gcry_mpi`: limbs that it has room for and has, its sign, where they are, its magnitude."""

    room: int
    size: int
    sign: int
    limbs: int
    value: int


def _read(kernel: VmlinuxKernel, mpi: int) -> Number:
    room, size, _, sign, _, limbs = _MPI.unpack(kernel.memory.read(mpi, _MPI.size))
    return Number(room, size, sign, limbs, int.from_bytes(kernel.memory.read(limbs, _LIMB * size), "little"))


@frontier.replace(
    "int mpi_powm(MPI res, MPI base, MPI exp, MPI mod)",
    "accelerated: what the kernel's own code has for a result, in a tenth of its time",
)
async def mpi_powm(kernel: VmlinuxKernel, res: int, base: int, exp: int, mod: int) -> int:
    """BASE to the power of EXP modulo MOD; signs count by themselves (lib/mpi/mpi-pow.c)."""
    number, power, modulus = (_read(kernel, each) for each in (base, exp, mod))
    if not modulus.size:
        return -errno.EINVAL
    if power.size * _BITS * modulus.size**2 > _MOST:
        stuck(kernel, kernel.sched.current, Stop(StopReason.LOCKUP, kernel.cpu.rip))
    result, sign, room = 0, 0, 0
    if not power.size:
        result = room = int(modulus.value != 1)
    elif _reduced(number, modulus):
        result, sign, room = pow(number.value, power.value, modulus.value), number.sign, 2 * modulus.size
        if number.sign and power.value & 1 and result:
            result, sign = modulus.value - result, modulus.sign
    if _read(kernel, res).room < room:
        failed = await kernel.call_guest_int(kernel.symbol("mpi_resize"), res, room)
        if failed:
            return -errno.ENOMEM
    size = -(-result.bit_length() // _BITS)
    kernel.memory.write(
        _MPI.unpack(kernel.memory.read(res, _MPI.size))[-1], result.to_bytes(_LIMB * size, "little")
    )
    kernel.memory.write_u32(res + _SIZE, size)
    kernel.memory.write_u32(res + _SIGN, sign)
    return 0


def _reduced(number: Number, modulus: Number) -> int:
    """A base with more limbs than the modulus is reduced by it first, shifted as far up as it has room."""
    if number.size <= modulus.size:
        return number.value
    return number.value % (modulus.value << _BITS * modulus.size - modulus.value.bit_length())
