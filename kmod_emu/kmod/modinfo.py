"""modinfo: what a module file says about itself (kmod 30, tools/modinfo.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmod_emu.kernel.printk import escape
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import module_name, read_module
from kmod_emu.module import elf
from kmod_emu.module.errors import LoadError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARAMETER_TAGS = ("parm", "parmtype")


def modinfo(
    path: str, field: str | None = None, *, parameters: bool = False, null: bool = False
) -> Iterator[str]:
    """What modinfo prints for a file, piece by piece: the path comes before the file is looked at.

    Args:
        path: The .ko file.
        field: Print only this field's values.
        parameters: Print only the parameters.
        null: End entries by NUL instead of newline.

    Raises:
        ToolError: The file cannot be read or is no module.
    """
    if not (os.path.isfile(path) and ".ko" in os.path.basename(path)):  # else it is a module's name
        raise ToolError(f"modinfo: ERROR: Module {path} not found.")
    end, absolute = "\0" if null else "\n", os.path.abspath(path)
    if field == "filename":
        yield absolute + end
        return
    if field is None and not parameters:
        yield f"{'filename:':<16}{absolute}{end}"
    tags = read_tags(path)
    if parameters:
        yield from (f"{name}:{text}{end}" for name, text in _parameters(tags, with_name=True))
    elif field == "parm":
        yield from (f"{name}:{text}{end}" for name, text in _parameters(tags))
    elif field is not None:
        yield from (f"{_show(value)}{end}" for tag, value in tags if tag == field)
    else:
        for tag, value in tags:
            if tag not in _PARAMETER_TAGS:
                head = f"{_show(tag)}=" if null else f"{_show(tag) + ':':<16}"
                yield f"{head}{_show(value)}{end}"
        yield from (f"{'parm:':<16}{name}:{text}{end}" for name, text in _parameters(tags))


def read_tags(path: str) -> list[tuple[str, str]]:
    """All tags of a module file, in file order.

    Raises:
        ToolError: The file cannot be read or is no ELF object.
    """
    try:
        blob = read_module(path)
        if not blob.startswith(b"\x7fELF"):
            raise OSError(errno.ENOEXEC, errno.strerror(errno.ENOEXEC))
        image = elf.elf_validity_check(blob)
    except LoadError:
        raise _bad(path, errno.strerror(errno.EINVAL)) from None
    except OSError as error:
        raise _bad(path, error.strerror or str(error)) from None
    image.modinfo = image.find(".modinfo")
    return image.modinfo_tags()


def _bad(path: str, reason: str) -> ToolError:
    return ToolError(f"modinfo: ERROR: could not get modinfo from '{module_name(path)}': {reason}")


def _parameters(tags: list[tuple[str, str]], *, with_name: bool = False) -> Iterator[tuple[str, str]]:
    """Name and "description (type)" of each parameter, latest first, as kmod's list gives them."""
    merged: dict[str, list[str | None]] = {}  # name -> [description, type]
    for tag, value in tags:
        if tag in _PARAMETER_TAGS:
            name, _, text = value.partition(":")
            merged.setdefault(name, [None, None])[_PARAMETER_TAGS.index(tag)] = text
    for name, (description, kind) in reversed(merged.items()):
        if description is None:
            yield _show(name), _show(f" ({kind})" if with_name else kind or "")
        else:
            yield _show(name), _show(f"{description} ({kind})" if kind else description)


def _show(text: str) -> str:
    return escape(text.encode("utf-8", "surrogateescape"))
