"""The console's keyboard: what keyboard notifiers are told of keys (drivers/tty/vt/keyboard.c).

Keys come from input devices that modules register, and from the machine's own keyboard, which Python presses.
There is no console behind it: key symbols are told, and typed nowhere. The key map is the US one that the
kernel has built in, for no modifier, Shift, Ctrl and Alt; with others a key is unbound.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.notifier_chain import call_chain, chain_place

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

KEYCODE, UNBOUND_KEYCODE, UNICODE, KEYSYM, POST_KEYSYM = range(1, 6)
_NOTIFY_STOP = 0x8001
_PARAM = struct.Struct("<QiiiI")  # struct keyboard_notifier_param: console, down, shift, ledstate, value
_VC_DATA = 1024  # more than a struct vc_data has
_FIRST_BUTTON = 0x100
_LATIN, _SPEC, _SHIFT, _META, _LETTER = 0xF000, 0xF200, 0xF700, 0xF800, 0xFB00
_HOLE = 0xF200
_LOCKS = {0xF207: 4, 0xF208: 2, 0xF209: 1}  # Caps, Num, Scroll Lock -> its light
_KG_SHIFT, _KG_CTRL, _KG_ALT = 1, 4, 8

# What the rows of the main block type, from key code 2, 16, 30 and 44 on, without and with Shift.
_ROWS = {
    2: ("1234567890-=", "!@#$%^&*()_+"),
    16: ("qwertyuiop[]", "QWERTYUIOP{}"),
    30: ("asdfghjkl;'`", 'ASDFGHJKL:"~'),
    43: ("\\zxcvbnm,./", "|ZXCVBNM<>?"),
}
_KEYPAD = {71: 7, 72: 8, 73: 9, 75: 4, 76: 5, 77: 6, 79: 1, 80: 2, 81: 3, 82: 0}
_OTHERS = {
    1: 0xF01B, 14: 0xF07F, 15: 0xF009, 28: 0xF201, 29: 0xF702, 42: 0xF700, 54: 0xF700, 55: 0xF30C,
    56: 0xF703, 57: 0xF020, 58: 0xF207, 69: 0xF208, 70: 0xF209, 74: 0xF30B, 78: 0xF30A, 83: 0xF310,
    87: 0xF10A, 88: 0xF10B, 96: 0xF30E, 97: 0xF702, 98: 0xF30D, 100: 0xF701, 102: 0xF114, 103: 0xF603,
    104: 0xF118, 105: 0xF601, 106: 0xF602, 107: 0xF117, 108: 0xF600, 109: 0xF119, 110: 0xF115, 111: 0xF116,
    119: 0xF11D, 84: 0xF206, 86: 0xF03C, 99: 0xF01C, 101: 0xF205, 112: 0xF11A, 113: 0xF10C, 114: 0xF10D,
    115: 0xF11B, 116: 0xF11C, 117: 0xF110, 118: 0xF311,
    **{59 + number: 0xF100 + number for number in range(10)},
    **{code: 0xF300 + digit for code, digit in _KEYPAD.items()},
}  # fmt: skip

# Where the map of one modifier differs from the rule that `keysym` follows.
_WITH = {
    _KG_SHIFT: {
        69: 0xF213, 70: 0xF203, 99: _HOLE, 86: 0xF03E, 104: 0xF20B, 109: 0xF20A,
        **{59 + number: 0xF10A + number for number in range(10)},
    },
    _KG_CTRL: {
        1: _HOLE, 3: 0xF000, 4: 0xF01B, 5: 0xF01C, 6: 0xF01D, 7: 0xF01E, 8: 0xF01F, 9: 0xF07F, 12: 0xF01F,
        14: 0xF008, 15: _HOLE, 26: 0xF01B, 27: 0xF01D, 40: 0xF007, 41: 0xF000, 43: 0xF01C, 52: 0xF20E,
        53: 0xF07F, 57: 0xF000, 70: 0xF204, 86: _HOLE,
    },
    _KG_ALT: {
        1: 0xF81B, 14: 0xF87F, 15: 0xF809, 28: 0xF80D, 57: 0xF820, 86: 0xF83C, 87: 0xF50A, 88: 0xF50B,
        105: 0xF210, 106: 0xF211,
        **{59 + number: 0xF500 + number for number in range(10)},
        **{code: 0xF900 + digit for code, digit in _KEYPAD.items()},
    },
}  # fmt: skip


def _typed(code: int, shifted: bool) -> str:
    """The character of a key, "" for keys that have none."""
    for start, rows in _ROWS.items():
        if start <= code < start + len(rows[0]):
            return rows[shifted][code - start]
    return ""


def keysym(code: int, shift: int) -> int | None:
    """The symbol of a key code with modifiers, as key maps have it; None where there is no map.

    >>> hex(keysym(30, 0)), hex(keysym(2, 1)), hex(keysym(46, 4))
    ('0xfb61', '0xf021', '0xf003')
    """
    if shift not in (0, _KG_SHIFT, _KG_CTRL, _KG_ALT):
        return None
    if (own := _WITH.get(shift, {}).get(code)) is not None:
        return own
    char = _typed(code, shift == _KG_SHIFT)
    if not char:
        return _OTHERS.get(code, _HOLE)
    if shift == _KG_CTRL:
        return _LATIN | ord(char) & 0x1F if char.isalpha() else _HOLE
    if shift == _KG_ALT:
        return _META | ord(char)
    return (_LETTER if char.isalpha() else _LATIN) | ord(char)


class Keyboard:
    """Which modifiers are held and which lights are on."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.shift = self.lights = 0

    async def event(self, code: int, down: int) -> None:
        """A key went up (0), down (1), or repeats (2) (kbd_keycode)."""
        if code >= _FIRST_BUTTON:
            return
        symbol = keysym(code, self.shift)
        kernel = self._kernel
        chain = chain_place(kernel, "keyboard")
        if kernel.memory.read_u64(chain):
            console = kernel.heap.kmalloc(_VC_DATA + _PARAM.size)
            await self._tell(chain, console, code, down, symbol)
            kernel.heap.kfree(console)
        elif symbol is not None:
            self._effect(symbol, down)

    async def _tell(self, chain: int, console: int, code: int, down: int, symbol: int | None) -> None:
        async def call(event: int, value: int) -> bool:
            fields = _PARAM.pack(console, down, self.shift, self.lights, value)
            self._kernel.memory.write(console + _VC_DATA, fields)
            return (await call_chain(self._kernel, chain, event, console + _VC_DATA))[0] == _NOTIFY_STOP

        if await call(KEYCODE, code) or symbol is None:
            await call(UNBOUND_KEYCODE, code)
            return
        if symbol & 0xFF00 == _LETTER and self.lights & _LOCKS[0xF207]:
            symbol = keysym(code, self.shift ^ _KG_SHIFT) or symbol
        if await call(KEYSYM, symbol):
            return
        self._effect(symbol, down)
        await call(POST_KEYSYM, symbol)

    def _effect(self, symbol: int, down: int) -> None:
        """What modifiers and locks do."""
        if symbol & 0xFF00 == _SHIFT and down < 2:
            bit = 1 << (symbol & 0xFF)
            self.shift = self.shift | bit if down else self.shift & ~bit
        elif symbol in _LOCKS and down == 1:
            self.lights ^= _LOCKS[symbol]

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [self.shift, self.lights]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.shift, self.lights = state
