"""Man pages of all commands, from click's commands and the tools' tables.

python -m scripts.man_pages DIRECTORY
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import click

from kmod_emu import __version__
from kmod_emu.cli.command import ToolCommand
from kmod_emu.cli.main import COMMANDS, main


def commands() -> dict[tuple[str, ...], click.Command]:
    """Every command by the words that call it, `kmod-emu` itself by none."""
    context, found = click.Context(main), dict[tuple[str, ...], click.Command]()
    found[()] = main
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        found[name,] = command
        if isinstance(command, click.Group):
            found.update({(name, inner): command.commands[inner] for inner in command.commands})
    return found


def write(directory: Path) -> list[Path]:
    """Write all pages; their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    everything, paths = commands(), []
    for words, command in everything.items():
        path = directory / f"{'-'.join(('kmod-emu', *words))}.1"
        inner = [other for other in everything if other[:-1] == words and other]
        path.write_text(page(words, command, inner), encoding="utf-8")
        paths.append(path)
    return paths


def page(words: tuple[str, ...], command: click.Command, inner: list[tuple[str, ...]]) -> str:
    """One page in troff, with the macros of man(7)."""
    title, line = "-".join(("kmod-emu", *words)), " ".join(("kmod-emu", *words))
    context = click.Context(command, info_name=line, help_option_names=["-h", "--help"])
    usage, purpose, options = (
        _tool(words[0]) if isinstance(command, ToolCommand) else _click(command, context)
    )
    short = re.split(r"\n\s*\n|[.:] ", purpose.strip())[0]
    parts = [
        f'.TH {_text(title.upper())} 1 "" "kmod-emu {__version__}" "kmod-emu"',
        f".SH NAME\n{_text(title)} \\- {_text(' '.join(short.split()).rstrip('.'))}",
        f".SH SYNOPSIS\n.B {_text(line)}\n{_text(usage)}",
        f".SH DESCRIPTION\n{_paragraphs(purpose)}",
    ]
    if options:
        parts.append(".SH OPTIONS\n" + "\n".join(f".TP\n.B {_text(a)}\n{_text(b)}" for a, b in options))
    if inner:
        names = "\n.br\n".join(f".BR {_text('-'.join(('kmod-emu', *other)))} (1)" for other in inner)
        parts.append(f".SH COMMANDS\n{names}")
    if words:
        parts.append(f".SH SEE ALSO\n.BR {_text('-'.join(('kmod-emu', *words[:-1])))} (1)")
    return "\n".join(parts) + "\n"


def _tool(name: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Usage, purpose and options of one of kmod's tools."""
    command = import_module(f"kmod_emu.kmod.{name}").COMMAND
    options = [(names, text) for names, text in command.options.items() if text]
    return f"[options] {command.operands}".rstrip(), command.purpose, options


def _click(command: click.Command, context: click.Context) -> tuple[str, str, list[tuple[str, str]]]:
    options = (param for param in command.get_params(context) if isinstance(param, click.Option))
    records = (option.get_help_record(context) for option in options)
    usage = " ".join(command.collect_usage_pieces(context))
    return usage, command.help or command.short_help or "", [record for record in records if record]


def _paragraphs(text: str) -> str:
    """Paragraphs, of which those behind click's mark keep their lines."""
    parts = []
    for part in re.split(r"\n\s*\n", text.replace("\r", "").strip()):
        lines = [line.strip() for line in part.splitlines()]
        if lines and lines[0] == "\b":
            parts.append(".nf\n" + "\n".join(map(_text, lines[1:])) + "\n.fi")
        else:
            parts.append(_text(" ".join(lines)))
    return "\n.PP\n".join(parts)


def _text(text: str) -> str:
    """Text that troff prints as it is."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text


if __name__ == "__main__":
    write(Path(sys.argv[1]))
