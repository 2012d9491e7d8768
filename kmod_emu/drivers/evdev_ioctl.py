"""What programs ask an event node by ioctl(2): EVIOC* (drivers/input/evdev.c)."""

from __future__ import annotations

from struct import pack, unpack
from typing import TYPE_CHECKING

from kmod_emu.drivers.input import input_grab_device
from kmod_emu.drivers.input_bits import CODES, EV_ABS, EV_REP, STATES, Bits
from kmod_emu.drivers.input_events import input_inject_event
from kmod_emu.fs.file import copy_out
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.drivers.evdev import Client, Evdevs
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

_EVIOCGVERSION, _EVIOCGID, _EVIOCGREP, _EVIOCSREP = 0x80044501, 0x80084502, 0x80084503, 0x40084503
_EVIOCGEFFECTS, _EVIOCGRAB, _EVIOCREVOKE, _EVIOCSCLOCKID = 0x80044584, 0x40044590, 0x40044591, 0x400445A0
_EV_VERSION = 0x010001
_READ, _WRITE = 2, 1  # directions in a command
_ABSINFO_SIZE, _ABS_RESOLUTION = 24, 20
_CLOCKS = {0: 0, 1: 1, 7: 2}  # CLOCK_REALTIME, _MONOTONIC, _BOOTTIME -> index of the time stamp
_TEXTS = {6: "name", 7: "phys", 8: "uniq"}
_NOW = {0x18: "key", 0x19: "led", 0x1A: "snd", 0x1B: "sw"}
_NOT_HERE = {0x04: "EVIOCGKEYCODE", 0x0A: "EVIOCGMTSLOTS", 0x80: "EVIOCSFF", 0x81: "EVIOCRMFF",
             0x92: "EVIOCGMASK", 0x93: "EVIOCSMASK"}  # fmt: skip


async def evdev_ioctl(evdevs: Evdevs, file: File, client: Client, cmd: int, arg: int) -> int:
    """evdev_do_ioctl()."""
    kernel, evdev = evdevs.kernel, client.evdev
    dev, bits = evdevs.device(evdev), Bits(evdevs.device(evdev))
    if cmd == _EVIOCGVERSION:
        return _put(kernel, arg, pack("<I", _EV_VERSION))
    if cmd == _EVIOCGID:
        return _put(kernel, arg, dev.bytes("id"))
    if cmd in (_EVIOCGREP, _EVIOCSREP):
        if not bits.test("evbit", EV_REP):
            return -errno.ENOSYS
        if cmd == _EVIOCGREP:
            return _put(kernel, arg, dev.bytes("rep"))
        for code, value in enumerate(unpack("<2i", kernel.user.copy_from(arg, 8))):
            await input_inject_event(kernel, evdevs.handle(evdev), EV_REP, code, value)
        return 0
    if cmd == _EVIOCGEFFECTS:
        return _put(kernel, arg, pack("<I", 0))  # no device here gives force feedback
    if cmd == _EVIOCGRAB:
        return _grab(evdevs, file, client, on=bool(arg))
    if cmd == _EVIOCREVOKE:
        return _revoke(evdevs, file, client) if not arg else -errno.EINVAL
    if cmd == _EVIOCSCLOCKID:
        return _set_clock(client, unpack("<i", kernel.user.copy_from(arg, 4))[0])
    return await _sized(evdevs, client, dev, cmd, arg)


async def _sized(evdevs: Evdevs, client: Client, dev: StructView, cmd: int, arg: int) -> int:
    """Commands whose size says how much the program has room for."""
    kernel, bits = evdevs.kernel, Bits(dev)
    direction, size, number = cmd >> 30, cmd >> 16 & 0x3FFF, cmd & 0xFF
    if cmd >> 8 & 0xFF != ord("E"):
        return -errno.EINVAL
    if number in _NOT_HERE:
        kernel.printk.emit(f"kmod-emu: {_NOT_HERE[number]} is not implemented: EINVAL\n", 4)
        return -errno.EINVAL
    if direction == _WRITE and number & ~0x3F == 0xC0:
        return _set_axis(kernel, dev, bits, number & 0x3F, kernel.user.copy_from(arg, size))
    if direction != _READ:
        return -errno.EINVAL
    if number in _TEXTS:
        text = dev.get(_TEXTS[number])
        return _cut(kernel, arg, kernel.memory.read_cstring(text) + b"\0", size) if text else -errno.ENOENT
    if number == 9:
        return _cut(kernel, arg, dev.bytes("propbit"), size)
    if number in _NOW:
        kind = next(kind for kind, state in STATES.items() if state == _NOW[number])
        answer = _cut(kernel, arg, dev.bytes(_NOW[number]), size)
        _flush_queue(client, kind)
        return answer
    if number & ~0x1F == 0x20:
        kind = number & 0x1F
        member = CODES[kind][0] if kind in CODES else "evbit" if not kind else ""
        return _cut(kernel, arg, dev.bytes(member), size) if member else -errno.EINVAL
    if number & ~0x3F == 0x40 and dev.absinfo:
        info = kernel.memory.read(dev.absinfo + (number & 0x3F) * _ABSINFO_SIZE, _ABSINFO_SIZE)
        return _put(kernel, arg, info[:size])
    return -errno.EINVAL


def _put(kernel: KernelCore, arg: int, data: bytes) -> int:
    copy_out(kernel, arg, data)
    return 0


def _cut(kernel: KernelCore, arg: int, data: bytes, size: int) -> int:
    """As much as there is room for; how much that is."""
    data = data[:size]
    copy_out(kernel, arg, data)
    return len(data)


def _flush_queue(client: Client, kind: int) -> None:
    """The program knows the state now: events of that type that led to it are not told any more."""
    kept = [event for event in client.events[: client.ready] if unpack("<H", event[16:18])[0] != kind]
    client.events[: client.ready] = kept
    client.ready = len(kept)


def _set_axis(kernel: KernelCore, dev: StructView, bits: Bits, axis: int, info: bytes) -> int:
    """EVIOCSABS."""
    if not dev.absinfo or not bits.test("evbit", EV_ABS):
        return -errno.EINVAL
    if axis == 0x2F:  # ABS_MT_SLOT
        return -errno.EINVAL
    kernel.memory.write(dev.absinfo + axis * _ABSINFO_SIZE, info[:_ABSINFO_SIZE].ljust(_ABSINFO_SIZE, b"\0"))
    return 0


def _grab(evdevs: Evdevs, file: File, client: Client, *, on: bool) -> int:
    evdev = client.evdev
    if not on:
        if evdev.grab is not file:
            return -errno.EINVAL
        evdevs.ungrab(evdev, file)
        return 0
    if evdev.grab is not None:
        return -errno.EBUSY
    error = input_grab_device(evdevs.kernel, evdevs.handle(evdev))
    if not error:
        evdev.grab = file
    return error


def _revoke(evdevs: Evdevs, file: File, client: Client) -> int:
    client.revoked = True
    evdevs.ungrab(client.evdev, file)
    client.queue.wake(evdevs.kernel)
    return 0


def _set_clock(client: Client, clock: int) -> int:
    """EVIOCSCLOCKID: what was to be read has the wrong time, and is dropped."""
    if clock not in _CLOCKS:
        return -errno.EINVAL
    if client.clock != _CLOCKS[clock]:
        client.clock = _CLOCKS[clock]
        client.events, client.ready = [], 0
    return 0
