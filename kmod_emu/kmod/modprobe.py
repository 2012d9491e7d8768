"""modprobe: load and remove modules by name, with what they need (kmod 30, tools/modprobe.c)."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError, Killed, SleepsForever
from kmod_emu.kmod import probe
from kmod_emu.kmod.config import DEFAULT_PATHS, read_config
from kmod_emu.kmod.context import Context
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.explain import EXPLAIN, EXPLAIN_HELP, loading, module_directory, not_found
from kmod_emu.kmod.files import ModuleFile, read_module
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.kmod.symbols import Symbols
from kmod_emu.module.explain import waits_forever
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from kmod_emu.api import Kernel
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "modprobe",
    "NAME [PARAMETER=VALUE]... | -a NAME... | -r NAME...",
    "Load the module that a name or alias means into the kept machine, and first what it needs. With -r, "
    "remove modules and then what nobody needs any more.",
    {
        "-a, --all": "each word is a name; unknown ones are only warned about",
        "-r, --remove": "remove instead of loading",
        "--remove-dependencies": "",
        "--remove-holders": "with -r, first remove the modules that use it",
        "-w, --wait=MSEC": "with -r, try even if it is in use",
        "-R, --resolve-alias": "only print which modules a name means",
        "--first-time": "fail if there is nothing to do",
        "-i, --ignore-install, --ignore-remove": "pass over commands and soft dependencies",
        "-b, --use-blacklist": "let the blacklist count for names too, not only for aliases",
        "-f, --force": "ignore for which kernel it was built, or that it is in use: dangerous",
        "--force-modversion": "ignore the versions of symbols",
        "--force-vermagic": "ignore the version magic",
        "-D, --show-depends": "only print what loading would do, loaded or not",
        "-c, --showconfig, --show-config": "print the configuration and the aliases",
        "--show-modversions, --dump-modversions": "print the symbol versions that a file wants",
        "--show-exports": "print what a file exports",
        "-n, --dry-run, --show": "do nothing; with -v, print what would be done",
        "-C, --config=PATH": "read this file or directory instead of /etc/modprobe.d and its like",
        "-d, --dirname=DIR": "where lib/modules is, instead of /",
        "-S, --set-version=RELEASE": "the kernel's release, if not the machine's",
        "-s, --syslog": "messages go to the machine's system log",
        "-q, --quiet": "no messages",
        "-v, --verbose": "print what is done",
        "--run-commands": "run install and remove commands on this computer (not in kmod)",
        EXPLAIN: EXPLAIN_HELP,
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
)
_FLAGS = {
    "n": "dry_run",
    "R": "lookup_only",
    "first-time": "first_time",
    "i": "ignore_commands",
    "b": "use_blacklist",
    "remove-holders": "remove_holders",
    "remove-dependencies": "remove_holders",
    "run-commands": "run",
    "s": "syslog",
    "explain": "explain",
}
_DOES = {"r": "remove", "c": "config", "show-modversions": "versions", "show-exports": "exports"}
_IGNORES = {
    "f": probe.IGNORE_MODVERSIONS | probe.IGNORE_VERMAGIC,
    "force-modversion": probe.IGNORE_MODVERSIONS,
    "force-vermagic": probe.IGNORE_VERMAGIC,
}


class _Line:
    """The command line.

    Attributes:
        options: How to work.
        does: Which special things are asked for.
        config: Paths given with -C.
        root: -d.
        release: -S.
    """

    def __init__(self, console: Console, args: Sequence[str]) -> None:
        self.options = probe.Options()
        self.does: set[str] = set()
        self.config: list[str] = []
        self.root: str | None = None
        self.release: str | None = None
        line = Getopt(COMMAND, [*_from_environment(), *args])
        for key, value in console.options(line):
            self._take(key, value)
        self.operands = line.operands
        self.options.show |= self.options.level > probe.WARNING

    def _take(self, key: str, value: str) -> None:
        options = self.options
        if key in _FLAGS:
            setattr(options, _FLAGS[key], True)
        elif key in _DOES:
            self.does.add(_DOES[key])
        elif key in _IGNORES:
            options.flags |= _IGNORES[key]
            options.force |= key == "f"
        elif key == "a":
            options.all, options.not_found = True, probe.WARNING
        elif key == "D":
            options.ignore_loaded = options.dry_run = options.show = True
        elif key == "w":
            options.wait = _milliseconds(value)
        elif key == "q":
            options.level = 0
        elif key == "v":
            options.level += 1
        elif key == "C":
            self.config.append(value)
        elif key == "d":
            self.root = value
        elif key == "S":
            self.release = value

    def directory(self, kernel: Kernel) -> str:
        """The module directory."""
        if self.root is None and self.release is None:
            return module_directory(kernel)
        path = f"{self.root or ''}/lib/modules/{self.release or kernel.profile.release}"
        return path if path.startswith("/") else f"{os.getcwd()}/{path}"


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = _Line(console, args)
    if not line.operands and "config" not in line.does:
        raise ToolError("modprobe: ERROR: missing parameters. See -h.")
    only_asks = line.options.dry_run or line.options.lookup_only or bool(line.does - {"remove"})
    with console.machine(change=not only_asks or line.options.syslog) as kernel:
        log = probe.Log(console, line.options, kernel)
        context = _context(console, kernel, line, log)
        if "config" in line.does:
            console.out(context.config.dump())
            console.out("\n# End of configuration files. Dumping indexes now:\n\n")
            console.out(context.dump("modules.alias") + context.dump("modules.symbols"))
            return 0
        for what in ("versions", "exports"):
            if what in line.does:
                return int(_print_symbols(console, log, line.operands[0], what) != 0)
        try:
            return int(_work(console, kernel, context, line, log) != 0)
        except ToolError as error:
            if line.options.explain and not context.lookup(line.operands[0]):
                error.reasons = list(not_found(kernel, line.operands[0]))
            raise


def _context(console: Console, kernel: Kernel, line: _Line, log: probe.Log) -> Context:
    directory = line.directory(kernel)
    config = read_config(directory, line.config or DEFAULT_PATHS, kernel_command_line(kernel), console.err)
    return Context(directory, config, log.library)


def _work(console: Console, kernel: Kernel, context: Context, line: _Line, log: probe.Log) -> int:
    """Load or remove; 0 or the last errno."""

    async def load(file: ModuleFile, params: str, flags: int) -> int:
        try:
            probe.insmod(kernel, file, params, flags)
        except Killed:
            raise
        except SleepsForever as error:
            raise ToolError(f"kmod-emu: modprobe waits for ever: {waits_forever(kernel, error)}") from None
        except KernelError as error:
            if line.options.explain:
                log.reasons = list(loading(kernel, file.path, error))
            return error.errno
        return 0

    prober = probe.Prober(console, kernel, context, line.options, log, load)
    if "remove" in line.does:
        one = prober.remove
    else:
        extra = "" if line.options.all else _parameters(line.operands[1:])
        one = partial(_finish, prober, extra)
    error = 0
    for name in line.operands if line.options.all or "remove" in line.does else line.operands[:1]:
        error = one(name) or error
        context.forget()
    return error


def _finish(prober: probe.Prober, extra: str, name: str) -> int:
    """Load; each step is a system call that is over when it returns, so nothing is ever waited for."""
    work: Coroutine[Any, Any, int] = prober.insert(name, extra)
    try:
        work.send(None)
    except StopIteration as done:
        return int(done.value)
    raise RuntimeError("modprobe waits for something")


def _print_symbols(console: Console, log: probe.Log, path: str, what: str) -> int:
    """CRC and name of what a file wants or exports; 0 or an errno."""
    if not os.path.exists(path):
        log.about(f"Module {path} not found.")
        return errno.ENOENT
    try:
        symbols = Symbols(read_module(path).image)
        pairs = symbols.versions() if what == "versions" else symbols.exports()
    except OSError as error:
        kind = "modversions" if what == "versions" else "symbols"
        log.about(f"could not get {kind} of {path}: {error.strerror}")
        return error.errno or errno.EINVAL
    for name, crc in pairs:
        shown = name.removeprefix(b".") if what == "versions" else name
        console.out(f"0x{crc:08x}\t{os.fsdecode(shown)}\n")
    return 0


def kernel_command_line(kernel: Kernel) -> str:
    """What the machine was booted with."""
    try:
        return os.fsdecode(kernel.cat("/proc/cmdline"))
    except KernelError:
        return " ".join(f"{name}={value}" if value else name for name, value in kernel.cmdline.items())


def _parameters(words: list[str]) -> str:
    """Parameters as one string, values with blanks in quotes."""
    quoted = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and " " in value and not value.startswith(('"', "'")):
            word = f'{name}="{value}"'
        quoted.append(word)
    return " ".join(quoted)


def _milliseconds(text: str) -> int:
    """A number as strtoul(3) reads it."""
    found = re.fullmatch(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|\d+)", text)
    digits = found[2] if found else ""
    octal = len(digits) > 1 and digits.isdigit() and digits.startswith("0")
    try:
        return int(digits, 8 if octal else 0)
    except ValueError:
        raise ToolError(f"modprobe: ERROR: unexpected wait value '{text}'.") from None


_ENVIRONMENT = re.compile(r"""(?:[^ "']|"[^"]*"|'[^']*')+""")


def _from_environment() -> list[str]:
    """Options in $MODPROBE_OPTIONS, where quotes keep blanks."""
    text = os.environ.get("MODPROBE_OPTIONS", "")
    return [word.replace('"', "").replace("'", "") for word in _ENVIRONMENT.findall(text)]
