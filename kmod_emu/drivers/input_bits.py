"""The bitmaps of a `struct input_dev`: what it can send, and which keys, lights and switches are on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView

EV_SYN, EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW = range(6)
EV_LED, EV_SND, EV_REP, EV_FF, EV_PWR = 0x11, 0x12, 0x14, 0x15, 0x16
EV_CNT = 0x20
SYN_REPORT, SYN_CONFIG, SYN_MT_REPORT, SYN_DROPPED = range(4)
KEY_RESERVED = 0
# Of each type of event: which codes a device may send, and the last that there is.
CODES = {
    EV_KEY: ("keybit", 0x2FF),
    EV_REL: ("relbit", 0x0F),
    EV_ABS: ("absbit", 0x3F),
    EV_MSC: ("mscbit", 0x07),
    EV_LED: ("ledbit", 0x0F),
    EV_SND: ("sndbit", 0x07),
    EV_FF: ("ffbit", 0x7F),
    EV_SW: ("swbit", 0x10),
}
STATES = {EV_KEY: "key", EV_LED: "led", EV_SND: "snd", EV_SW: "sw"}


class Bits:
    """Bits of the members of a view, by number."""

    __slots__ = ("_view",)

    def __init__(self, view: StructView) -> None:
        self._view = view

    def _place(self, member: str, bit: int) -> tuple[int, int]:
        return self._view.addressof(member) + bit // 8, 1 << bit % 8

    def test(self, member: str, bit: int) -> bool:
        """Whether it is set."""
        address, mask = self._place(member, bit)
        return bool(self._view.memory.read_u8(address) & mask)

    def set(self, member: str, bit: int, on: bool = True) -> None:
        """Set it, or clear it."""
        address, mask = self._place(member, bit)
        old = self._view.memory.read_u8(address)
        self._view.memory.write_u8(address, old | mask if on else old & ~mask)

    def clear(self, member: str, bit: int) -> None:
        """Clear it."""
        self.set(member, bit, on=False)

    def count(self, member: str) -> int:
        """How many are set."""
        return int.from_bytes(self._view.bytes(member), "little").bit_count()

    def supports(self, kind: int, code: int) -> bool:
        """is_event_supported(): whether the device said that it sends events of that type and code."""
        member, last = CODES[kind]
        return code <= last and self.test(member, code)

    def words(self, member: str) -> str:
        """input_print_bitmap(): as words of 64 bits in hexadecimal, the highest first, without leading zeros.

        A member of 24 bytes in which only bit 65 is set is `2 0`.
        """
        raw = self._view.bytes(member)
        words = [int.from_bytes(raw[start : start + 8], "little") for start in range(0, len(raw), 8)]
        while len(words) > 1 and not words[-1]:
            words.pop()
        return " ".join(f"{word:x}" for word in reversed(words))
