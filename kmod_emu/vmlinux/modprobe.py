"""/sbin/modprobe of a machine whose modules are in a directory of the host (`--modules`).

It is a program of a few instructions, so that all the kernel does to start it and to wait for it is the
kernel's own; its one system call is Python, which is the modprobe of kmod/. What the machine has in
modprobe.d counts.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.syscalls import do_syscall, make_entry, number_of
from kmod_emu.module.kmod import Kmod
from kmod_emu.uapi.fcntl import O_RDONLY

if TYPE_CHECKING:
    from kmod_emu.kmod.config import Config
    from kmod_emu.kmod.files import ModuleFile
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

PATH = "/sbin/modprobe"
_NUMBER = 0x6B6D6F64  # of the system call; the kernel's own end at some 500
_BASE = 0x40_0000
_MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_POPULATE, _READ_WRITE = 2, 0x20, 0x8000, 3
_ROOM = 1 << 16
_DIRENT = struct.Struct("<QqHB")
_MOST_WORDS = 64


def install(kernel: VmlinuxKernel) -> None:
    """Where the machine has a directory of modules, its kernel finds a modprobe."""
    kernel.own_syscalls[_NUMBER] = make_entry(sys_modprobe)
    if kernel[Kmod].directory is not None and not kernel.userland.exists(PATH):
        kernel.userland.put_file(PATH, program())


def program() -> bytes:
    """exit_group(modprobe(rsp)), as a static ELF file."""
    code = (
        b"\x48\x89\xe7"  # mov rdi, rsp
        + b"\xb8" + struct.pack("<I", _NUMBER)  # mov eax, number
        + b"\x0f\x05\x89\xc7"  # syscall; mov edi, eax
        + b"\xb8" + struct.pack("<I", number_of("exit_group"))
        + b"\x0f\x05"
    )  # fmt: skip
    size = 64 + 56 + len(code)
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 4096)
    return ident + header + segment + code


async def sys_modprobe(kernel: VmlinuxKernel, stack: int) -> int:
    """What the program does with its arguments, which are on its stack: its exit status."""
    from kmod_emu.kmod.helper import Quiet, insert, load_by

    words = _words(kernel, stack)[1:]
    names = [word for word in words if not word.startswith("-")]
    unknown = [word for word in words if word.startswith("-") and word not in ("-q", "--")]
    inside = await _Inside.make(kernel)
    if unknown or not names:
        await inside.say(
            f"modprobe: here it loads a module by its name and knows -q only: {' '.join(words)}\n"
        )
        return 1
    name, *params = names

    async def load(file: ModuleFile, params: str, flags: int) -> int:
        image = await inside.map(file.image)
        text = await inside.map(os.fsencode(params) + b"\0")
        return await load_by(kernel, "init_module", image, len(file.image), text)

    kernel.events.emit("request_module", name=name, wait=True, comm="modprobe", pid=kernel.sched.current.pid)
    error = await insert(kernel, await inside.config(), Quiet(), name, load, " ".join(params))
    kernel.events.emit("request_module_result", name=name, result=bool(error) << 8, wait=True)
    if error and "-q" not in words:
        await inside.say(f"modprobe: {name}: {os.strerror(error)}\n")
    return int(bool(error))


def _words(kernel: VmlinuxKernel, stack: int) -> list[str]:
    count = min(struct.unpack("<Q", kernel.user.copy_from(stack, 8))[0], _MOST_WORDS)
    pointers = struct.unpack(f"<{count}Q", kernel.user.copy_from(stack + 8, 8 * count))
    return [os.fsdecode(kernel.user.strndup(pointer, _ROOM).rstrip(b"\0")) for pointer in pointers]


class _Inside:
    """What the program does in its process: memory, files.

    Args:
        kernel: The machine.
        room: Address of some memory.
    """

    def __init__(self, kernel: VmlinuxKernel, room: int) -> None:
        self._kernel, self._room = kernel, room

    @classmethod
    async def make(cls, kernel: VmlinuxKernel) -> _Inside:
        """With memory."""
        inside = cls(kernel, 0)
        inside._room = await inside.map(bytes(_ROOM))
        return inside

    async def map(self, data: bytes) -> int:
        """Fresh memory that holds `data`."""
        flags = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_POPULATE
        address = await self._system_call("mmap", 0, max(len(data), 1), _READ_WRITE, flags, -1, 0)
        self._kernel.user.write(address, data)
        return address

    async def config(self) -> Config:
        """What modprobe.d says, here and in the directory of modules."""
        from kmod_emu.kmod.config import DEFAULT_PATHS, read_config

        kernel, found = self._kernel, dict[str, str]()
        config = read_config(kernel[Kmod].directory or "", (), "", lambda text: None)
        for place in DEFAULT_PATHS:
            for name in await self._names(place):
                if name.endswith((".conf", ".alias")) and not name.startswith("."):
                    found.setdefault(name, f"{place}/{name}")
        for name in sorted(found, key=os.fsencode):
            config.take(found[name], await self._contents(found[name]), lambda text: None)
        return config

    async def say(self, text: str) -> None:
        """Write to descriptor 2."""
        data = os.fsencode(text)[:_ROOM]
        self._kernel.user.write(self._room, data)
        await self._system_call("write", 2, self._room, len(data))

    async def _system_call(self, name: str, *arguments: int) -> int:
        return await do_syscall(self._kernel, number_of(name, self._kernel), arguments)

    async def _open(self, path: str) -> int:
        self._kernel.user.write(self._room, os.fsencode(path) + b"\0")
        return await self._system_call("open", self._room, O_RDONLY, 0)

    async def _names(self, path: str) -> list[str]:
        """What is in a directory; nothing, where there is none."""
        names: list[str] = []
        for data in await self._read(path, "getdents64"):
            place = 0
            while place < len(data):
                size = _DIRENT.unpack_from(data, place)[2]
                names.append(os.fsdecode(data[place + _DIRENT.size : place + size].partition(b"\0")[0]))
                place += size
        return names

    async def _contents(self, path: str) -> bytes:
        return b"".join(await self._read(path, "read"))

    async def _read(self, path: str, call: str) -> list[bytes]:
        """What a system call gives of a file, again and again."""
        pieces: list[bytes] = []
        try:
            fd = await self._open(path)
        except KernelError:
            return pieces
        try:
            while count := await self._system_call(call, fd, self._room, _ROOM):
                pieces.append(self._kernel.user.read(self._room, count))
        except KernelError:  # a directory instead of a file, or the other way round
            pass
        await self._system_call("close", fd)
        return pieces
