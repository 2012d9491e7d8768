"""What readers of files on the host's side make of a module: modinfo, its signature, modutils' insmod."""

from kmod_emu.classic.modinfo import describe_parameters
from kmod_emu.classic.obj import ObjectFile
from kmod_emu.kmod.elf import modinfo_strings
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.signature import find_signature
from kmod_emu.module.elf import parse_modinfo
from tests.conftest import RECORDINGS

EXPECTED = (OSError, ToolError)


def seeds():
    return [(RECORDINGS / "errno-cases" / f"h_{name}.ko").read_bytes() for name in ("none", "hello")]


def start():
    def run(data):
        find_signature(data)
        parse_modinfo(data)
        try:
            modinfo_strings(data)
        finally:
            list(describe_parameters(ObjectFile("fuzz.o", data)))

    return run
