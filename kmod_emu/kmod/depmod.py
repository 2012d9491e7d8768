"""depmod: the files that modprobe looks modules up in (kmod 30, tools/depmod.c; -m and -o as in kmod 31)."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.kmod.console import Console
    from kmod_emu.kmod.depmod_output import Output
    from kmod_emu.kmod.depmod_tree import Depmod

COMMAND = Command(
    "depmod",
    "[RELEASE [FILE...]]",
    "Find out which module needs which, and write modules.dep and the other files that modprobe reads.",
    {
        "-a, --all": "look at all modules of the tree; so it does without FILEs",
        "-A, --quick": "do nothing unless a module is newer than modules.dep",
        "-b, --basedir=DIR": "where lib/modules is, instead of /",
        "-m, --moduledir=DIR": "what it is called there, instead of lib/modules",
        "-o, --outdir=DIR": "where to write the files: in lib/modules/RELEASE there",
        "-C, --config=PATH": "read this file or directory instead of /etc/depmod.d and its like",
        "-E, --symvers=FILE": "compare CRCs with this Module.symvers",
        "-F, --filesyms=FILE": "take the kernel's exports from this System.map",
        "-e, --errsyms": "with -E or -F, tell which symbols nobody has",
        "-u": "",
        "--unresolved-error": "",
        "-q": "",
        "--quiet": "",
        "-r": "",
        "--root": "",
        "-v, --verbose": "tell each dependency",
        "-n, --show, --dry-run": "print the files instead of writing them",
        "-P, --symbol-prefix=CHAR": "a character that symbols begin with on some architectures",
        "-w, --warn": "warn of names and aliases that come twice",
        "--map": "",
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
)
_FLAGS = {"a": "all", "A": "quick", "e": "unknown", "v": "verbose", "n": "show", "w": "duplicates"}
_VALUES = {"b": "base", "m": "moduledir", "o": "out", "E": "symvers", "F": "filesyms", "P": "prefix"}
_DEPRECATED = {"u", "q", "r", "unresolved-error", "quiet", "root", "map"}
_RELEASE = re.compile(r"\s*[+-]?\d+\.\s*[+-]?\d+")
_KSYMTAB = b"__ksymtab_"


@dataclass
class _Options:
    """The command line, and the module directory that the machine was given."""

    directory: str | None = None
    all: bool = False
    quick: bool = False
    base: str | None = None
    moduledir: str = "lib/modules"
    out: str | None = None
    config: list[str] = field(default_factory=list)
    symvers: str | None = None
    filesyms: str | None = None
    unknown: bool = False
    verbose: bool = False
    show: bool = False
    prefix: str = ""
    duplicates: bool = False


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    options = _options(console, line)
    if not line.operands and options.base is None:
        options.directory = _machines_directory(console)
    release, *files = line.operands or [console.release()]
    if not _RELEASE.match(release):
        raise ToolError(f"depmod: ERROR: Bad version passed {release}")
    if options.base is options.out is options.directory is None and not options.show:
        raise ToolError(
            f"depmod: FATAL: /{options.moduledir}/{release} belongs to this computer: "
            "name a copy with -b, another place for the files with -o, or print them with -n"
        )
    directory = options.directory or _directory(options.base or "", options.moduledir, release)
    options.all |= not files
    if options.quick and (options.show or _up_to_date(console, directory)):
        return 0
    return _run(console, options, directory, release, files)


def _options(console: Console, line: Getopt) -> _Options:
    options = _Options()
    for key, value in console.options(line):
        if key in _DEPRECATED:
            console.warning(f"Ignored deprecated option {'-' if len(key) == 1 else '--'}{key}")
        elif key in _FLAGS:
            setattr(options, _FLAGS[key], True)
        elif key == "C":
            options.config.append(value)
        elif key == "P" and len(value) > 1:
            raise _fatal("-P only takes a single char")
        else:
            setattr(options, _VALUES[key], value)
    return options


def _machines_directory(console: Console) -> str | None:
    """The module directory that the kept machine was given, if any."""
    from kmod_emu.module.kmod import Kmod

    with console.machine(change=False) as kernel:
        return kernel[Kmod].directory


def _run(console: Console, options: _Options, directory: str, release: str, files: list[str]) -> int:
    from kmod_emu.kmod.depmod_config import DEFAULT_PATHS, Config, read_config
    from kmod_emu.kmod.depmod_output import Output
    from kmod_emu.kmod.depmod_tree import Depmod

    depmod = Depmod(
        console,
        directory,
        Config(release),
        prefix=os.fsencode(options.prefix),
        symvers=options.symvers is not None,
        unknown=options.unknown,
        verbose=options.verbose,
    )
    _kernel_symbols(console, options, depmod)
    if options.all:
        depmod.config = read_config(release, options.config or DEFAULT_PATHS, console.error)
        try:
            depmod.search()
        except OSError as error:
            raise _fatal(f"could not search modules: {error.strerror}") from None
    else:
        for path in files:
            _add(depmod, path)
    if not depmod.load(_progress() if sys.stderr.isatty() else lambda done, total: None):
        return 1
    output = Output(depmod, duplicates=options.duplicates)
    if options.show:
        for name, contents in output.files():
            if not name.endswith(".bin"):
                console.out(os.fsdecode(contents()))
        return 0
    if options.out is not None:
        directory = _directory(options.out, options.moduledir, release)
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise _fatal(f"could not create directory {directory}: {error.strerror}") from None
    return _write(console, output, directory)


def _add(depmod: Depmod, path: str) -> None:
    if not path.startswith("/"):
        raise _fatal(f"{path}: not absolute path.")
    try:
        depmod.add(path)
    except OSError as error:
        raise _fatal(f"could not create module {path}: {error.strerror}") from None


def _kernel_symbols(console: Console, options: _Options, depmod: Depmod) -> None:
    """Read what the kernel exports from the file that one of -E and -F names."""
    path = options.symvers or options.filesyms
    if path is None:
        if options.unknown:
            console.warning("-e needs -E or -F")
            depmod.unknown = False
        return
    try:
        with open(path, "rb") as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise _fatal(f"could not load {path}: {error.strerror}") from None
    reader = _symvers_line if options.symvers else _system_map_line
    for number, line in enumerate(lines, 1):
        complaint = reader(depmod, line)
        if complaint:
            console.error(f"{path}:{number}{complaint}")
    depmod.fake_symbols()


def _symvers_line(depmod: Depmod, line: bytes) -> str:
    """A line of Module.symvers: CRC, symbol, who has it. What is wrong with it, if anything."""
    words = line.replace(b"\t", b" ").split()
    if len(words) < 3 or words[2] != b"vmlinux":
        return ""
    try:
        crc = int(words[0], 16)
    except ValueError:
        return f" Invalid symbol version {os.fsdecode(words[0])}: {errno.strerror(0)}"
    depmod.kernel_symbol(words[1], crc)
    return ""


def _system_map_line(depmod: Depmod, line: bytes) -> str:
    """A line of System.map: address, kind, symbol. What is wrong with it, if anything."""
    words = line.split(b" ", 2)
    if len(words) < 3:
        return f": invalid line: {os.fsdecode(line)}\n"
    name = words[2].removeprefix(depmod.prefix)
    if name.startswith(_KSYMTAB):
        depmod.kernel_symbol(name.removeprefix(_KSYMTAB), prefixed=False)
    return ""


def _write(console: Console, output: Output, directory: str) -> int:
    """Write each file beside its place and rename it, so that a reader sees the old one or the new one."""
    if not os.path.isdir(directory):
        raise _fatal(f"could not open directory {directory}: {_why_not(directory)}")
    for name, contents in output.files():
        temporary = f"{directory}/{name}.{os.getpid()}"
        try:
            stream = open(temporary, "xb")  # noqa: SIM115 - a file that cannot be made is passed over
        except OSError as error:
            console.error(f"openat({directory}, {os.path.basename(temporary)}, 301, 644): {error.strerror}")
            continue
        try:
            with stream:
                stream.write(contents())
            os.replace(temporary, f"{directory}/{name}")
        except ValueError as error:
            os.unlink(temporary)
            raise _fatal(f"Module index: only 7-bit ASCII is supported: {error}") from None
        except OSError as error:
            os.unlink(temporary)
            console.error(f"Could not write index '{name}': {error.strerror}")
            return 1
    return 0


def _why_not(directory: str) -> str:
    try:
        os.listdir(directory)
    except OSError as error:
        return error.strerror or ""
    return ""


def _up_to_date(console: Console, directory: str) -> bool:
    """Whether no module is newer than modules.dep; False too when that cannot be told."""
    try:
        newest = int(os.stat(f"{directory}/modules.dep").st_mtime)
    except OSError as error:
        if os.path.isdir(directory):
            console.error(f"could not fstatat({directory}, modules.dep): {error.strerror}")
        else:
            console.error(f"could not open directory {directory}: {error.strerror}")
        return False
    from kmod_emu.kmod.depmod_tree import is_module

    for path, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name not in ("build", "source")]
        for name in files:
            if is_module(os.fsencode(name)) and int(os.stat(f"{path}/{name}").st_mtime) > newest:
                return False
    return True


def _progress() -> Callable[[int, int], None]:
    """A bar on the terminal, drawn when it grows and wiped at the end."""
    width, drawn = 40, -1

    def show(done: int, total: int) -> None:
        nonlocal drawn
        full = width * done // total
        if full != drawn:
            drawn = full
            bar = f"{'#' * full}{'.' * (width - full)} {done}/{total}"
            sys.stderr.write(f"\r\x1b[K{'' if done == total else bar}")
            sys.stderr.flush()

    return show


def _directory(base: str, moduledir: str, release: str) -> str:
    """The module directory; like kmod, without tidying the path."""
    if base and not base.startswith("/"):
        base = f"{os.getcwd()}/{base}"
    return f"{base}/{moduledir.lstrip('/')}/{release}"


def _fatal(text: str) -> ToolError:
    return ToolError(f"depmod: FATAL: {text}")
