"""The list of shipped samples, and where they lie (kmod_emu/samples.py)."""

from pathlib import Path

import pytest

from kmod_emu import samples

SOURCES = Path(__file__).resolve().parents[2] / "samples"


def folder(name: str) -> Path:
    """Where a sample's source lies."""
    bug = SOURCES / "bugs" / name
    return bug if bug.is_dir() else SOURCES / name


def test_every_source_directory_is_shipped_and_nothing_else() -> None:
    folders = {
        makefile.parent.name for makefile in (*SOURCES.glob("*/Makefile"), *SOURCES.glob("bugs/*/Makefile"))
    }
    assert samples.names() == sorted(folders - {"classic"})
    assert samples.classic_names() == sorted(source.stem for source in SOURCES.glob("classic/*/*.c"))


@pytest.mark.parametrize("name", samples.names())
def test_a_sample_is_a_relocatable_elf_file(name: str) -> None:
    header = samples.path(name).read_bytes()[:18]
    assert header[:4] == b"\x7fELF"
    assert header[16:18] == (1).to_bytes(2, "little")


@pytest.mark.parametrize("name", samples.names())
def test_debug_information_names_no_directory_of_the_building_machine(name: str) -> None:
    image = samples.path(name).read_bytes()
    assert f"samples/{folder(name).relative_to(SOURCES)}/".encode() in image
    for root in (b"/tmp/", b"/usr/", b"/home/", b"/root/"):
        assert root not in image


@pytest.mark.parametrize("name", samples.names())
def test_each_source_has_a_page_that_shows_how_to_run_it(name: str) -> None:
    page = (folder(name) / "README.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {name}\n")
    assert f"{name}" in page.split("Try", 1)[1]


@pytest.mark.parametrize("name", ["", "nothing", "hello.ko", "../samples/hello", "/etc/passwd"])
def test_an_unknown_name_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(LookupError, match=r"there are: .*hello, .*warn"):
        samples.path(name)
