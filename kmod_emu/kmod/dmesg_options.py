"""The options of dmesg, and what they mean (util-linux 2.38, sys-utils/dmesg.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS, NSEC_PER_SEC
from kmod_emu.kmod.console import UID, UID_HELP, user_id
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.kmod.loglevel import FACILITIES, LEVELS, parse_list, parse_name
from kmod_emu.kmod.logprint import Style
from kmod_emu.kmod.timestamp import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "dmesg",
    "",
    "Print or control the kernel log of the kept machine. Its clock said 2023-11-14 22:13:20 UTC at boot.",
    {
        "-s, --buffer-size=SIZE": "with -S, read no more than this many bytes",
        "-C, --clear": "clear the log instead of printing it",
        "-L, --color[=WHEN]": "colours: auto (the default), always or never",
        "-n, --console-level=LEVEL": "which messages go to the console",
        "-D, --console-off": "no messages to the console",
        "-E, --console-on": "messages to the console again",
        "-x, --decode": "facility and level in words",
        "-F, --file=FILE": "read this file of the host instead of the machine's log",
        "-f, --facility=LIST": "only these facilities: kern, user, daemon, ...",
        "-w, --follow": "go on with messages as they come",
        "-W, --follow-new": "only messages that come from now on",
        "-H, --human": "easy to read: colours, relative times, a pager",
        "-h, --help": "show this text",
        "-J, --json": "as JSON",
        "-k, --kernel": "only messages of the kernel",
        "-l, --level=LIST": "only these levels: emerg, alert, crit, err, warn, notice, info, debug",
        "--since=TIME": "only what is later",
        "-S, --syslog": "read by syslog(2) instead of /dev/kmsg",
        "-r, --raw": "as the buffer has it, with priorities",
        "-c, --read-clear": "print the log, then clear it",
        "-e, --reltime": "local time, and time since the line before",
        "-d, --show-delta": "time since the line before",
        "-T, --ctime": "local time",
        "--noescape": "leave characters that are not printable as they are",
        "-t, --notime": "no time stamps",
        "-P, --nopager": "no pager",
        "--until=TIME": "only what is earlier",
        "-u, --userspace": "only messages of programs",
        "-V, --version": "show the version",
        "--time-format=FORMAT": "time stamps: delta, reltime, ctime, notime or iso",
        "-p, --force-prefix": "a time stamp on every line of a message",
        UID: UID_HELP,
    },
    version="dmesg from util-linux 2.38.1\n",
)
# Letters that exclude each other, in the order in which they are complained about.
_EXCLUSIVE = ("CDEcnr", "Hr", "Lr", "Sw", "Tr", "dr", "er", "rx", "rt")
_MIN_BUFFER, _MAX_BUFFER = 4096, (1 << 32) - 1


class Failure(ToolError):
    """A message of dmesg itself, not of its option parser."""

    def __init__(self, text: str) -> None:
        super().__init__(f"dmesg: {text}" if text else "")


@dataclass
class Settings(Style):
    """What the command line asks for, beside the style.

    Attributes:
        action: "", or the letter of the option: C, c, D, E, n.
        source: "kmsg", "syslog" or "file".
    """

    action: str = ""
    source: str = "kmsg"
    file: str = ""
    follow: bool = False
    only_new: bool = False
    delta: bool = False
    colours: str = "auto"
    pager: bool = False
    no_pager: bool = False
    size: int | None = None
    console_level: int = 0
    after: str | None = None
    before: str | None = None
    uid: int = 0


# What an option without argument sets.
_FLAGS: dict[str, dict[str, Any]] = {
    **{letter: {"action": letter} for letter in "CcDE"},
    "d": {"delta": True},
    "e": {"time": "reltime"},
    "H": {"time": "reltime", "colours": "auto", "pager": True},
    "J": {"json": True},
    "P": {"no_pager": True},
    "p": {"force_prefix": True},
    "r": {"raw": True},
    "S": {"source": "syslog"},
    "T": {"time": "ctime"},
    "t": {"time": "notime"},
    "w": {"follow": True},
    "W": {"follow": True, "only_new": True},
    "x": {"decode": True},
    "noescape": {"escape": False},
}


def parse(console: Console, args: Sequence[str]) -> Settings:
    """The settings that a command line means.

    Raises:
        ToolError: With dmesg's message.
        Done: It was -h or -V.
    """
    settings = Settings(boot=EPOCH_AT_BOOT_NS // NSEC_PER_SEC)
    line = Getopt(COMMAND, args)
    seen: dict[str, str] = {}
    try:
        for key, value in console.options(line):
            _check_exclusive(seen, key)
            for name, flag in _FLAGS.get(key, {}).items():
                setattr(settings, name, flag)
            if key in _VALUES:
                _VALUES[key](settings, value)
        if line.operands:
            raise ToolError("dmesg: bad usage")
    except Failure:
        raise
    except ToolError as error:
        raise ToolError(f"{error}\nTry 'dmesg --help' for more information.") from None
    _settle(console, settings)
    return settings


def _settle(console: Console, settings: Settings) -> None:
    """What options mean together."""
    if settings.json:
        settings.time, settings.delta, settings.no_pager = "time", False, True
        settings.force_prefix = settings.raw = settings.escape = False
    if settings.delta and settings.time == "iso":
        console.err("dmesg: --show-delta is ignored when used together with iso8601 time format")
    elif settings.delta:
        settings.time = f"{settings.time}+delta" if settings.time in ("time", "ctime") else "delta"
    settings.colour = not settings.json and console.colours(settings.colours)
    settings.pager &= not settings.no_pager and not settings.follow
    if settings.source != "kmsg":
        settings.force_prefix, settings.from_text = False, True


def _check_exclusive(seen: dict[str, str], key: str) -> None:
    """Complain about an option that excludes one seen before in the same group."""
    for group in _EXCLUSIVE:
        if key in group and seen.setdefault(group, key) != key:
            names = " ".join(f"--{COMMAND.long_name(letter)}" for letter in group)
            raise Failure(f"mutually exclusive arguments: {names}")


def _names(names: Sequence[str], what: str, text: str) -> set[int]:
    try:
        return parse_list(text, names, what)
    except ValueError as error:
        raise Failure(str(error)) from None


def _level(settings: Settings, value: str) -> None:
    settings.levels = (settings.levels or set()) | _names(LEVELS, "level", value)


def _facility(settings: Settings, value: str) -> None:
    settings.facilities = (settings.facilities or set()) | _names(FACILITIES, "facility", value)


def _kernel_only(settings: Settings, value: str) -> None:
    settings.facilities = (settings.facilities or set()) | {0}


def _programs_only(settings: Settings, value: str) -> None:
    settings.facilities = (settings.facilities or set()) | set(range(1, len(FACILITIES)))


def _console_level(settings: Settings, value: str) -> None:
    """A name, or a number that is one more: messages below it are shown."""
    number = parse_name(str(int(value) - 1) if value.isdecimal() else value, LEVELS)
    if number is None:
        raise Failure(f"unknown level '{value}'")
    settings.action, settings.console_level = "n", number + 1


def _size(settings: Settings, value: str) -> None:
    invalid = f"invalid buffer size argument: '{value}'"
    try:
        number = int(value)
    except ValueError:
        raise Failure(invalid) from None
    if not 0 <= number <= _MAX_BUFFER:
        raise Failure(f"{invalid}: Numerical result out of range")
    settings.size = max(number, _MIN_BUFFER)


def _file(settings: Settings, value: str) -> None:
    settings.file, settings.source = value, "file"


def _colours(settings: Settings, value: str) -> None:
    mode = value.removeprefix("=").lower() or "auto"
    if mode not in ("auto", "always", "never"):
        raise Failure(f"unsupported color mode: '{value.removeprefix('=')}'")
    settings.colours = mode


def _time_format(settings: Settings, value: str) -> None:
    if value not in ("delta", "reltime", "ctime", "notime", "iso"):
        raise Failure(f"unknown time format: {value}")
    settings.time = value


def timestamp(text: str, now: float) -> int:
    """Seconds since 1970 of a point in time, relative to `now`.

    Raises:
        Failure: It cannot be understood.
    """
    try:
        return parse_timestamp(text, now)
    except ValueError:
        raise Failure(f'invalid time value "{text}"') from None


def _since(settings: Settings, value: str) -> None:
    timestamp(value, settings.boot)
    settings.after = value


def _until(settings: Settings, value: str) -> None:
    timestamp(value, settings.boot)
    settings.before = value


def _uid(settings: Settings, value: str) -> None:
    settings.uid = user_id(value)


_VALUES: dict[str, Callable[[Settings, str], None]] = {
    "F": _file,
    "f": _facility,
    "k": _kernel_only,
    "L": _colours,
    "l": _level,
    "n": _console_level,
    "s": _size,
    "u": _programs_only,
    "since": _since,
    "time-format": _time_format,
    "uid": _uid,
    "until": _until,
}
