"""modinfo of modutils: what an object says about itself in .modinfo, and which parameters it takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.classic import conf, parm
from kmod_emu.classic.obj import ObjectFile
from kmod_emu.classic.tool import MODUTILS_VERSION
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "modinfo",
    "FILE...",
    "Show what a module of Linux 2.4 says about itself.",
    {
        "-a, --author": "only its author",
        "-d, --description": "only its description",
        "-f, --format=TEXT": "TEXT, with %a, %d, %l, %n and %{TAG} replaced",
        "-l, --license": "only its licence",
        "-n, --filename": "only its file",
        "-p, --parameters": "its parameters too (the default)",
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
    MODUTILS_VERSION.format("modinfo"),
)
_ALL = "filename:    %n\ndescription: %d\nauthor:      %a\nlicense:     %l\n"
_TAGS = {"a": "author", "d": "description", "l": "license", "n": "filename"}
_QUOTED = ("author", "description", "license")
_TYPES = {"c": "char", "b": "byte", "h": "short", "i": "int", "l": "long", "s": "string"}
_REPLACED = re.compile(r"%(?:\{([^}]*)\}|(.?))|\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t"}


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    wanted, parameters = _ALL, True
    for key, value in console.options(line):
        if key != "p":
            wanted, parameters = (value if key == "f" else f"%{key}\n"), False
        else:
            parameters = True
    if not line.operands:
        raise ToolError(COMMAND.usage().rstrip("\n"))
    for path in line.operands:
        obj = ObjectFile(path, _contents(console, path))
        console.out(tame(render(obj, wanted)))
        for text in describe_parameters(obj) if parameters else ():
            console.out(tame(f"{text}\n"))
    return 0


def _contents(console: Console, path: str) -> bytes:
    """The file's; of a bare name, that of the machine's module."""
    try:
        if "/" not in path and "." not in path:
            with console.machine(change=False) as kernel:
                found = conf.search(kernel, path)
                if found is None:
                    raise ToolError(f"modinfo: {path}: no module by that name found")
                path = conf.host_path(kernel, found)
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ToolError(f"modinfo: {path}: {error.strerror}") from None


def render(obj: ObjectFile, wanted: str) -> str:
    """A format, with what an object says in its place.

    Raises:
        ToolError: There is no such replacement.
    """
    tags = {**obj.modinfo(), "filename": obj.name}

    def replace(match: re.Match[str]) -> str:
        if match[3] is not None:
            return _ESCAPES.get(match[3], match[3])
        if match[2] == "%":
            return "%"
        tag = match[1] if match[1] is not None else _TAGS.get(match[2], "")
        if not tag:
            raise ToolError(f"modinfo: {match[2]}: unknown replacement")
        value = tags.get(tag)
        if value is None:
            return "<none>"
        return '"' + value.replace("\n", "\n  ") + '"' if tag in _QUOTED else value

    return _REPLACED.sub(replace, wanted)


def describe_parameters(obj: ObjectFile) -> Iterator[str]:
    """A line for each parameter."""
    modinfo = obj.modinfo()
    for name, text in parm.declared(modinfo).items():
        parameter = parm.Format.parse(text)
        if obj.find_symbol(name) is None:
            yield f"warning: symbol for parameter {name} not found"
        if parameter.most < parameter.least:
            yield f"warning: parameter {name} has max < min!"
        line = f"parm:        {name} "
        if parameter.type not in _TYPES:
            odd = f"unknown format character '{parameter.type}'" if parameter.type else "no format character!"
            yield line + odd
            continue
        line += _TYPES[parameter.type]
        if parameter.type == "c" and not parameter.size:
            line += " *** missing string size ***"
        if max(parameter.least, parameter.most) > 1:
            line += f" array (min = {parameter.least}, max = {parameter.most})"
        if description := modinfo.get(f"parm_desc_{name}"):
            line += ', description "' + description.replace("\n", "\n  ") + '"'
        yield line
