"""What becomes of an event that an input driver reports (drivers/input/input.c)."""

from __future__ import annotations

from struct import pack, unpack
from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.drivers.input_bits import (
    CODES,
    EV_ABS,
    EV_CNT,
    EV_FF,
    EV_KEY,
    EV_MSC,
    EV_PWR,
    EV_REL,
    EV_REP,
    EV_SYN,
    STATES,
    SYN_CONFIG,
    SYN_MT_REPORT,
    SYN_REPORT,
    Bits,
)
from kmod_emu.drivers.keyboard import Keyboard
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.timer import mod_timer

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_IGNORE, _TO_HANDLERS, _TO_DEVICE, _FLUSH = 0, 1, 2, 8
_TO_ALL = _TO_HANDLERS | _TO_DEVICE
_VALUE_SIZE, _ABSINFO_SIZE = 8, 24
_MT_FIRST, _MT_LAST = 0x2F, 0x3D  # ABS_MT_SLOT and the values of a contact: no state without slots
_REP_DELAY, _REP_PERIOD = 0, 4  # offsets in `rep`


async def input_handle_event(kernel: KernelCore, dev: StructView, kind: int, code: int, value: int) -> None:
    """Decide, collect, and at the end of a packet pass on."""
    if dev.has("inhibited") and dev.inhibited:
        return
    where, value = _disposition(kernel, dev, kind, code, value)
    if where & _TO_DEVICE and dev.event:
        await kernel.call_guest(dev.event, dev.address, kind, code, value & 0xFFFF_FFFF)
    if not dev.vals:
        return
    if where & _TO_HANDLERS:
        _collect(dev, kind, code, value)
    count = dev.num_vals
    if where & _FLUSH:
        dev.num_vals = 0
        if count >= 2:
            await _pass_values(kernel, dev, kernel.memory.read(dev.vals, count * _VALUE_SIZE))
        kernel.memory.write_u64(dev.addressof("timestamp") + 8, 0)
    elif count >= dev.max_vals - 2:
        _collect(dev, EV_SYN, SYN_REPORT, 1)
        dev.num_vals = 0
        await _pass_values(kernel, dev, kernel.memory.read(dev.vals, (count + 1) * _VALUE_SIZE))


def _collect(dev: StructView, kind: int, code: int, value: int) -> None:
    dev.memory.write(dev.vals + dev.num_vals * _VALUE_SIZE, pack("<HHi", kind, code, value))
    dev.num_vals += 1


def _disposition(kernel: KernelCore, dev: StructView, kind: int, code: int, value: int) -> tuple[int, int]:
    """input_get_disposition(): who is told, and of which value; states are updated."""
    bits = Bits(dev)
    if kind == EV_SYN:
        known = {SYN_CONFIG: _TO_ALL, SYN_REPORT: _TO_HANDLERS | _FLUSH, SYN_MT_REPORT: _TO_HANDLERS}
        return known.get(code, _IGNORE), value
    if kind in (EV_PWR, EV_FF):
        return (_TO_ALL if kind == EV_PWR or value >= 0 else _IGNORE), value
    if kind == EV_REP:
        return _set_repeat(dev, code, value), value
    if kind not in CODES or not bits.supports(kind, code):
        return _IGNORE, value
    if kind == EV_ABS:
        return _axis(kernel, dev, code, value)
    if kind == EV_REL:
        return (_TO_HANDLERS if value else _IGNORE), value
    if kind == EV_MSC:
        return _TO_ALL, value
    if kind == EV_KEY and value == 2:
        return _TO_HANDLERS, value
    state = STATES[kind]
    changes = bits.test(state, code) != bool(value)
    if changes:
        bits.set(state, code, on=bool(value))
    if state == "snd":
        return _TO_ALL, value
    return (0 if not changes else _TO_ALL if state == "led" else _TO_HANDLERS), value


