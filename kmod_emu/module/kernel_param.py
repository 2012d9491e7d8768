"""Module parameters: running their `set` and `get` operations, which are guest code (kernel/params.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.locking import mutex_lock, mutex_unlock
from kmod_emu.kernel.taint import Taint
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.module.modules import Parameter
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module

_KERNEL_PARAM = struct.Struct("<QQQHbBxxxxQ")  # name, mod, ops, perm, level, flags, arg
_OPS = struct.Struct("<IxxxxQQQ")  # flags, set, get, free
_OPS_FL_NOARG = 1
_FLAG_UNSAFE, _FLAG_HWPARAM = 1, 2


class Ops(NamedTuple):
    """struct kernel_param_ops."""

    flags: int
    set: int
    get: int
    free: int

    @property
    def noarg(self) -> bool:
        """Whether a value may be missing."""
        return bool(self.flags & _OPS_FL_NOARG)


def parameters(kernel: KernelCore, module: Module, *, shown: bool = False) -> Iterator[Parameter]:
    """The module's parameters in section order, as its memory has them now; or those that /sys shows."""
    view, memory = module.view, kernel.memory
    table, count = view.kp, view.num_kp
    for address in range(table, table + count * _KERNEL_PARAM.size, _KERNEL_PARAM.size):
        name, _, ops, perm, _, flags, _ = _KERNEL_PARAM.unpack(memory.read(address, _KERNEL_PARAM.size))
        if perm or not shown:
            text = memory.read_cstring(name).decode("utf-8", "backslashreplace")
            yield Parameter(text, address, ops, perm, flags)


def operations(kernel: KernelCore, parameter: Parameter) -> Ops:
    """The parameter's operations."""
    return Ops(*_OPS.unpack(kernel.memory.read(parameter.ops, _OPS.size)))


def param_check_unsafe(kernel: KernelCore, parameter: Parameter) -> bool:
    """Whether a parameter may be set; an unsafe one taints, one that steers hardware may be locked down."""
    if parameter.flags & _FLAG_HWPARAM:
        try:
            kernel.lockdown.check("unsafe module parameters")
        except KernelError:
            return False
    if parameter.flags & _FLAG_UNSAFE:
        kernel.printk.emit(f"Setting dangerous option {parameter.name} - tainting kernel\n", 5)
        kernel.taint.add(Taint.USER)
    return True


async def set_parameter(kernel: KernelCore, module: Module, parameter: Parameter, text: int) -> int:
    """Call `set` with the address of the text (0: no value), under the module's lock; its return value."""
    lock = module.view.addressof("param_lock")
    await mutex_lock(kernel, lock)
    result = -errno.EPERM
    if param_check_unsafe(kernel, parameter):
        setter = operations(kernel, parameter).set
        result = await kernel.call_guest_int(setter, text, parameter.address)
    mutex_unlock(kernel, lock)
    return result


async def store_parameter(kernel: KernelCore, module: Module, parameter: Parameter, value: bytes) -> int:
    """Set a parameter from what was written to its file, newline included (param_attr_store).

    Returns:
        What write(2) returns: all of it was taken, or what `set` returned above 0.

    Raises:
        KernelError: What `set` returned; EPERM without one; ENOMEM.
    """
    if not operations(kernel, parameter).set:
        raise KernelError(errno.EPERM, f"{parameter.name} cannot be set")
    text = kernel.heap.kmalloc(len(value) + 1)
    if not text:
        raise KernelError(errno.ENOMEM, f"no memory for the value of {parameter.name}")
    kernel.memory.write(text, value + b"\0")
    result = await set_parameter(kernel, module, parameter, text)
    kernel.heap.kfree(text)  # not in a `finally`: a task that dies here frees nothing
    if result < 0:
        raise KernelError(-result, f"{parameter.name} does not take this value")
    return result or len(value)


async def get_parameter(kernel: KernelCore, module: Module, parameter: Parameter) -> bytes:
    """Call `get` with a page, under the module's lock; the text it leaves there (param_attr_show).

    Raises:
        KernelError: What `get` returned, EPERM without one.
    """
    getter, lock = operations(kernel, parameter).get, module.view.addressof("param_lock")
    if not getter:
        raise KernelError(errno.EPERM, f"{parameter.name} cannot be read")
    page = kernel.pages.allocate()
    await mutex_lock(kernel, lock)
    length = await kernel.call_guest_int(getter, page, parameter.address)
    mutex_unlock(kernel, lock)
    if length >= PAGE_SIZE:  # fs/sysfs/file.c: sysfs_kf_seq_show
        kernel.printk.emit("fill_read_buffer: module_attr_show+0x0/0x30 returned bad count\n", 4)
        length = PAGE_SIZE - 1
    text = kernel.memory.read(page, max(length, 0))
    kernel.pages.free(page)
    if length < 0:
        raise KernelError(-length, f"reading {parameter.name} failed")
    return text


@export("void kernel_param_lock(struct module *mod)")
async def kernel_param_lock(kernel: KernelCore, mod: int) -> int:
    """Keep a module's parameters from being changed; NULL stands for those of built-in modules."""
    return await mutex_lock(kernel, _param_lock(kernel, mod))


@export("void kernel_param_unlock(struct module *mod)")
def kernel_param_unlock(kernel: KernelCore, mod: int) -> None:
    """Let them be changed again."""
    mutex_unlock(kernel, _param_lock(kernel, mod))


def _param_lock(kernel: KernelCore, mod: int) -> int:
    if not mod:
        return kernel.symbols.address("param_lock")
    return kernel.view("module", mod).addressof("param_lock")


@export_data("struct mutex param_lock", lambda kernel: kernel.profile.struct("mutex").size)
def param_lock(kernel: KernelCore, address: int) -> None:
    """The lock of built-in modules' parameters, free while it is zero; not exported."""


async def free_parameters(kernel: KernelCore, module: Module) -> None:
    """Call the `free` operations of all parameters (module_param `charp` copies; destroy_params)."""
    for parameter in parameters(kernel, module):
        ops = operations(kernel, parameter)
        if ops.free:
            arg = kernel.memory.read_u64(parameter.address + 32)
            await kernel.call_guest(ops.free, arg)
