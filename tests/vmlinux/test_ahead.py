"""A kernel that a command line names is unpacked before anybody asks for it."""

import random
from pathlib import Path

import pytest

from kmod_emu.vmlinux import cache, kallsyms
from kmod_emu.vmlinux.ahead import Unpacking
from tests.vmlinux.synthetic import bzimage, vmlinux


@pytest.fixture
def image(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "_SETTLED_NS", 0)
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage(vmlinux(), "xz"))
    return str(path)


def test_it_is_the_kernel_of_the_file(image):
    assert Unpacking(image).result(image)[0].elf == vmlinux()
    assert Unpacking(image).result("/boot/vmlinuz-another") == (None, None)


def test_one_that_may_be_in_the_cache_is_let_be(image):
    cache.digest_of(image)
    assert Unpacking(image).result(image) == (None, None)
    with open(image, "ab") as file:
        file.write(b"changed")
    assert Unpacking(image).result(image)[0].elf == vmlinux()


@pytest.mark.parametrize("named", ["stub", "", "9.9.9-unknown", "damaged", "."])
def test_what_is_none_is_left_to_who_asks(image, tmp_path, named):
    (tmp_path / "damaged").write_bytes(b"MZ" + bytes(10))
    path = str(tmp_path / named) if named == "damaged" else named
    assert Unpacking(path).result(path) == (None, None)


@pytest.mark.parametrize("words", [["--kernel"], ["--kernel="], ["--kernel", "--kernel"]])
def test_words_without_a_kernel(cli, words):
    assert cli("run", "hello", *words).exit_code == 2


def test_symbols_are_found_before_the_rest_is_unpacked(image, tmp_path, monkeypatch):
    monkeypatch.setattr("kmod_emu.vmlinux.image._PIECE", 1 << 16)
    elf = vmlinux() + bytes(random.Random(0).randbytes(1 << 20))
    Path(image).write_bytes(bzimage(elf, "xz"))
    unpacking = Unpacking(image)
    kernel, early = unpacking.result(image)
    found = kallsyms.find(kernel)
    assert found.table.packed == kallsyms.search(elf[: len(vmlinux())], 0, 1 << 20).table.packed
    assert early is None or early.table.packed == found.table.packed  # as the two threads run
