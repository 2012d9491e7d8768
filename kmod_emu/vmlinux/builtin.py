"""The built-in modules that have a directory in /sys/module, with their parameters.

Those are the prefixes of the names of built-in parameters that /sys shows; a name without a prefix belongs to
"kernel" (kernel/params.c: param_sysfs_builtin). A built-in module with a version has a directory too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.layout import StructLayout
    from kmod_emu.vmlinux.vmlinux import Vmlinux

__all__ = ["builtin_modules"]

_NO_PREFIX = "kernel"


def builtin_modules(
    kernel: Vmlinux, kernel_param: StructLayout | None, version: StructLayout | None
) -> dict[str, dict[str, int]]:
    """Module -> parameter -> permissions.

    Args:
        kernel: The vmlinux.
        kernel_param: The layout of struct kernel_param.
        version: The layout of struct module_version_attribute.
    """
    modules: dict[str, dict[str, int]] = {}
    if kernel_param is not None:
        place = kernel_param.members["perm"]
        for entry in _entries(kernel.contents("__param"), kernel_param.size):
            permissions = int.from_bytes(entry[place.offset : place.offset + place.size], "little")
            name = _text(kernel, entry, kernel_param.offset("name"))
            module, dot, parameter = name.rpartition(".")
            if permissions and parameter:
                modules.setdefault(module if dot else _NO_PREFIX, {})[parameter] = permissions
    if version is not None:
        for entry in _versions(kernel, version.size):
            if name := _text(kernel, entry, version.offset("module_name")):
                modules.setdefault(name, {})
    return modules


def _versions(kernel: Vmlinux, size: int) -> Iterator[bytes]:
    """Every struct module_version_attribute: they begin with the name "version"; before 5.12 pointers."""
    table = kernel.contents("__modver")
    if _text(kernel, table, 0) == "version":
        yield from _entries(table, size)
        return
    for pointer in _entries(table, 8):
        try:
            yield kernel.read(int.from_bytes(pointer, "little"), size)
        except KeyError:
            continue


def _entries(table: bytes, size: int) -> Iterator[bytes]:
    return (table[at : at + size] for at in range(0, len(table) - size + 1, size))


def _text(kernel: Vmlinux, entry: bytes, offset: int) -> str:
    """The text that a pointer in an entry points to, "" where there is none."""
    try:
        return kernel.text(int.from_bytes(entry[offset : offset + 8], "little"))
    except KeyError:
        return ""
