"""init_module(2), finit_module(2), delete_module(2) (kernel/module/main.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed
from kmod_emu.fs.file import BufferedOperations
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.kernel.tasks import CAP_SYS_MODULE
from kmod_emu.module.decompress import module_decompress
from kmod_emu.module.errors import LoadError
from kmod_emu.module.free import delete_module
from kmod_emu.module.load import Copy, load_module
from kmod_emu.module.modules import MODULE_NAME_LEN, Modules
from kmod_emu.module.traits import Traits
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

ELF_HEADER_SIZE = 64
COPY_CHUNK_SIZE = 16 * 4096
MODULE_INIT_IGNORE_MODVERSIONS, MODULE_INIT_IGNORE_VERMAGIC, MODULE_INIT_COMPRESSED_FILE = 1, 2, 4
_INT_MAX = (1 << 31) - 1


def may_init_module(kernel: KernelCore) -> None:
    """Only CAP_SYS_MODULE may, and only while modules are not disabled.

    Raises:
        KernelError: EPERM.
    """
    task, disabled = kernel.sched.current, kernel[Modules].disabled
    capable = task.capable(CAP_SYS_MODULE)
    kernel.events.emit("may_init_module", uid=task.uid, capable=capable, disabled=disabled)
    if not capable:
        raise KernelError(errno.EPERM, f"uid {task.uid} has no CAP_SYS_MODULE: only root may load modules")
    if disabled:
        raise KernelError(errno.EPERM, "kernel.modules_disabled is 1: no module can be loaded until a reboot")


@syscall(175)
async def sys_init_module(kernel: KernelCore, umod: int, length: int, uargs: int) -> int:
    """Load a module from the caller's memory."""
    may_init_module(kernel)
    copy = copy_module_from_user(kernel, umod, length)
    return await load_module(kernel, copy, uargs, 0)


def copy_module_from_user(kernel: KernelCore, umod: int, length: int) -> Copy:
    """Copy the image to temporary kernel memory, 64 KiB at a time.

    Raises:
        KernelError: ENOEXEC (shorter than an ELF header; nothing is printed), ENOMEM, EFAULT.
    """
    if length < ELF_HEADER_SIZE:
        raise KernelError(errno.ENOEXEC, f"{length} bytes are less than an ELF header")
    address = kernel.vmalloc.allocate(length)
    if not address:
        raise KernelError(errno.ENOMEM, f"no room for a temporary copy of {length} bytes")
    try:
        for offset in range(0, length, COPY_CHUNK_SIZE):
            size = min(COPY_CHUNK_SIZE, length - offset)
            kernel.memory.write(address + offset, kernel.user.copy_from(umod + offset, size))
    except KernelError:
        kernel.vmalloc.free(address)
        raise
    kernel.events.emit("copy_module_from_user", address=address, size=length, source=umod)
    return Copy(address, length)


@syscall(313)
async def sys_finit_module(kernel: KernelCore, fd: int, uargs: int, flags: int) -> int:
    """Load a module from an open file."""
    may_init_module(kernel)
    flags &= 0xFFFF_FFFF
    check_flags(kernel, flags)
    file = kernel[Vfs].files(kernel.sched.current).get(fd)
    if Traits.of(kernel.profile).early:
        return await idempotent_init_module(kernel, file, uargs, flags)
    return await init_module_from_file(kernel, file, uargs, flags)


def check_flags(kernel: KernelCore, flags: int) -> None:
    """finit_module(2) has few flags.

    Raises:
        KernelError: EINVAL.
    """
    known = MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC
    if not Traits.of(kernel.profile).silent:
        known |= MODULE_INIT_COMPRESSED_FILE
    if flags & ~known:
        raise KernelError(errno.EINVAL, f"finit_module has no flags {flags:#x}")


