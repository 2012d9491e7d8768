"""Compressed module files are read by what they contain; gzip, which Debian's kmod lacks, by its name too."""

import gzip
import lzma

import pytest
import zstandard

from kmod_emu import samples
from kmod_emu.kmod import compression
from kmod_emu.kmod.compression import decompress
from kmod_emu.kmod.files import read_module

HELLO = samples.path("hello").read_bytes()
FORMS = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstandard.compress}


@pytest.mark.parametrize("suffix", FORMS)
def test_each_format(tmp_path, suffix):
    path = tmp_path / f"hello.ko.{suffix}"
    path.write_bytes(FORMS[suffix](HELLO[:1000]) + FORMS[suffix](HELLO[1000:]))
    assert read_module(str(path))[:2] == (HELLO, True)


def test_what_is_not_compressed_is_itself():
    assert decompress("x.ko.xz", HELLO, 1 << 20) is HELLO


def test_gzip_without_its_name_is_left_alone():
    assert decompress("x.ko", gzip.compress(HELLO), 1 << 20).startswith(b"\x1f\x8b")


@pytest.mark.parametrize("suffix", FORMS)
def test_damaged(suffix):
    data = bytearray(FORMS[suffix](HELLO))
    data[20:40] = bytes(20)
    with pytest.raises(OSError, match="Invalid argument"):
        decompress(f"x.ko.{suffix}", bytes(data), 1 << 20)


@pytest.mark.parametrize("suffix", FORMS)
def test_a_small_file_that_would_fill_the_memory(suffix):
    with pytest.raises(OSError, match="File too large"):
        decompress(f"x.ko.{suffix}", FORMS[suffix](bytes(3 << 20)), 2 << 20)


@pytest.mark.parametrize("suffix", FORMS)
def test_what_unpacks_to_more_than_any_module_is_too_big(suffix, monkeypatch):
    monkeypatch.setattr(compression, "_SMALL", 1 << 16)
    data = FORMS[suffix](bytes(1 << 22))
    with pytest.raises(OSError, match="File too large"):
        decompress(f"bomb.ko.{suffix}", data, 1 << 31)


def test_xz_that_wants_much_memory_is_damaged():
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}]
    with pytest.raises(OSError, match="Invalid argument"):
        decompress("bomb.ko.xz", lzma.compress(b"\x7fELF", filters=filters), 1 << 31)


def test_streams_behind_each_other():
    assert decompress("x.ko.xz", lzma.compress(b"one") + lzma.compress(b"two"), 100) == b"onetwo"
