"""Program files: ELF executables and scripts, as far as execve(2) looks at them (fs/binfmt_elf.c)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno

PT_LOAD, PT_INTERP, PT_GNU_STACK = 1, 3, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4
_ET_EXEC, _ET_DYN, _EM_X86_64 = 2, 3, 62
_HEADER = struct.Struct("<16xHHIQQQIHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_PATH_MAX = 4096
_BINPRM_BUF_SIZE = 256


class Segment(NamedTuple):
    """A PT_LOAD program header."""

    flags: int
    offset: int
    address: int
    file_size: int
    size: int
    align: int


class Program(NamedTuple):
    """What execve(2) needs to know of an ELF file.

    Attributes:
        fixed: Whether it must lie at the addresses it names.
        headers: Address of the program headers in memory, as the file has it.
        header_count: How many.
        interpreter: Path of the program that links it, "" if it is static.
    """

    fixed: bool
    entry: int
    segments: tuple[Segment, ...]
    headers: int
    header_count: int
    interpreter: str

    @property
    def span(self) -> tuple[int, int]:
        """Lowest and highest address of its segments."""
        return self.segments[0].address, max(s.address + s.size for s in self.segments)


def parse(data: bytes) -> Program:
    """Read the headers.

    Raises:
        KernelError: ENOEXEC, it is no x86-64 program; EINVAL or EIO for a bad interpreter.
    """
    if len(data) < 64 or data[:4] != b"\x7fELF":
        raise KernelError(errno.ENOEXEC, "the file is no ELF program")
    kind, machine, _, entry, phoff, _, _, _, phentsize, phnum = _HEADER.unpack_from(data)
    if kind not in (_ET_EXEC, _ET_DYN) or machine != _EM_X86_64 or data[4] != 2:
        raise KernelError(
            errno.ENOEXEC, f"the ELF file is no x86-64 program (type {kind}, machine {machine})"
        )
    if phentsize != _PHDR.size or not 0 < phnum <= 65536 // _PHDR.size:
        raise KernelError(errno.ENOEXEC, f"{phnum} program headers of {phentsize} bytes")
    if phoff + phnum * _PHDR.size > len(data):
        raise KernelError(errno.ENOEXEC, "the program headers lie outside of the file")
    segments, interpreter, headers = [], "", 0
    for index in range(phnum):
        kind_of, flags, offset, address, _, filesz, memsz, align = _PHDR.unpack_from(
            data, phoff + index * _PHDR.size
        )
        if kind_of == PT_LOAD:
            segments.append(_segment(flags, offset, address, filesz, memsz, align))
            if offset <= phoff < offset + filesz:
                headers = address + phoff - offset
        elif kind_of == PT_INTERP and not interpreter:
            interpreter = _interpreter(data, offset, filesz)
    if not segments:
        raise KernelError(errno.ENOEXEC, "the program has nothing to load")
    return Program(kind == _ET_EXEC, entry, tuple(segments), headers, phnum, interpreter)


def _segment(flags: int, offset: int, address: int, filesz: int, memsz: int, align: int) -> Segment:
    if filesz > memsz or (address - offset) % 4096 or address + memsz > 1 << 47:
        raise KernelError(errno.EINVAL, f"the segment at {address:#x} cannot be mapped")
    return Segment(flags, offset, address, filesz, memsz, align)


def _interpreter(data: bytes, offset: int, size: int) -> str:
    if not 2 <= size <= _PATH_MAX:
        raise KernelError(errno.ENOEXEC, f"the interpreter's path has {size} bytes")
    path = data[offset : offset + size]
    if len(path) < size:
        raise KernelError(errno.EIO, "the interpreter's path lies outside of the file")
    if path[-1]:
        raise KernelError(errno.ENOEXEC, "the interpreter's path does not end")
    return path.split(b"\0")[0].decode("utf-8", "surrogateescape")


def script_interpreter(data: bytes) -> list[bytes] | None:
    r"""What a `#!` line asks for: [path] or [path, argument]; None if there is none (fs/binfmt_script.c).

    Raises:
        KernelError: ENOEXEC, the line has no path, or one cut off.

    >>> script_interpreter(b"#! /bin/sh -e x \necho")
    [b'/bin/sh', b'-e x']
    """
    if not data.startswith(b"#!"):
        return None
    head = data[:_BINPRM_BUF_SIZE]
    line, newline, _ = head[2:].partition(b"\n")
    line = line.split(b"\0")[0]
    words = line.strip(b" \t").split(None, 1) if line.strip(b" \t") else []
    if not words or (not newline and len(head) == _BINPRM_BUF_SIZE and len(words) == 1):
        raise KernelError(errno.ENOEXEC, "the script's first line names no interpreter")
    return [words[0], words[1].strip(b" \t")] if len(words) > 1 else words