async def idempotent_init_module(kernel: KernelCore, file: File, uargs: int, flags: int) -> int:
    """Of several callers with the same file one loads it, the others wait for the result and share it.

    Raises:
        KernelError: EBADF, or why the one could not load it.
    """
    if not file.readable:
        raise KernelError(errno.EBADF, "the descriptor is not open for reading")
    modules, inode = kernel[Modules], file.inode
    if id(inode) in modules.loading_files:
        results: list[int] = []
        modules.loading_files[id(inode)][1].append(results)
        while not results:
            await modules.wait()
        if results[0]:
            raise KernelError(results[0], "somebody else was just loading this file, and failed")
        return 0
    modules.loading_files[id(inode)] = inode, []
    try:
        await init_module_from_file(kernel, file, uargs, flags)
    except Killed:
        raise  # a task that dies here completes nothing: who waits, waits for ever
    except KernelError as error:
        _idempotent_complete(modules, id(inode), error.errno)
        raise
    _idempotent_complete(modules, id(inode), 0)
    return 0


def _idempotent_complete(modules: Modules, inode: int, result: int) -> None:
    """Give the result to all who wait for it."""
    for results in modules.loading_files.pop(inode)[1]:
        results.append(result)
    modules.wake_all()


async def init_module_from_file(kernel: KernelCore, file: File, uargs: int, flags: int) -> int:
    """Read the file, decompress it if asked to, load it."""
    return await load_copy(kernel, await kernel_read_file(kernel, file), uargs, flags)


async def load_copy(kernel: KernelCore, copy: Copy, uargs: int, flags: int) -> int:
    """Load what was read from a file, decompressed if need be."""
    if flags & MODULE_INIT_COMPRESSED_FILE:
        data = kernel.memory.read(copy.address, copy.size)
        kernel.vmalloc.free(copy.address)
        try:
            copy = _temporary(kernel, module_decompress(kernel.profile, data))
        except LoadError as error:
            for level, line in error.dmesg:
                kernel.printk.emit(f"{line}\n", level)
            raise
    return await load_module(kernel, copy, uargs, flags)


def _temporary(kernel: KernelCore, data: bytes) -> Copy:
    address = kernel.vmalloc.allocate(len(data))
    if not address:
        raise KernelError(errno.ENOMEM, f"no room for {len(data)} bytes")
    kernel.memory.write(address, data)
    return Copy(address, len(data))


async def kernel_read_file(kernel: KernelCore, file: File) -> Copy:
    """Read a whole file to temporary kernel memory (fs/kernel_read_file.c).

    Raises:
        KernelError: EBADF, EINVAL (no regular file, or empty), ETXTBSY, EFBIG, ENOMEM, EIO.
    """
    if not file.readable:
        raise KernelError(errno.EBADF, "the descriptor is not open for reading")
    if not file.regular:
        raise KernelError(errno.EINVAL, "a module must be a regular file")
    if file.inode.writers > 0:
        raise KernelError(errno.ETXTBSY, "the file is open for writing")
    size = file.inode.size
    if not size:
        raise KernelError(errno.EINVAL, "the file is empty")
    if size > _INT_MAX:
        raise KernelError(errno.EFBIG, "the file is larger than 2 GiB")
    data = await file.op.get(file, size, 0) if isinstance(file.op, BufferedOperations) else b""
    if len(data) != size:
        raise KernelError(errno.EIO, f"the file gave {len(data)} of its {size} bytes")
    copy = _temporary(kernel, data)
    kernel.events.emit("copy_module_from_user", address=copy.address, size=copy.size, source=None)
    return copy


@syscall(176)
async def sys_delete_module(kernel: KernelCore, name_user: int, flags: int) -> int:
    """Unload a module."""
    task = kernel.sched.current
    modules = kernel[Modules]
    if not task.capable(CAP_SYS_MODULE) or modules.disabled:
        raise KernelError(errno.EPERM, "only root may unload modules" if task.uid else "modules are disabled")
    raw = kernel.user.read(name_user, 1)
    if not raw:
        raise KernelError(errno.EFAULT, "the module's name is not readable")
    try:
        name = kernel.user.strndup(name_user, MODULE_NAME_LEN)
    except KernelError as error:
        if error.errno == errno.EINVAL:
            raise KernelError(errno.ENOENT, "no module has a name that long") from None
        raise
    if not name:
        raise KernelError(errno.ENOENT, "the name is empty")
    await delete_module(kernel, name.decode("utf-8", "backslashreplace"), flags & 0xFFFF_FFFF)
    return 0
