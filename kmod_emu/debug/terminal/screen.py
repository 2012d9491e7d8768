"""A session on a terminal: a prompt with history and completion, panels after each stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.history import FileHistory, InMemoryHistory
from rich.console import Console

from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.terminal.complete import candidates
from kmod_emu.debug.terminal.panels import Panels
from kmod_emu.debug.terminal.session import Quit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History

    from kmod_emu.debug.terminal.session import Session

__all__ = ["Screen"]

PROMPT = "(kmod-emu) "


class _Words(Completer):
    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        for start, word in candidates(self._session, text):
            yield Completion(word, start - len(text))


class Screen:
    """Talks with one user.

    Args:
        session: What about.
        history: Where lines are kept, None for nowhere.
        panels: Draw them.
    """

    def __init__(self, session: Session, history: Path | None = None, *, panels: bool = True) -> None:
        self._session = session
        self._console = Console(highlight=False, soft_wrap=False)
        self._panels = Panels(session)
        if history is not None:
            history.parent.mkdir(parents=True, exist_ok=True)
        kept: History = InMemoryHistory() if history is None else FileHistory(str(history))
        self._prompt: PromptSession[str] = PromptSession(
            history=kept, completer=_Words(session), complete_while_typing=False
        )
        session.from_terminal = True
        session.read_line = lambda: self._read(">")
        session.ask_user = self._read
        if panels:
            session.redraw = self.draw

    def draw(self) -> None:
        """Draw the panels."""
        for part in self._panels.draw(self._console.width):
            self._console.print(part, no_wrap=True, overflow="ellipsis")

    def _read(self, prompt: str) -> str:
        return self._prompt.prompt(prompt)

    def converse(self) -> None:
        """Read commands and do them, until the user has had enough."""
        session = self._session
        session.from_terminal = True
        while True:
            try:
                line = self._read(PROMPT)
            except KeyboardInterrupt:
                self._console.print("Quit")
                continue
            except EOFError:
                self._console.print("quit")
                return
            try:
                if line.strip():
                    session.execute(line)
                else:
                    session.repeat()
                session.run_queue()
            except DebugError as error:
                session.flush()
                self._console.print(str(error), style="red", markup=False)
            except Quit:
                return
            except KeyboardInterrupt:
                self._console.print("Quit")
            session.flush()
