"""What gdb 13.1 answers on echo.ko, as a file: types, constants, C expressions, source lines."""

import pytest

from tests.conftest import RECORDINGS

ANSWERS = [
    tuple(part.rstrip("\n").split("\n", 1)) if "\n" in part.rstrip("\n") else (part.rstrip("\n"), "")
    for part in (RECORDINGS / "gdb-echo.txt").read_text().split(">>> ")[1:]
]


@pytest.fixture(scope="module")
def answer():
    from kmod_emu import samples
    from tests.debug.conftest import Talk

    talk = Talk(samples.path("echo"))
    yield talk
    talk.debugger.close()


@pytest.mark.parametrize(("command", "expected"), ANSWERS, ids=[command for command, _ in ANSWERS])
def test_answer(answer, command, expected):
    answer.session.names.history.clear()
    answer.session.names.convenience.clear()
    assert answer(command) == expected
