"""The shipped image is what its source builds, and is laid out as the loader and the emulated MMU need it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from capstone import CS_ARCH_X86, CS_MODE_64, Cs

from tests.guest_kernel_stubs.guest_machine import program_headers, read_system_map

SOURCE = Path(__file__).parents[2] / "guest_kernel_stubs"
IMAGE_FILES = ("base_kernel.elf", "System.map")
PF_X, PF_W = 1, 2
LINKER_SYMBOLS = {
    "_text",
    "_etext",
    "_end",
    "__start_rodata",
    "__end_rodata",
    "__start_imports",
    "__stop_imports",
    "__bss_start",
    "__bss_stop",
}


def tool_versions() -> str:
    lines = [
        subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
        for tool in ("gcc", "ld")
    ]
    return "".join(f"{line}\n" for line in lines)


def test_shipped_image_is_what_the_source_builds(tmp_path: Path, image_directory: Path) -> None:
    """Byte for byte with the recorded compiler; with another one, the rebuilt image must pass all tests."""
    build = tmp_path / "build"
    subprocess.run(["make", "-C", SOURCE, f"BUILD={build}"], capture_output=True, text=True, check=True)
    if tool_versions() == (SOURCE / "COMPILER").read_text():
        for name in IMAGE_FILES:
            assert (build / name).read_bytes() == (image_directory / name).read_bytes(), name
        return
    this_test = test_shipped_image_is_what_the_source_builds.__name__
    rebuilt = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-k",
            f"not {this_test}",
            Path(__file__).parent,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "GUEST_KERNEL_IMAGE": str(build)},
        timeout=300,
    )
    assert rebuilt.returncode == 0, rebuilt.stdout


def test_segments_are_page_aligned_and_never_writable_and_executable(image_directory: Path) -> None:
    segments = program_headers(image_directory / "base_kernel.elf")

    assert [flags for _, _, flags, _ in segments] == [5, 4, 6]
    assert segments[0][0] == 0xFFFFFFFF80000000
    assert all(address % 4096 == 0 for address, *_ in segments)
    assert not any(flags & PF_X and flags & PF_W for _, _, flags, _ in segments)
    pages = [
        page
        for address, size, *_ in segments
        for page in range(address // 4096, (address + size + 4095) // 4096)
    ]
    assert len(pages) == len(set(pages))


def test_no_symbol_is_undefined(image_directory: Path) -> None:
    assert "U" not in {letter for _, letter in read_system_map(image_directory / "System.map").values()}


def test_system_map_is_sorted_and_in_the_image(image_directory: Path) -> None:
    addresses = [address for address, _ in read_system_map(image_directory / "System.map").values()]

    assert addresses == sorted(addresses)
    assert addresses[0] == 0xFFFFFFFF80000000


def test_global_functions_start_behind_the_head_of_the_image(image_directory: Path) -> None:
    symbols = read_system_map(image_directory / "System.map")

    assert [
        name for name, (address, letter) in symbols.items() if letter == "T" and not address & 0xFFFF
    ] == ["_text"]


def test_imports_are_few_and_named(image_directory: Path) -> None:
    symbols = read_system_map(image_directory / "System.map")
    size = symbols["__stop_imports"][0] - symbols["__start_imports"][0]
    slots = {name for name in symbols if name.startswith("import_")}

    assert size == 16 * len(slots)
    assert len(slots) < 80


def test_code_uses_general_registers_only(image_directory: Path) -> None:
    """Also no string instructions: they are slow when emulated."""
    address, _, _, text = program_headers(image_directory / "base_kernel.elf")[0]
    disassembler = Cs(CS_ARCH_X86, CS_MODE_64)
    disassembler.skipdata = True
    vector = re.compile(r"\b([xyz]?mm\d|st\(|k[0-7]\b)")

    code = list(disassembler.disasm_lite(text, address))

    assert len(code) > 5000
    assert not [line for line in code if vector.search(line[3])]
    assert not [line for line in code if line[2].startswith(("rep", "f")) and line[2] != "fs"]


@pytest.mark.parametrize(
    "name", ["memcpy", "_ctype", "param_ops_int", "__x86_return_thunk", "empty_zero_page"]
)
def test_exports_are_global(image_directory: Path, name: str) -> None:
    assert read_system_map(image_directory / "System.map")[name][1] in "TRDB"


def test_linker_symbols_are_the_only_globals_that_look_like_none(image_directory: Path) -> None:
    symbols = read_system_map(image_directory / "System.map")
    marks = {name for name, (_, letter) in symbols.items() if letter.isupper()} & LINKER_SYMBOLS

    assert marks == LINKER_SYMBOLS
