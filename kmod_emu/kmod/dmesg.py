"""dmesg: the kernel log (util-linux 2.38, sys-utils/dmesg.c)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kmod.dmesg_options import COMMAND, Failure, Settings, parse, timestamp
from kmod_emu.kmod.kmsg import from_records, parse_syslog, syslog_text
from kmod_emu.kmod.logprint import Printer, safe
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kmod_emu.kmod.console import Console
    from kmod_emu.kmod.kmsg import Message

__all__ = ["COMMAND", "main"]

_RAW_FILTERED = "--raw can be used together with --level or --facility"


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    settings = parse(console, args)
    _resolve_times(console, settings)
    if settings.action in ("", "c"):
        if settings.source == "file":
            _show_text(console, settings, _read_file(settings.file))
        else:
            _show_machine(console, settings)
    if settings.action:
        _control(console, settings)
    return 0


def _resolve_times(console: Console, settings: Settings) -> None:
    """--since and --until may be relative to the machine's clock."""
    if settings.after is None and settings.before is None:
        return
    now = settings.boot + console.log().now_ns // NSEC_PER_SEC
    if settings.after is not None:
        settings.since = timestamp(settings.after, now)
    if settings.before is not None:
        settings.until = timestamp(settings.before, now)


def _show_machine(console: Console, settings: Settings) -> None:
    """Print the machine's log, and with --follow what is added to it, until Ctrl-C."""
    printer = Printer(settings)
    changes = console.changes(console.stamp()) if settings.follow else ()
    log, _, restricted = console.log()
    if settings.uid and restricted:
        raise _not_permitted("read kernel buffer")
    if settings.source == "syslog":
        _show_text(console, settings, syslog_text(log.readable(), settings.size))
        return
    if not settings.only_new:
        _show(console, settings, printer, from_records(log.readable()))
    for _ in changes:
        next_record = log.sequence
        log = console.log().buffer
        if log.sequence < next_record:  # booted again
            next_record = 0
        fresh = (record for record in log.readable() if record.sequence >= next_record)
        _show(console, settings, printer, from_records(fresh))


def _show_text(console: Console, settings: Settings, text: bytes) -> None:
    """Print a text in the format of syslog(2)."""
    if settings.raw:
        if settings.levels is not None or settings.facilities is not None:
            raise Failure(f"{_RAW_FILTERED} only when reading messages from /dev/kmsg")
        shown = safe(text) if settings.escape else text.decode("utf-8", "surrogateescape")
        console.out_safe(shown if text.endswith(b"\n") else f"{shown}\n")
        return
    asked = settings.levels is not None or settings.facilities is not None
    levels = asked or settings.decode or settings.colour or settings.json
    messages = parse_syslog(text, levels=levels, times=settings.time != "notime")
    _show(console, settings, Printer(settings), messages)


def _show(console: Console, settings: Settings, printer: Printer, messages: Iterable[Message]) -> None:
    text = "".join(map(printer.record, messages))
    if settings.json:
        console.out(text if settings.follow else text + printer.end())
    elif settings.pager:
        console.page(text)
    else:
        console.out_safe(text)


def _read_file(name: str) -> bytes:
    """A file, with the errors of mapping it, as the real one does."""
    try:
        status = os.stat(name)
        if status.st_size and stat.S_ISREG(status.st_mode):
            return Path(name).read_bytes()
    except OSError as error:
        raise Failure(f"cannot open {name}: {error.strerror}") from None
    reason = errno.strerror(errno.ENODEV if status.st_size else errno.EINVAL)
    raise Failure(f"cannot mmap: {name}: {reason}")


def _control(console: Console, settings: Settings) -> None:
    """Clear the log, or say what goes to the console."""
    if settings.uid:
        raise _not_permitted("clear kernel buffer" if settings.action in "Cc" else "klogctl")
    with console.machine(change=True) as kernel:
        match settings.action:
            case "D":
                kernel.printk.console_off()
            case "E":
                kernel.printk.console_on()
            case "n":
                kernel.printk.set_console_level(settings.console_level)
            case _:
                kernel.printk.clear()


def _not_permitted(what: str) -> Failure:
    return Failure(f"{what} failed: {errno.strerror(errno.EPERM)}")
