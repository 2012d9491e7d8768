"""parse_args: giving a module its parameters (kernel/params.c)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.module import explain
from kmod_emu.module.elf import text
from kmod_emu.module.kernel_param import operations, parameters, set_parameter
from kmod_emu.module.next_arg import arguments, parameq
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module
    from kmod_emu.module.next_arg import Argument

_MAX_TEXT = 1 << 22


async def parse_args(kernel: KernelCore, module: Module) -> None:
    """Set every parameter; errors do not stop the parsing, the last one is the result.

    Raises:
        KernelError: What the last `set` that failed returned.
    """
    name = module.name
    after = ""
    failure: KernelError | None = None
    given = []
    for argument in arguments(kernel.memory.read_cstring(module.view.args, _MAX_TEXT)):
        if argument.name == b"--" and argument.value is None:
            if failure is None:
                after = text(argument.rest)
                kernel.printk.emit(f"{name}: parameters '{after}' after `--' ignored\n", 4)
            break
        given.append({"name": text(argument.name), "value": text(argument.value or b"")})
        result = await _parse_one(kernel, module, argument)
        if result < 0:
            failure = KernelError(-result, _why(kernel, module, argument, -result))
        if result > 0:  # no error pointer: the kernel takes it for the text behind `--`
            kernel.printk.emit(f"{name}: parameters '(efault)' after `--' ignored\n", 4)
            break
    kernel.events.emit("parse_args", params=given)
    if failure is not None:
        raise failure


async def _parse_one(kernel: KernelCore, module: Module, argument: Argument) -> int:
    name = module.name
    for parameter in parameters(kernel, module):
        if not parameq(parameter.name.encode("utf-8", "surrogateescape"), argument.name):
            continue
        place = 0
        if argument.value is not None:  # the value is handed over where it lies, as a string of its own
            place = module.view.args + argument.position
            kernel.memory.write_u8(place + len(argument.value), 0)
        if not place and not operations(kernel, parameter).noarg:
            result = -errno.EINVAL
        else:
            result = await set_parameter(kernel, module, parameter, place)
        value = text(kernel.memory.read_cstring(place, _MAX_TEXT)) if place else ""
        _complain(kernel, name, text(argument.name), value, result)
        return result
    _unknown(kernel, module, argument)
    return 0


def _complain(kernel: KernelCore, module: str, name: str, value: str, result: int) -> None:
    """The line that parse_args prints for a result that is not 0; `set` may have cut the value short."""
    if result == 0:
        return
    if result == -errno.ENOENT:
        kernel.printk.emit(f"{module}: Unknown parameter `{name}'\n", 3)
    elif result == -errno.ENOSPC:
        kernel.printk.emit(f"{module}: `{value}' too large for parameter `{name}'\n", 3)
    else:
        kernel.printk.emit(f"{module}: `{value}' invalid for parameter `{name}'\n", 3)


def _unknown(kernel: KernelCore, module: Module, argument: Argument) -> None:
    """unknown_module_param_cb(): two names are every module's, the rest is only worth a warning."""
    name = text(argument.name)
    if argument.name == b"async_probe":  # bad text, too, means yes
        module.view.async_probe_requested = int((argument.value or b"y")[0] not in b"nNfF0")
        return
    head, dot, tail = name.partition(".")
    if (tail if dot else head) == "dyndbg":  # a bad query is complained of, and no reason not to load
        from kmod_emu.module.dynamic_debug import exec_queries

        query = "+p" if argument.value is None else text(argument.value)
        with suppress(KernelError):
            exec_queries(kernel, query, head if dot else module.name)
        return
    kernel.printk.emit(f"{module.name}: unknown parameter '{head}' ignored\n", 4)


def _why(kernel: KernelCore, module: Module, argument: Argument, number: int) -> str:
    for parameter in parameters(kernel, module):
        if parameq(parameter.name.encode("utf-8", "surrogateescape"), argument.name):
            setter, count = operations(kernel, parameter).set, 0
            if parameter.ops == kernel.symbols.address("param_array_ops"):
                count = kernel.memory.read_u32(kernel.memory.read_u64(parameter.address + 32))
            return explain.parameter_refused(kernel, argument, number, setter, count)
    return ""