def _set_repeat(dev: StructView, code: int, value: int) -> int:
    place = dev.addressof("rep") + 4 * code
    if code > 1 or value < 0 or dev.memory.read_u32(place) == value:
        return _IGNORE
    dev.memory.write_u32(place, value)
    return _TO_ALL


def _axis(kernel: KernelCore, dev: StructView, code: int, value: int) -> tuple[int, int]:
    """input_handle_abs_event(): a position is news only if it differs by more than the noise."""
    if _MT_FIRST <= code <= _MT_LAST or not dev.absinfo:
        return _TO_HANDLERS, value
    info = dev.absinfo + code * _ABSINFO_SIZE
    old, _, _, fuzz = unpack("<4i", kernel.memory.read(info, 16))
    value = defuzz(value, old, fuzz)
    if value == old:
        return _IGNORE, value
    kernel.memory.write(info, pack("<i", value))
    return _TO_HANDLERS, value


def defuzz(value: int, old: int, fuzz: int) -> int:
    """input_defuzz_abs_event(): the nearer to the old value, the more of the old value.

    >>> [defuzz(value, 100, 8) for value in (103, 107, 115, 116)]
    [100, 101, 107, 116]
    """
    if fuzz:
        away = abs(value - old)
        if away < fuzz // 2:
            return old
        if away < fuzz:
            return _divide(old * 3 + value, 4)
        if away < fuzz * 2:
            return _divide(old + value, 2)
    return value


def _divide(number: int, by: int) -> int:
    return int(number / by)  # C rounds to zero


async def _pass_values(kernel: KernelCore, dev: StructView, values: bytes) -> None:
    """input_pass_values(): to the handle that grabbed the device, else to all that are open."""
    if not dev.grab:
        for kind, code, value in map(_arguments, _split(values)):
            if kind == EV_KEY:
                await kernel[Keyboard].event(code, value)
    if dev.grab:
        values = await _to_handler(kernel, kernel.view("input_handle", dev.grab), values)
    else:
        offset = kernel.profile.offset("input_handle", "d_node")
        for entry in list(lists.walk(kernel.memory, dev.addressof("h_list"))):
            handle = kernel.view("input_handle", entry - offset)
            if handle.open:
                values = await _to_handler(kernel, handle, values)
                if not values:
                    break
    bits = Bits(dev)
    if bits.test("evbit", EV_REP) and bits.test("evbit", EV_KEY):
        _repeat_keys(kernel, dev, values)


