"""Programs in ring 3: starting one, and system calls a second."""

from __future__ import annotations

from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu import Kernel

# getpid() in a loop of R12 rounds, then exit(0): position-independent machine code of one page
_LOOP = bytes.fromhex("b8270000000f0549ffcc75f4b83c00000031ff0f05")
_START = 0x401000
_CALLS = 20_000


def program(rounds: int) -> bytes:
    """An ELF file that makes `rounds` system calls."""
    code = b"\x49\xbc" + rounds.to_bytes(8, "little") + _LOOP
    header = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header += (2).to_bytes(2, "little") + (62).to_bytes(2, "little") + (1).to_bytes(4, "little")
    header += _START.to_bytes(8, "little") + (64).to_bytes(8, "little") + bytes(12)
    header += b"".join(word.to_bytes(2, "little") for word in (64, 56, 1, 0, 0, 0))
    segment = (1).to_bytes(4, "little") + (5).to_bytes(4, "little")
    size, base = 4096 + len(code), _START - 4096
    segment += b"".join(word.to_bytes(8, "little") for word in (0, base, base, size, size, 4096))
    return (header + segment).ljust(4096, b"\0") + code


def measure(effort: Effort) -> list[Row]:
    """One row each."""
    kernel, calls = Kernel(), max(int(_CALLS * effort.scale), 1)
    many, one = program(calls), program(1)

    def run(image: bytes) -> float:
        return seconds(lambda: kernel.exec(image))

    run(one)
    (loop,) = best(effort, lambda: run(many))
    (start,) = best(effort, lambda: run(one))
    return [
        Row("system calls of a program in ring 3", "/s", calls / loop, None, 20_000),
        Row("starting and ending a small program", "ms", start * 1e3, None, 10, at_most=True),
    ]
