"""Files that mean harm: ELF objects whose parts lie on each other, module trees that go round in a circle."""

import struct
from contextlib import suppress

import pytest
from click.testing import CliRunner

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.cli.main import main
from kmod_emu.kernel.limits import Limits

HELLO = samples.path("hello").read_bytes()
_SHOFF, _SHNUM, _ENTRY = 40, 60, 64
_OFFSET, _SIZE, _LINK = 24, 32, 40  # in a section's header


@pytest.fixture(scope="module")
def booted():
    kernel = Kernel(limits=Limits(time=0.3))
    return kernel, kernel.snapshot()


def headers() -> list[int]:
    """Where the section headers are."""
    start, count = struct.unpack_from("<Q", HELLO, _SHOFF)[0], struct.unpack_from("<H", HELLO, _SHNUM)[0]
    return [start + _ENTRY * index for index in range(count)]


def with_fields(*changes: tuple[int, str, int]) -> bytes:
    """The module with numbers of section headers changed."""
    image = bytearray(HELLO)
    for place, form, value in changes:
        struct.pack_into(form, image, place, value)
    return bytes(image)


TABLE = headers()
QUINES = {
    "every section is the file": [
        change for at in TABLE[1:] for change in ((at + _OFFSET, "<Q", 0), (at + _SIZE, "<Q", len(HELLO)))
    ],
    "every section is the table of sections": [(at + _OFFSET, "<Q", TABLE[0]) for at in TABLE[1:]],
    "every section is its own header": [(at + _OFFSET, "<Q", at) for at in TABLE[1:]],
    "every section is linked to itself": [(at + _LINK, "<I", number) for number, at in enumerate(TABLE)],
    "every section is linked to the next": [
        (at + _LINK, "<I", (number + 1) % len(TABLE)) for number, at in enumerate(TABLE)
    ],
    "the table of sections is the ELF header": [(_SHOFF, "<Q", 0)],
}


@pytest.mark.parametrize("quine", QUINES)
def test_a_file_whose_parts_lie_on_each_other(booted, quine):
    kernel, clean = booted
    kernel.restore(clean)
    with suppress(KernelError):
        kernel.insmod(with_fields(*QUINES[quine]))
    assert kernel.insmod(samples.path("params")).name == "params"


@pytest.mark.parametrize("number", range(1, len(TABLE)))
def test_one_section_that_is_its_own_header(booted, number):
    kernel, clean = booted
    kernel.restore(clean)
    with suppress(KernelError):
        kernel.insmod(with_fields((TABLE[number] + _OFFSET, "<Q", TABLE[number])))


@pytest.mark.parametrize(
    ("needs", "soft"),
    [
        ("hello.ko: params.ko\nparams.ko: hello.ko\n", ""),
        ("hello.ko: hello.ko\n", ""),
        ("hello.ko:\nparams.ko:\n", "softdep hello pre: params\nsoftdep params pre: hello\n"),
    ],
)
def test_modules_that_need_each_other(tmp_path, monkeypatch, needs, soft):
    monkeypatch.setenv("KMOD_EMU_STATE", str(tmp_path / "machine.kmod"))
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("hello", "params"):
        (tree / f"{name}.ko").write_bytes(samples.path(name).read_bytes())
    (tree / "modules.dep").write_text(needs)
    (tree / "modules.softdep").write_text(soft)
    runner = CliRunner()
    assert runner.invoke(main, ["boot", "--modules", str(tree)]).exit_code == 0
    result = runner.invoke(main, ["modprobe", "hello"])
    assert result.exit_code in (0, 1)
    assert "Traceback" not in result.output


def test_what_tools_print_of_a_module_obeys_no_terminal(tmp_path, monkeypatch):
    """Its description, its name in the list, its log, and its report."""
    monkeypatch.setenv("KMOD_EMU_STATE", str(tmp_path / "machine.kmod"))
    evil = HELLO.replace(b"\0name=hello\0", b"\0name=\x1b[2Jh\0").replace(
        b"Hello world!", b"\x1b]0;hi!\x07\x9b2"
    )
    evil = evil.replace(b"description=Hello", b"description=\x1b[31m")
    path = tmp_path / "evil.ko"
    path.write_bytes(evil)
    for words in (["modinfo", path], ["run", path], ["insmod", path], ["lsmod"], ["dmesg"], ["trace", path]):
        result = CliRunner().invoke(main, list(map(str, words)), color=True)
        assert not {"\x1b", "\x07", "\x9b"} & set(result.output + result.stderr), words
