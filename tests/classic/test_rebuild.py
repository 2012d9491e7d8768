"""The shipped objects are what `samples/classic` builds, with the recorded compiler byte for byte."""

import subprocess
from pathlib import Path

from kmod_emu import samples
from kmod_emu.classic.obj import ObjectFile

SOURCES = Path(__file__).resolve().parents[2] / "samples" / "classic"


def test_the_sources_build_what_is_shipped(tmp_path):
    before = sorted(SOURCES.rglob("*"))
    command = ["make", "-C", str(SOURCES), f"OUT={tmp_path}", f"INFO={tmp_path / 'BUILD-INFO'}"]
    subprocess.run(command, check=True, capture_output=True)
    assert sorted(SOURCES.rglob("*")) == before, "the build left files among the sources"
    assert sorted(file.stem for file in tmp_path.glob("*.o")) == samples.classic_names()
    same_tools = (tmp_path / "BUILD-INFO").read_text() == (SOURCES / "BUILD-INFO").read_text()
    for file in tmp_path.glob("*.o"):
        shipped, built = samples.classic(file.stem).read_bytes(), file.read_bytes()
        if same_tools:
            assert shipped == built, f"run `make samples`, and commit what it changes ({file.name})"
        old, new = ObjectFile(file.name, shipped), ObjectFile(file.name, built)
        assert (set(old.symbols), old.modinfo()) == (set(new.symbols), new.modinfo())
