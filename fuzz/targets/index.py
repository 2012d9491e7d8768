"""modules.*.bin, and the patterns in it."""

from kmod_emu.kmod import index
from kmod_emu.kmod.fnmatch import fnmatch

EXPECTED = (ValueError,)


def seeds():
    entries = [(b"hello", b"a", 1), (b"help*", b"b", 2), (b"pci:v0000[0-9]*d?", b"c", 0)]
    return [index.build(entries), b"\xb0\x07\xf4\x57\0\2\0\1\0\0\0\0"]


def start():
    def run(data):
        fnmatch(data[: len(data) // 2], data[len(data) // 2 :])
        found = index.Index(data)
        found.search(b"hello")
        found.searchwild(b"helpx")
        for _ in zip(range(200), found.entries(), strict=False):
            pass

    return run
