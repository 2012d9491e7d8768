"""modprobe.d: aliases, options, commands, blacklists, soft dependencies (libkmod/libkmod-config.c)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kmod.aliases import normalize
from kmod_emu.kmod.config_files import config_files
from kmod_emu.kmod.lines import logical_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_PATHS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/lib/modprobe.d")
SOFTDEPS = "modules.softdep"  # of the module directory; it is one of the files, sorted by its name
WEAKDEPS = "modules.weakdep"  # likewise, since kmod 33; those are shown and never loaded
_BLANKS = "\t "
_SPACE = re.compile(r"[ \t\n\v\f\r]")
_LIBRARY = "libkmod: ERROR ../libkmod/libkmod-config.c"


class Softdep(NamedTuple):
    """What a module wants loaded before and after it."""

    name: str
    pre: list[str]
    post: list[str]

    def __str__(self) -> str:
        """As `modprobe -c` prints it: without a blank between the two."""
        return "".join(
            f"{kind}: {' '.join(names)}" for kind, names in (("pre", self.pre), ("post", self.post)) if names
        )


@dataclass
class Config:
    """What the files and the kernel's command line say, in their order."""

    blacklist: list[str] = field(default_factory=list)
    install: list[tuple[str, str]] = field(default_factory=list)
    remove: list[tuple[str, str]] = field(default_factory=list)
    aliases: list[tuple[str, str]] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    softdeps: list[Softdep] = field(default_factory=list)
    weakdeps: list[tuple[str, str]] = field(default_factory=list)

    def dump(self) -> str:
        """The part of `modprobe -c` that is about these files."""
        lines = [f"blacklist {name}" for name in self.blacklist]
        for kind, pairs in (
            ("install", self.install),
            ("remove", self.remove),
            ("alias", self.aliases),
            ("options", self.options),
            ("softdep", [(dep.name, str(dep)) for dep in self.softdeps]),
            ("weakdep", self.weakdeps),
        ):
            lines += (f"{kind} {name} {value}" for name, value in pairs)
        return "".join(f"{line}\n" for line in lines)

    def take(self, path: str, text: bytes, error: Callable[[str], object]) -> None:
        """Take a file; `error` is told of what is passed over."""
        for number, line in logical_lines(text):
            command = _word(line)[0]
            if line.startswith("#") or not command:
                continue
            if command in ("include", "config"):
                said = f"{path}: command {command} is deprecated and not parsed anymore"
                error(f"{_LIBRARY}:708 kmod_config_parse: {said}")
            elif not self.add(line, weakdeps=os.path.basename(path) == WEAKDEPS):
                said = f"{path} line {number}: ignoring bad line starting with '{command}'"
                error(f"{_LIBRARY}:712 kmod_config_parse: {said}")

    def add(self, line: str, *, weakdeps: bool = False) -> bool:
        """Take a line; False if it makes no sense. kmod 30 knows no weakdep, so it may only be `weakdeps`."""
        command, rest = _word(line)
        name, value = _word(rest)
        module = _underscores(name)
        if module is None or not name:
            return False
        match command:
            case "alias":
                target = _underscores(_word(value)[0])
                if not target:
                    return False
                self.aliases.append((module, target))
            case "blacklist":
                self.blacklist.append(module)
            case _ if not value:
                return False
            case "options":
                self.options.append((module, value.replace("\t", " ")))
            case "install":
                self.install.append((module, value))
            case "remove":
                self.remove.append((module, value))
            case "softdep":
                self.softdeps.append(_softdep(module, value))
            case "weakdep" if weakdeps:
                self.weakdeps.append((module, " ".join(value.split())))
            case _:
                return False
        return True


def read_config(directory: str, paths: Sequence[str], cmdline: str, error: Callable[[str], object]) -> Config:
    """Read the files, or the .conf and .alias files in directories; of one name, the first counts.

    Args:
        directory: The module directory.
        paths: Files and directories.
        cmdline: The kernel's command line: `module.parameter=value`, `modprobe.blacklist=a,b`.
        error: Takes lines about what is passed over.
    """
    config = Config()
    files = _files(directory, paths, error)
    for name in sorted(files, key=os.fsencode):
        try:
            with open(files[name], "rb") as stream:
                text = stream.read()
        except OSError:
            continue
        config.take(files[name], text, error)
    _read_cmdline(config, cmdline, error)
    return config


def _files(directory: str, paths: Sequence[str], error: Callable[[str], object]) -> dict[str, str]:
    """Paths by name."""

    def unreadable(path: str, failure: OSError) -> None:
        error(f"{_LIBRARY}:868 conf_files_list: opendir({path}): {failure.strerror}")

    def nested(said: str) -> None:
        error(f"{_LIBRARY}:772 conf_files_filter_out: {said}")

    return {
        SOFTDEPS: f"{directory}/{SOFTDEPS}",
        WEAKDEPS: f"{directory}/{WEAKDEPS}",
        **config_files(paths, (".conf", ".alias"), unreadable, nested),
    }


def _word(text: str) -> tuple[str, str]:
    """The first word and what follows the one blank behind it, as strtok_r(3) splits."""
    text = text.lstrip(_BLANKS)
    for at, char in enumerate(text):
        if char in _BLANKS:
            return text[:at], text[at + 1 :]
    return text, ""


def _underscores(name: str) -> str | None:
    """The name with `_` for `-`; None where brackets do not match."""
    normal = normalize(os.fsencode(name))
    return None if normal is None else os.fsdecode(normal)


def _softdep(name: str, text: str) -> Softdep:
    softdep = Softdep(name, [], [])
    names: list[str] | None = None
    words = [word for word in _SPACE.split(text) if word]
    if _SPACE.match(text) and not _SPACE.match(text[1:]):
        words = words[1:]  # libkmod takes one blank in front for a part of the word, which then means nothing
    for word in words:
        if word == "pre:":
            names = softdep.pre
        elif word == "post:":
            names = softdep.post
        elif names is not None:
            names.append(word)
    return softdep


_OPTION = re.compile(r'("?)([^.=" \t\n\v\f\r]*)\.([^.=" \t\n\v\f\r]*)(=.*)?', re.DOTALL)


def _read_cmdline(config: Config, cmdline: str, error: Callable[[str], object]) -> None:
    """Take the options of modules from the kernel's command line.

    A boot loader may have moved the quotes in front of the name: `"mod.param=a b"` is `mod.param="a b"`.
    """
    for word in _unquoted_words(cmdline):
        found = _OPTION.fullmatch(word)
        if found is None:
            continue
        quote, module, name, value = found[1], found[2], found[3], found[4] or ""
        if quote:
            value = f'="{value[1:]}'
        if module == "modprobe" and name == "blacklist" and value:
            config.blacklist += value[1:].split(",")
            continue
        normal = _underscores(module)
        if normal is None:
            said = f"Ignoring bad option on kernel command line while parsing module name: '{module}'"
            error(f"{_LIBRARY}:489 kcmdline_parse_result: {said}")
        else:
            config.options.append((normal, name + value))


def _unquoted_words(text: str) -> list[str]:
    """Words between blanks that are not in quotes; one whose quotes never end is none."""
    words, word, quoted = [], "", False
    for char in text:
        quoted ^= char == '"'
        if _SPACE.match(char) and not quoted:
            words.append(word)
            word = ""
        else:
            word += char
    return words if quoted else [*words, word]
