"""A class of students who all handed in the same."""

import shutil

import pytest

from kmod_emu import samples

LAB = 'module = "hello"\n[[test]]\nname = "greets"\ndmesg = ["Hello world!"]\n'


@pytest.fixture
def course(tmp_path, request):
    """A folder with LAB.toml, and as many right submissions in `in` as the test's module has as COUNT."""
    (tmp_path / "LAB.toml").write_text(LAB)
    (tmp_path / "in").mkdir()
    for number in range(request.module.COUNT):
        shutil.copy(samples.path("hello"), tmp_path / f"in/{number}.ko")
    return tmp_path
