"""printk's formats, with arguments that are numbers, text, nonsense, or lead into memory or nowhere."""

import struct

from kmod_emu.kernel.vsprintf import NotSupported, parse_prefix, vsnprintf
from kmod_emu.machine.memory import PageFault
from tests.kernel.printf_world import BASE, END, SYMBOLS, Values, World

EXPECTED = (PageFault, NotSupported)
_WILD = [0, 1, BASE, BASE + 8, BASE + 64, END - 1, END - 8, (1 << 64) - 1, (1 << 64) - 22, SYMBOLS[0][0]]


def seeds():
    formats = [
        b"%d %s",
        b"\0016%-08.3llx%%",
        b"%*pE %*ph %pM",
        b"%pI6c %pISpc %pU",
        b"%*pbl %pV %pK",
        b"%pd4 %pR",
    ]
    return [bytes(range(12)) + struct.pack("<QQ", BASE + 32, 5) * 3 + text for text in formats]


def start():
    world = World()

    def run(data):
        arguments, contents, format = data[:12], data[12:60], data[60:]
        world.memory.write(BASE, contents)
        values = [_WILD[byte % len(_WILD)] if byte & 1 else byte for byte in arguments] or [0]
        parse_prefix(vsnprintf(format, Values(values * 40), world, []))

    return run
