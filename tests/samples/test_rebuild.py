"""The shipped .ko files are what `samples/` builds.

With the compiler and the headers that `samples/BUILD-INFO` records, byte for byte. With others, what
must be the same whatever builds it: the module's own symbols and its modinfo; and the code too where the
compiler and the kernel series are the same.
"""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from kmod_emu import Kernel, KernelError, samples

SOURCES = Path(__file__).resolve().parents[2] / "samples"

# Numbered by the preprocessor, so they move with the headers; __pfx_ and __SCT__ come from newer kernels.
GENERATED = re.compile(
    r"__UNIQUE_ID_|__addressable_|_note_\d+$|__pfx_|\.L|\$|__ksym|__kstrtab|__crc_|__export_"
)
MODINFO_OF_THE_SOURCE = ("name", "author", "description", "license", "parm", "parmtype", "depends")


def read_info(file: Path) -> dict[str, str]:
    """The `key: value` lines of a BUILD-INFO file."""
    return dict(line.split(": ", 1) for line in file.read_text(encoding="utf-8").splitlines())


def own_symbols(elf: ELFFile) -> set[tuple[str, str]]:
    """Name and type of the functions and variables that the module's source defines."""
    symtab = elf.get_section_by_name(".symtab")
    return {
        (symbol.name, symbol["st_info"]["type"])
        for symbol in symtab.iter_symbols()
        if symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT")
        and symbol["st_shndx"] != "SHN_UNDEF"
        and not GENERATED.search(symbol.name)
    }


def own_modinfo(elf: ELFFile) -> list[str]:
    """The modinfo entries that do not depend on the kernel built for, sorted."""
    entries = elf.get_section_by_name(".modinfo").data().decode().split("\0")
    return sorted(entry for entry in entries if entry.split("=", 1)[0] in MODINFO_OF_THE_SOURCE)


def code(elf: ELFFile) -> dict[str, bytes]:
    """The contents of the executable sections, before relocation."""
    return {
        section.name: section.data()
        for section in elf.iter_sections()
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
    }


def differences(shipped: bytes, built: bytes, was: dict[str, str], now: dict[str, str]) -> list[str]:
    """What differs between two builds of one module, of the things that must not."""
    if was == now:
        return [] if shipped == built else ["bytes"]
    checks = {"symbols": own_symbols, "modinfo": own_modinfo}
    series = [info["release"].split(".")[:2] for info in (was, now)]
    if was["gcc"] == now["gcc"] and series[0] == series[1]:
        checks["code"] = code
    elves = ELFFile(io.BytesIO(shipped)), ELFFile(io.BytesIO(built))
    return [what for what, read in checks.items() if read(elves[0]) != read(elves[1])]


def behaviour(image: bytes) -> tuple[int, list[str]]:
    """What loading a module gives: errno and the log, without the lines of a crash's registers."""
    kernel = Kernel()
    kernel.cpu.watchdog.limit = 3  # spinwait is slow on a busy machine, and not a lockup
    try:
        kernel.insmod(image)
        outcome = 0
    except KernelError as error:
        outcome = error.errno
    lines = kernel.dmesg()
    end = next((i for i, line in enumerate(lines) if line.startswith(("BUG:", "watchdog:"))), len(lines))
    return outcome, lines[: end + 1]


def test_the_sources_build_what_is_shipped(tmp_path: Path) -> None:
    before = sorted(SOURCES.rglob("*"))
    command = ["make", "-C", str(SOURCES), f"OUT={tmp_path}", f"INFO={tmp_path / 'BUILD-INFO'}"]
    make = subprocess.run(command, capture_output=True, text=True, check=False)
    assert make.returncode == 0, make.stdout + make.stderr
    assert sorted(SOURCES.rglob("*")) == before, "the build left files among the sources"

    built = {file.stem: file.read_bytes() for file in tmp_path.glob("*.ko")}
    assert sorted(built) == samples.names()
    was, now = read_info(SOURCES / "BUILD-INFO"), read_info(tmp_path / "BUILD-INFO")
    found = {
        name: differences(samples.path(name).read_bytes(), image, was, now) for name, image in built.items()
    }
    wrong = {name: what for name, what in found.items() if what}
    assert not wrong, f"run `make samples`, and commit what it changes (built {was}, here {now})"
    if now["release"].startswith("6.1."):
        for name, image in built.items():
            shipped = samples.path(name).read_bytes()
            assert image == shipped or behaviour(image) == behaviour(shipped), name


def test_a_change_of_the_source_is_seen_with_the_recorded_tools_and_with_others() -> None:
    hello = samples.path("hello").read_bytes()
    info = read_info(SOURCES / "BUILD-INFO")
    newer = {**info, "headers": "newer"}
    other = {**info, "gcc": "another", "release": "6.12.1-amd64"}
    text = hello.replace(b"Hello world!", b"Hello there!")
    assert differences(hello, text, info, info) == ["bytes"]
    author = hello.replace(b"author=kmod-emu", b"author=kmod-xyz")
    assert differences(hello, author, info, newer) == ["modinfo"]
    renamed = hello.replace(b"\0hello_init\0", b"\0hallo_init\0")
    assert differences(hello, renamed, info, other) == ["symbols"]
    elf = ELFFile(io.BytesIO(hello))
    at = elf.get_section_by_name(".init.text")["sh_offset"]
    patched = hello[:at] + b"\x90" + hello[at + 1 :]
    assert differences(hello, patched, info, newer) == ["code"]
    assert differences(hello, hello, info, other) == []
