"""A debugger's session on a sample, and what it prints."""

import pytest

from kmod_emu import Kernel, samples
from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.debugger import Debugger
from kmod_emu.debug.terminal.session import Session


class Talk:
    """A session whose answers come back as text."""

    def __init__(self, module, params="", kernel=None, **options) -> None:
        self.lines: list[str] = []
        self.debugger = Debugger(kernel or Kernel())
        self.session = Session(self.debugger, self.lines.append, module, params, **options)
        self.session.start()
        self.greeting = self.taken()

    def taken(self) -> str:
        self.session.flush()
        text, self.lines[:] = "\n".join(self.lines), []
        return text

    def __call__(self, *commands: str) -> str:
        """Do commands; what they print, errors included."""
        for command in commands:
            try:
                self.session.execute(command)
                self.session.run_queue()
            except DebugError as error:
                self.session.flush()
                self.lines.append(str(error))
        return self.taken()


@pytest.fixture
def talk(tmp_path):
    """Start a session: `talk("hello")`, with parameters behind."""
    started = []

    def begin(sample, params="", **options) -> Talk:
        path = samples.path(sample) if isinstance(sample, str) else sample
        started.append(Talk(path, params, **options))
        return started[-1]

    begin.folder = tmp_path
    yield begin
    for one in started:
        one.debugger.close()
