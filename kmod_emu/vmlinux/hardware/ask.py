"""Asking the kernel to register what Python plays."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.printf_spec import is_err_value
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.vmlinux.kernel import VmlinuxKernel


def ask(kernel: VmlinuxKernel, function: str, *arguments: int, what: str) -> int:
    """Call a function that returns an int.

    Raises:
        KernelError: What it returned.
    """
    result = to_int(kernel.call(kernel.lookup_name(function), *arguments))
    if result < 0:
        raise KernelError(-result, f"the kernel does not take {what}")
    return result


def make(kernel: VmlinuxKernel, function: str, *arguments: int, what: str) -> int:
    """Call a function that returns a pointer.

    Raises:
        KernelError: What it returned instead; ENODEV for NULL.
    """
    result = kernel.call(kernel.lookup_name(function), *arguments)
    if not result or is_err_value(result):
        raise KernelError((-result & 0xFFFF) or errno.ENODEV, f"the kernel does not make {what}")
    return result


@contextmanager
def borrowed(kernel: VmlinuxKernel, struct: str, room: int = 0) -> Iterator[StructView]:
    """A structure of zeros for the length of a call, with some room behind it."""
    view = made(kernel, struct, room)
    try:
        yield view
    finally:
        kernel.heap.kfree(view.address)


def made(kernel: VmlinuxKernel, struct: str, room: int = 0) -> StructView:
    """A structure of zeros that stays, with some room behind it."""
    size = kernel.profile.struct(struct).size + room
    view = kernel.view(struct, kernel.heap.kmalloc(size))
    kernel.memory.clear(view.address, size)
    return view
