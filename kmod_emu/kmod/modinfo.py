"""modinfo: what a module file says about itself (kmod 30, tools/modinfo.c)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kmod import signature
from kmod_emu.kmod.elf import modinfo_strings
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import is_module_file, module_name, read_module
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.text import tame
from kmod_emu.uapi import errno

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


class Source(NamedTuple):
    """Where to find out about one module.

    Attributes:
        name: Its name.
        path: Its file, None if it has none because the kernel has it in itself.
        builtin: The module directory, if the kernel has it in itself.
    """

    name: str
    path: str | None
    builtin: str | None = None


@dataclass
class _Settings:
    field: str | None = None
    null: bool = False
    by_name: bool = False
    root: str | None = None
    release: str | None = None


def main(console: Console, args: Sequence[str]) -> int:
    """The command: describes all arguments, and fails if one of them cannot be described."""
    settings, operands = _parse(console, args)
    status = 0
    for argument in operands:
        try:
            sources = _find(console, settings, argument)
        except ToolError as error:
            console.err(str(error))
            sources, status = [], 1
        for source in sources:
            try:
                for piece in describe(source, settings.field, null=settings.null, warn=console.err):
                    console.out(piece)
            except ToolError as error:
                console.err(str(error))
                status = 1
    return status


def _parse(console: Console, args: Sequence[str]) -> tuple[_Settings, list[str]]:
    line, settings = Getopt(COMMAND, args), _Settings()
    for key, value in console.options(line):
        match key:
            case "0":
                settings.null = True
            case "m":
                settings.by_name = True
            case "F":
                settings.field = value
            case "b":
                settings.root = value
            case "k":
                settings.release = value
            case _:
                settings.field = _FIELD_OPTIONS[key]
    if not line.operands:
        raise ToolError("modinfo: ERROR: missing module or filename.")
    return settings, line.operands


def _find(console: Console, settings: _Settings, argument: str) -> list[Source]:
    """The modules that an argument means; a sample's name is the last thing it may be."""
    if is_module_file(argument) and not settings.by_name:
        return [Source(module_name(argument), os.path.join(os.getcwd(), argument))]
    from kmod_emu import samples
    from kmod_emu.kmod.config import Config
    from kmod_emu.kmod.context import Context

    release = settings.release or console.release()
    context = Context(
        os.path.join(os.getcwd(), f"{settings.root or ''}/lib/modules/{release}"),
        Config(),
        lambda place, text: None,
    )
    if settings.by_name:
        module = context.lookup_name(argument)
        modules, what = [module] if module else [], "Module name"
    else:
        found = context.lookup(argument)
        modules, what = found or [], "Module" if found is not None else "Module alias"
    if modules:
        return [Source(m.name, m.find_path(), context.directory if m.is_builtin() else None) for m in modules]
    if argument in samples.names():
        return [Source(argument, str(samples.path(argument)))]
    raise ToolError(f"modinfo: ERROR: {what} {argument} not found.")


def modinfo(
    path: str,
    field: str | None = None,
    *,
    null: bool = False,
    warn: Callable[[str], object] = lambda message: None,
) -> Iterator[str]:
    """What modinfo prints for a file; as `describe`."""
    if not is_module_file(path):
        raise ToolError(f"modinfo: ERROR: Module {path} not found.")
    return describe(Source(module_name(path), os.path.join(os.getcwd(), path)), field, null=null, warn=warn)


def describe(
    source: Source,
    field: str | None = None,
    *,
    null: bool = False,
    warn: Callable[[str], object] = lambda message: None,
) -> Iterator[str]:
    """What modinfo prints for a module, piece by piece: the path comes before the file is looked at.

    Args:
        source: The module.
        field: Print only this field's values.
        null: End entries by NUL instead of newline.
        warn: Takes a message that does not end the work.

    Raises:
        ToolError: The file cannot be read or is no module.
    """
    end = "\0" if null else "\n"
    facts = {"filename": source.path or "(builtin)"}
    if source.path is None:
        facts = {"name": source.name, **facts}
    for tag, value in facts.items():
        if field is None:
            yield f"{f'{tag}:':<16}{value}{end}"
        elif field == tag:
            yield value + end
    if field == "filename":
        return
    fields = _read(source)
    if field == "parm":
        yield from (
            f"{name}:{f' ({kind})' if text is None else text}{end}"
            for name, text, kind in _parameters(fields, warn)
        )
    elif field is not None:
        yield from (f"{value}{end}" for tag, value in fields if tag == field)
    else:
        described = list(_parameters(fields, warn))  # warns before anything else is printed
        for tag, value in fields:
            if tag not in _PARAMETER_TAGS:
                yield (
                    f"{tag}={value}{end}"
                    if null
                    else f"{tag}:{' ' * abs(_VALUE_COLUMN - len(os.fsencode(tag)))}{value}{end}"
                )
        yield from (
            f"{'parm:':<16}{name}:{kind if text is None else text}{end}" for name, text, kind in described
        )


def read_tags(path: str) -> list[tuple[str, str]]:
    """All tags of a module file, in file order, and what its signature says.

    Raises:
        ToolError: The file cannot be read or is no module.
    """
    return _read(Source(module_name(path), path))


def _read(source: Source) -> list[tuple[str, str]]:
    """Tags and values, harmless for a terminal, then what the signature says."""
    blob = b""
    try:
        if source.builtin is not None:
            strings = _builtin_strings(source.builtin, source.name)
        elif source.path is None:
            raise OSError(errno.ENOENT, errno.strerror(errno.ENOENT))
        else:
            blob = read_module(source.path).image
            strings = modinfo_strings(blob)
    except OSError as error:
        if source.path is None and error.errno == errno.ENOENT:
            return []  # an old kernel, whose directory says nothing about what is built in
        reason = error.strerror or str(error)
        raise ToolError(f"modinfo: ERROR: could not get modinfo from '{source.name}': {reason}") from None
    parts = (tame(text.decode("utf-8", "surrogateescape")).partition("=") for text in strings)
    return [(tag, value) for tag, _, value in parts] + list(_signature(blob))


def _builtin_strings(directory: str, name: str) -> list[bytes]:
    """What modules.builtin.modinfo has about a module: "NAME.tag=value", NUL, ..."""
    prefix = os.fsencode(name) + b"."
    entries = Path(f"{directory}/modules.builtin.modinfo").read_bytes().split(b"\0")
    own = dropwhile(lambda entry: not entry.startswith(prefix), entries)
    strings = [entry.removeprefix(prefix) for entry in takewhile(lambda entry: entry.startswith(prefix), own)]
    if not strings:
        raise OSError(errno.ENOSYS, errno.strerror(errno.ENOSYS))
    return strings


def _signature(blob: bytes) -> Iterator[tuple[str, str]]:
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
