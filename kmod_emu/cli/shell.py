"""kmod-emu shell: a prompt with the commands of the kept machine."""

from __future__ import annotations

import shlex
import signal
import sys

import click

from kmod_emu.cli import main as group

PROMPT = "kmod-emu# "
_WORDS = ("boot", "insmod", "rmmod", "lsmod", "modprobe", "dmesg", "modinfo", "ksyms", "cat", "ls")
_HELP = f"Commands: {', '.join(_WORDS)}, exit. `COMMAND --help` says more."


@click.command()
@click.pass_obj
def shell(state: str | None) -> None:
    """A prompt with these commands, on the kept machine; commands may come from a pipe too."""
    if not sys.stdin.isatty():
        sys.exit(_converse(state, ""))
    import readline

    readline.parse_and_bind("tab: complete")
    readline.set_completer(_complete)
    click.echo(_HELP)
    previous = signal.signal(signal.SIGINT, _interrupt)  # ends the command, not the shell
    try:
        status = _converse(state, PROMPT)
    finally:
        signal.signal(signal.SIGINT, previous)
    sys.exit(status)


def _converse(state: str | None, prompt: str) -> int:
    """Read and run commands to the end; status of the last."""
    status = 0
    while True:
        try:
            line = input(prompt)
        except EOFError:
            break
        except KeyboardInterrupt:
            if not prompt:
                raise
            click.echo()
            continue
        words = _split(line)
        if words in (["exit"], ["quit"]):
            break
        if words:
            status = _execute(state, words)
    return status


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        click.echo(f"kmod-emu: {error}", err=True)
        return []


def _execute(state: str | None, words: list[str]) -> int:
    """Run one command line; its exit status."""
    if words[0] == "sudo":
        words = words[1:]
    if words == ["help"]:
        click.echo(_HELP)
        return 0
    if not words or words[0] not in _WORDS:
        click.echo(f"{words[0] if words else 'sudo'}: command not found; {_HELP}", err=True)
        return 127
    options = ["--state", state] if state else []
    try:
        group.main.main([*options, *words], prog_name="kmod-emu")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _complete(text: str, index: int) -> str | None:
    matches = [word for word in (*_WORDS, "exit", "help") if word.startswith(text)]
    return matches[index] if index < len(matches) else None
