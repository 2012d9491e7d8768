"""Module parameters: running their `set` and `get` operations, which are guest code (kernel/params.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.taint import Taint
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module

_KERNEL_PARAM = struct.Struct("<QQQHbBxxxxQ")  # name, mod, ops, perm, level, flags, arg
_OPS = struct.Struct("<IxxxxQQQ")  # flags, set, get, free
_OPS_FL_NOARG = 1
_FLAG_UNSAFE = 1


class Parameter(NamedTuple):
    """One `struct kernel_param` of a module."""

    name: str
    address: int
    ops: int
    permissions: int
    flags: int

    @property
    def unsafe(self) -> bool:
        """Whether setting it taints the kernel."""
        return bool(self.flags & _FLAG_UNSAFE)


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


def parameters(kernel: KernelCore, module: Module) -> list[Parameter]:
    """The module's parameters in section order, as its memory has them now."""
    view, memory = module.view, kernel.memory
    table, count = view.kp, view.num_kp
    found = []
    for address in range(table, table + count * _KERNEL_PARAM.size, _KERNEL_PARAM.size):
        name, _, ops, perm, _, flags, _ = _KERNEL_PARAM.unpack(memory.read(address, _KERNEL_PARAM.size))
        text = memory.read_cstring(name).decode("utf-8", "backslashreplace")
        found.append(Parameter(text, address, ops, perm, flags))
    return found


def operations(kernel: KernelCore, parameter: Parameter) -> Ops:
    """The parameter's operations."""
    return Ops(*_OPS.unpack(kernel.memory.read(parameter.ops, _OPS.size)))


def check_unsafe(kernel: KernelCore, parameter: Parameter) -> None:
    """param_check_unsafe(): say so and taint."""
    if parameter.unsafe:
        kernel.printk.emit(f"Setting dangerous option {parameter.name} - tainting kernel\n", 5)
        kernel.taint.add(Taint.USER)


async def set_parameter(kernel: KernelCore, parameter: Parameter, text: int) -> int:
    """Call `set` with the address of the text (0: no value); its return value."""
    ops = operations(kernel, parameter)
    if not ops.set:
        return -errno.EPERM
    check_unsafe(kernel, parameter)
    return await kernel.call_guest_int(ops.set, text, parameter.address)


async def store_parameter(kernel: KernelCore, parameter: Parameter, value: bytes) -> None:
    """Set a parameter from what was written to its file, newline included (param_attr_store).

    Raises:
        KernelError: What `set` returned, ENOMEM.
    """
    text = kernel.heap.kmalloc(len(value) + 1)
    if not text:
        raise KernelError(errno.ENOMEM, f"no memory for the value of {parameter.name}")
    kernel.memory.write(text, value + b"\0")
    result = await set_parameter(kernel, parameter, text)
    kernel.heap.kfree(text)  # not in a `finally`: a task that dies here frees nothing
    if result < 0:
        raise KernelError(-result, f"{parameter.name} does not take this value")


async def get_parameter(kernel: KernelCore, parameter: Parameter) -> bytes:
    """Call `get` with a page; the text it leaves there (param_attr_show).

    Raises:
        KernelError: What `get` returned, EPERM without one.
    """
    ops = operations(kernel, parameter)
    if not ops.get:
        raise KernelError(errno.EPERM, f"{parameter.name} cannot be read")
    page = kernel.pages.allocate()
    length = await kernel.call_guest_int(ops.get, page, parameter.address)
    text = kernel.memory.read(page, min(max(length, 0), PAGE_SIZE))
    kernel.pages.free(page)
    if length < 0:
        raise KernelError(-length, f"reading {parameter.name} failed")
    return text


async def free_parameters(kernel: KernelCore, module: Module) -> None:
    """Call the `free` operations of all parameters (module_param `charp` copies; destroy_params)."""
    for parameter in parameters(kernel, module):
        ops = operations(kernel, parameter)
        if ops.free:
            arg = kernel.memory.read_u64(parameter.address + 32)
            await kernel.call_guest(ops.free, arg)
