"""modules.conf, and the directory that modprobe finds modules in (modutils' util/config.c, modprobe.c).

The machine's /etc/modules.conf is, in this order: that file on the machine, or /etc/conf.modules as it was
called before; else `modules.conf` in the module directory. That directory, of the host, is what the machine
knows as /lib/modules/2.4.32; without one, it is where the samples lie.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu import samples
from kmod_emu.classic.kmod import ModuleLoader
from kmod_emu.classic.structs import RELEASE
from kmod_emu.errors import KernelError, Killed
from kmod_emu.kmod.errors import ToolError
from kmod_emu.uapi.fcntl import O_RDONLY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.classic.program import Program
    from kmod_emu.kernel.kernel import KernelCore

ROOT = f"/lib/modules/{RELEASE}"
CONFIG_FILES = ("/etc/modules.conf", "/etc/conf.modules")
COMMANDS = ("pre-install", "install", "post-install", "pre-remove", "remove", "post-remove")
_LISTS = ("above", "below", "probe", "probeall")
_LARGEST = 1 << 16
_PATH = re.compile(r"path(?:\[([^\]]*)\])?\s*=\s*(.*)")


def directory(kernel: KernelCore) -> Path:
    """The host's directory that is the machine's /lib/modules/2.4.32."""
    chosen = kernel[ModuleLoader].directory
    return Path(chosen) if chosen else samples.CLASSIC


def host_path(kernel: KernelCore, path: str) -> str:
    """Where a module file of the machine lies on the host."""
    if path.startswith(f"{ROOT}/"):
        return str(directory(kernel) / path[len(ROOT) + 1 :])
    return path


def module_files(top: Path) -> Iterator[Path]:
    """All object files below a directory, in order of their names."""
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".o") and name != ".o":
                yield Path(folder, name)


def search(kernel: KernelCore, name: str) -> str | None:
    """The object file of a module that insmod was given without a path, as the machine knows it."""
    top = directory(kernel)
    for file in module_files(top):
        if file.stem == name:
            return f"{ROOT}/{file.relative_to(top)}"
    return None


class Config(NamedTuple):
    """What modules.conf says.

    Attributes:
        aliases: Pattern -> what it stands for; "off" and "null" mean nothing is to be loaded.
        options: Module -> words for insmod.
        lists: Of `above`, `below`, `probe` and `probeall`: keyword -> module -> others.
        commands: Keyword -> module -> a shell command.
        lines: As `modprobe -c` prints them, in order.
    """

    aliases: dict[str, str]
    options: dict[str, list[str]]
    lists: dict[str, dict[str, list[str]]]
    commands: dict[str, dict[str, str]]
    lines: list[str]

    def alias(self, name: str) -> str | None:
        """What a name stands for, None for itself."""
        for pattern, target in self.aliases.items():
            if _matches(pattern, name):
                return target if target != name else None
        return None


def _matches(pattern: str, name: str) -> bool:
    """Up to the first `*`; `?` is any character."""
    start, star, _ = pattern.partition("*")
    fits = all(mine in ("?", theirs) for mine, theirs in zip(start, name, strict=False))
    return fits and (len(name) >= len(start) if star else len(name) == len(start))


def parse(text: str, file: str) -> Config:
    r"""Parse modules.conf.

    >>> config = parse("alias char-major-254 chardev\noptions chardev -k x=1\n", "modules.conf")
    >>> config.alias("char-major-254"), config.options
    ('chardev', {'chardev': ['x=1']})

    Raises:
        ToolError: A line makes no sense.
    """
    config = Config({}, {}, {word: {} for word in _LISTS}, {word: {} for word in COMMANDS}, [])
    number, joined = 0, ""
    for line in text.splitlines():
        number += 1
        joined += line
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        _parse_line(config, joined.partition("#")[0].strip(), f"{file}:{number}")
        joined = ""
    return config


def _parse_line(config: Config, line: str, where: str) -> None:
    keyword, _, rest = line.partition(" ") if " " in line else line.partition("\t")
    rest = rest.strip()
    if not line or keyword == "keep" or _PATH.match(line) or keyword in ("prune", "depfile", "persistdir"):
        return
    name, _, value = rest.replace("\t", " ").partition(" ")
    value = value.strip()
    if keyword == "alias" and name and value:
        config.aliases.pop(name, None)
        config.aliases[name] = value.split()[0]
    elif keyword == "options" and name:
        words = _words(value, where)
        config.options[name] = [word for word in words if word != "-k"]
    elif keyword in config.lists and name:
        config.lists[keyword][name] = value.split()
    elif keyword in config.commands and name:
        config.commands[keyword][name] = value
    else:
        raise ToolError(f"modprobe: Invalid line {where}\n\t{line}")
    config.lines.append(f"{keyword} {rest}")


def _words(text: str, where: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise ToolError(f"modprobe: Invalid line {where}\n\t{text}") from None


async def read_config(program: Program, path: str | None) -> Config:
    """The configuration in use.

    Args:
        program: modprobe.
        path: What -C gives: a file of the host.

    Raises:
        ToolError: It cannot be read, or makes no sense.
    """
    if path is not None:
        try:
            return parse(Path(path).read_text(errors="surrogateescape"), path)
        except OSError as error:
            raise ToolError(f"modprobe: Can't open {path}: {error.strerror}") from None
    for place in CONFIG_FILES:
        text = await _read(program, place)
        if text is not None:
            return parse(text, place)
    file = directory(program.kernel) / "modules.conf"
    text = file.read_text(errors="surrogateescape") if file.is_file() else ""
    return parse(text, CONFIG_FILES[0])


async def _read(program: Program, path: str) -> str | None:
    """A file of the machine, None if there is none."""
    try:
        fd = await program.call("open", program.text(path), O_RDONLY, 0)
    except Killed:
        raise
    except KernelError:
        return None
    place = program.process.put(bytes(_LARGEST))
    length = await program.call("read", fd, place, _LARGEST)
    await program.call("close", fd)
    return program.process.get(place, length).decode("utf-8", "surrogateescape")


# --- modules.dep ------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A line of modules.dep: a module's file, and those of the modules that it needs."""

    path: str
    needs: list[str]

    @property
    def name(self) -> str:
        """The module's."""
        return os.path.basename(self.path).removesuffix(".o")


def read_dependencies(kernel: KernelCore) -> list[Entry]:
    """What modules.dep says; of the samples, what depmod would write.

    Raises:
        ToolError: There is none, or it makes no sense.
    """
    top = directory(kernel)
    if kernel[ModuleLoader].directory is None:
        from kmod_emu.classic.depmod import dependencies

        return dependencies(top, ROOT)
    try:
        text = (top / "modules.dep").read_text(errors="surrogateescape")
    except OSError as error:
        raise ToolError(
            f"modprobe: Can't open dependencies file {ROOT}/modules.dep ({error.strerror})"
        ) from None
    return list(parse_dependencies(text))


def parse_dependencies(text: str) -> Iterator[Entry]:
    r"""Parse modules.dep, which is written like a makefile.

    >>> list(parse_dependencies("/m/a.o:\t/m/b.o \\\n\t/m/c.o\n\n/m/b.o:\n"))
    [Entry(path='/m/a.o', needs=['/m/b.o', '/m/c.o']), Entry(path='/m/b.o', needs=[])]

    Raises:
        ToolError: A line has no colon.
    """
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        if not line.strip():
            continue
        path, colon, needs = line.partition(":")
        if not colon or len(path.split()) != 1:
            raise ToolError(f"modprobe: line {number}: Invalid dependency\n\t{line}")
        yield Entry(path.strip(), needs.split())
