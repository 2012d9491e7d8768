"""kmod-emu shell: a prompt with the commands of the kept machine."""

from __future__ import annotations

import shlex
import signal
import sys
from typing import TYPE_CHECKING

import click

from kmod_emu.cli import main as group
from kmod_emu.cli.machine import state_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document

PROMPT = "kmod-emu# "
_WORDS = [word for word in group.COMMANDS if word not in ("shell", "install-tools")]
_OWN = ("help", "exit")
_HELP = f"Commands: {', '.join(_WORDS)}, exit. `COMMAND --help` says more."


@click.command()
@click.pass_obj
def shell(state: str | None) -> None:
    """A prompt with these commands, on the kept machine; commands may come from a pipe too.

    On a terminal, Tab completes commands, options, modules and files of the machine, and lines of earlier
    sessions come back with the arrow keys.
    """
    if not sys.stdin.isatty():
        sys.exit(_converse(state, input))
    click.echo(_HELP)
    previous = signal.signal(signal.SIGINT, _interrupt)  # ends the command, not the shell
    try:
        status = _converse(state, _reader(state), interactive=True)
    finally:
        signal.signal(signal.SIGINT, previous)
    sys.exit(status)


def _reader(state: str | None) -> Callable[[], str]:
    """What reads a line from the terminal."""
    if not sys.stdout.isatty():
        return lambda: input(PROMPT)
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import FileHistory

    class Words(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            return completions(state, document.text_before_cursor)

    history = state_path(None).with_name("history")
    history.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        PROMPT, history=FileHistory(str(history)), completer=Words(), complete_while_typing=False
    )
    return session.prompt


def completions(state: str | None, text: str) -> Iterable[Completion]:
    """What the last word of a line can become."""
    from click.shell_completion import ShellComplete, split_arg_string
    from prompt_toolkit.completion import CompleteEvent, Completion, PathCompleter
    from prompt_toolkit.document import Document

    words = split_arg_string(text)
    last = words.pop() if words and not text[-1].isspace() else ""
    if words[:1] == ["sudo"]:
        del words[0]
    if not words:
        yield from (Completion(f"{w} ", -len(last), w) for w in (*_WORDS, *_OWN) if w.startswith(last))
        return
    if words[0] not in _WORDS:
        return
    command = ShellComplete(group.main, {}, "kmod-emu", "_KMOD_EMU_COMPLETE")
    for item in command.get_completions([*_options(state), *words], last):
        if item.type in ("file", "dir"):
            yield from PathCompleter(expanduser=True).get_completions(Document(last), CompleteEvent())
        else:
            yield Completion(item.value, -len(last), display_meta=item.help)


def _converse(state: str | None, read: Callable[[], str], *, interactive: bool = False) -> int:
    """Read and run commands to the end; status of the last."""
    status = 0
    while True:
        try:
            line = read()
        except EOFError:
            break
        except KeyboardInterrupt:
            if not interactive:
                raise
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


def _options(state: str | None) -> list[str]:
    return ["--state", state] if state else []


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
    try:
        group.main.main([*_options(state), *words], prog_name="kmod-emu")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
