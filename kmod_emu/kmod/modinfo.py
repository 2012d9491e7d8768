"""modinfo: what a module file says about itself (kmod 30, tools/modinfo.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmod_emu.kmod import signature
from kmod_emu.kmod.elf import modinfo_strings
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import is_module_file, module_name, read_module
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "modinfo",
    "FILE|NAME...",
    "Show what modules say about themselves; a NAME may be that of a sample.",
    {
        "-a, --author": "print only the author",
        "-d, --description": "print only the description",
        "-l, --license": "print only the licence",
        "-p, --parameters": "print only the parameters",
        "-n, --filename": "print only the path",
        "-0, --null": "end entries by NUL instead of newline",
        "-m, --modname": "take the argument as a module's name, not as an alias or file",
        "-F, --field=FIELD": "print only this field's values",
        "-k, --set-version=VERSION": "look names up for this release instead of the machine's",
        "-b, --basedir=DIR": "look names up in DIR/lib/modules instead of /lib/modules",
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
)
_FIELD_OPTIONS = {"a": "author", "d": "description", "l": "license", "p": "parm", "n": "filename"}

_PARAMETER_TAGS = ("parm", "parmtype")
_VALUE_COLUMN = 15  # a colon and this many columns, the tag's length taken off: less than 0 pads too, as in C


def main(console: Console, args: Sequence[str]) -> int:
    """The command: describes all arguments, and fails if one of them cannot be described."""
    from kmod_emu import samples

    line = Getopt(COMMAND, args)
    field, null, status = None, False, 0
    for key, value in console.options(line):
        if key == "0":
            null = True
        elif key == "F":
            field = value
        else:
            field = _FIELD_OPTIONS.get(key, field)
    if not line.operands:
        raise ToolError("modinfo: ERROR: missing module or filename.")
    for module in line.operands:
        path = str(samples.path(module)) if module in samples.names() else module
        try:
            for piece in modinfo(path, field, null=null, warn=console.err):
                console.out(piece)
        except ToolError as error:
            console.err(str(error))
            status = 1
    return status


def modinfo(
    path: str,
    field: str | None = None,
    *,
    null: bool = False,
    warn: Callable[[str], object] = lambda message: None,
) -> Iterator[str]:
    """What modinfo prints for a file, piece by piece: the path comes before the file is looked at.

    Args:
        path: The .ko file.
        field: Print only this field's values.
        null: End entries by NUL instead of newline.
        warn: Takes a message that does not end the work.

    Raises:
        ToolError: The file cannot be read or is no module.
    """
    if not is_module_file(path):
        raise ToolError(f"modinfo: ERROR: Module {path} not found.")
    end, absolute = "\0" if null else "\n", os.path.join(os.getcwd(), path)
    if field == "filename":
        yield absolute + end
        return
    if field is None:
        yield f"{'filename:':<16}{absolute}{end}"
    blob, tags = _read(path)
    if field == "parm":
        yield from (
            f"{name}:{f' ({kind})' if text is None else text}{end}"
            for name, text, kind in _parameters(tags, warn)
        )
    elif field is not None:
        yield from (f"{value}{end}" for tag, value in _fields(blob, tags) if tag == field)
    else:
        described = list(_parameters(tags, warn))  # warns before anything else is printed
        for tag, value in _fields(blob, tags):
            if tag not in _PARAMETER_TAGS:
                yield (
                    f"{tag}={value}{end}"
                    if null
                    else f"{tag}:{' ' * abs(_VALUE_COLUMN - len(tag))}{value}{end}"
                )
        yield from (
            f"{'parm:':<16}{name}:{kind if text is None else text}{end}" for name, text, kind in described
        )


def read_tags(path: str) -> list[tuple[str, str]]:
    """All tags of a module file, in file order.

    Raises:
        ToolError: The file cannot be read or is no module.
    """
    return _read(path)[1]


def _read(path: str) -> tuple[bytes, list[tuple[str, str]]]:
    """The file and its tags."""
    try:
        blob = read_module(path).image
        strings = modinfo_strings(blob)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ToolError(
            f"modinfo: ERROR: could not get modinfo from '{module_name(path)}': {reason}"
        ) from None
    parts = (tame(text.decode("utf-8", "surrogateescape")).partition("=") for text in strings)
    return blob, [(tag, value) for tag, _, value in parts]


def _fields(blob: bytes, tags: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Tags and values, harmless for a terminal, then what the signature says."""
    yield from tags
    signed = signature.find_signature(blob)
    if signed is not None:
        yield "sig_id", signed.id_type
        yield "signer", tame(signed.signer.decode("utf-8", "surrogateescape"))
        yield "sig_key", signature.hexadecimal(signed.key)
        yield "sig_hashalgo", signed.hash
        yield "signature", signature.wrapped(signed.signature)


def _parameters(
    tags: list[tuple[str, str]], warn: Callable[[str], object]
) -> Iterator[tuple[str, str | None, str]]:
    """Name, "description (type)" and type of each parameter, latest first, as kmod's list gives them.

    The middle is None for a parameter that has a type only.
    """
    merged: dict[str, list[str | None]] = {}  # name -> [description, type]
    for tag, value in tags:
        if tag in _PARAMETER_TAGS:
            name, colon, text = value.partition(":")
            if not colon:
                warn(f"modinfo: ERROR: Found invalid \"{tag}={value}\": missing ':'")
                continue
            merged.setdefault(name, [None, None])[_PARAMETER_TAGS.index(tag)] = text
    for name, (description, kind) in reversed(merged.items()):
        if description is None:
            yield name, None, kind or ""
        else:
            yield name, description if kind is None else f"{description} ({kind})", ""
