"""Debug information that was damaged, as whatever shows lines, variables and structures reads it."""

import struct
from io import BytesIO

from elftools.elf.elffile import ELFFile

from kmod_emu import samples
from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.dwarf.info import DebugInfo
from kmod_emu.debug.lines import LineTable
from kmod_emu.module.evidence import Evidence

EXPECTED = (DebugError, ValueError)
_CHANGE = struct.Struct("<BIB")
_TEXT = 0x1000


def seeds():
    return [_CHANGE.pack(section, 300 * section, 255) for section in range(8)]


def start():
    image = samples.path("hello").read_bytes()
    debug = [s for s in ELFFile(BytesIO(image)).iter_sections() if ".debug_" in s.name and s["sh_size"]]

    def run(data):
        changed = bytearray(image)
        for which, place, value in _CHANGE.iter_unpack(data[: len(data) // _CHANGE.size * _CHANGE.size]):
            section = debug[which % len(debug)]
            changed[section["sh_offset"] + place % section["sh_size"]] = value
        info = DebugInfo(bytes(changed), {".text": _TEXT, ".init.text": 0x2000})
        for name in info.type_names()[:20]:
            info.type_named(name)
        for name in info.functions:
            info.entries(name)
        info.variable_names(), info.enumerators, info.folders
        info.lines.at(_TEXT)
        for scope in info.scopes(_TEXT):
            list(scope.variables(parameters=True))
        if info.frames:
            info.frames.rules(_TEXT)
        Evidence(bytes(changed)).layouts.layout("module")
        LineTable(bytes(changed))

    return run