async def _to_handler(kernel: KernelCore, handle: StructView, values: bytes) -> bytes:
    """input_to_handler(): what a filter leaves of it."""
    handler = kernel.view("input_handler", handle.handler)
    if handler.filter:
        kept = b""
        for value in _split(values):
            if not await kernel.call_guest(handler.filter, handle.address, *_arguments(value)) & 0xFF:
                kept += value
        return kept
    if handler.events:
        place = kernel.heap.kmalloc(len(values))
        kernel.memory.write(place, values)
        await kernel.call_guest(handler.events, handle.address, place, len(values) // _VALUE_SIZE)
        kernel.heap.kfree(place)
    elif handler.event:
        for value in _split(values):
            await kernel.call_guest(handler.event, handle.address, *_arguments(value))
    return values


def _split(values: bytes) -> list[bytes]:
    return [values[start : start + _VALUE_SIZE] for start in range(0, len(values), _VALUE_SIZE)]


def _arguments(value: bytes) -> tuple[int, int, int]:
    kind, code, amount = unpack("<HHI", value)
    return kind, code, amount


# --- keys that repeat -----------------------------------------------------------------------------------


def start_softrepeat(kernel: KernelCore, dev: StructView, delay: int, period: int) -> None:
    """input_enable_softrepeat(): milliseconds until the first repetition, and between them."""
    kernel.view("timer_list", dev.addressof("timer")).function = kernel.symbol("input_repeat_key")
    kernel.memory.write(dev.addressof("rep"), pack("<II", delay, period))


def _arm(kernel: KernelCore, dev: StructView, which: int) -> None:
    milliseconds = kernel.memory.read_u32(dev.addressof("rep") + which)
    if milliseconds:
        ticks = -(-milliseconds * 250 // 1000)
        mod_timer(kernel, dev.addressof("timer"), kernel.clock.jiffies + ticks)


def _repeat_keys(kernel: KernelCore, dev: StructView, values: bytes) -> None:
    timer = kernel.view("timer_list", dev.addressof("timer"))
    for kind, code, value in map(_arguments, _split(values)):
        if kind != EV_KEY or value == 2:
            continue
        if not value:
            kernel.timers.disarm(timer.address)
        elif all(unpack("<II", dev.bytes("rep"))) and timer.function:
            dev.repeat_key = code
            _arm(kernel, dev, _REP_DELAY)


@export("void input_repeat_key(struct timer_list *t)")
async def input_repeat_key(kernel: KernelCore, t: int) -> None:
    """A key is still down."""
    dev = kernel.view("input_dev", t - kernel.profile.offset("input_dev", "timer"))
    bits, code = Bits(dev), dev.repeat_key
    if bits.test("key", code) and bits.supports(EV_KEY, code) and not dev.going_away:
        packet = pack("<HHi", EV_KEY, code, 2) + pack("<HHi", EV_SYN, SYN_REPORT, 1)
        await _pass_values(kernel, dev, packet)
        _arm(kernel, dev, _REP_PERIOD)


# --- what drivers call ----------------------------------------------------------------------------------


@export("void input_enable_softrepeat(struct input_dev *dev, int delay, int period)")
def input_enable_softrepeat(kernel: KernelCore, dev: StructView, delay: int, period: int) -> None:
    """Have the kernel repeat keys that are held down."""
    start_softrepeat(kernel, dev, delay, period)


@export("void input_event(struct input_dev *dev, unsigned int type, unsigned int code, int value)")
async def input_event(kernel: KernelCore, dev: StructView, type: int, code: int, value: int) -> None:
    """A driver reports something: input_report_key(), input_sync() and their kin."""
    if type < EV_CNT and Bits(dev).test("evbit", type):
        await input_handle_event(kernel, dev, type, code, value)


@export(
    "void input_inject_event(struct input_handle *handle, unsigned int type, unsigned int code, int value)"
)
async def input_inject_event(
    kernel: KernelCore, handle: StructView, type: int, code: int, value: int
) -> None:
    """A handler reports something; while another grabbed the device, nobody hears."""
    dev = kernel.view("input_dev", handle.dev)
    if type < EV_CNT and Bits(dev).test("evbit", type) and dev.grab in (0, handle.address):
        await input_handle_event(kernel, dev, type, code, value)


CLOCKS = ("real", "monotonic", "boottime")  # in the order in which `timestamp` has them


def timestamps(kernel: KernelCore, dev: StructView) -> tuple[int, ...]:
    """input_get_timestamp(): when the packet began, by each clock, in nanoseconds."""
    place = dev.addressof("timestamp")
    if not kernel.memory.read_u64(place + 8):
        input_set_timestamp(kernel, dev, kernel.clock.now_ns)
    return unpack("<3Q", kernel.memory.read(place, 24))


@export("void input_set_timestamp(struct input_dev *dev, ktime_t timestamp)")
def input_set_timestamp(kernel: KernelCore, dev: StructView, timestamp: int) -> None:
    """The time of the events that follow."""
    times = (EPOCH_AT_BOOT_NS + timestamp, timestamp, timestamp)
    kernel.memory.write(dev.addressof("timestamp"), pack("<3Q", *times))


@export("ktime_t *input_get_timestamp(struct input_dev *dev)")
def input_get_timestamp(kernel: KernelCore, dev: StructView) -> int:
    """The time of the events that follow, by three clocks."""
    timestamps(kernel, dev)
    return dev.addressof("timestamp")
