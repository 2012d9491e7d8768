"""From a kernel file to its vmlinux, however it was compressed; and files that are no kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.vmlinux import adding
from kmod_emu.vmlinux.errors import BadImage
from kmod_emu.vmlinux.image import read_image
from kmod_emu.vmlinux.vmlinux import Vmlinux
from tests.vmlinux import synthetic
from tests.vmlinux.synthetic import COMPRESS, RODATA, bzimage, elf

ELF = elf([(".rodata", RODATA, bytes(range(256)) * 64), (".bss", RODATA + 0x10000, b"")])


@pytest.mark.parametrize("compression", COMPRESS)
def test_every_compression_of_kbuild(compression):
    image = read_image(bzimage(ELF, compression))
    assert image.elf == ELF
    assert image.compression == compression
    assert image.banner.startswith("9.9.9-test (me@here) #1")


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7, 0.95])
def test_a_truncated_image_says_so(compression, kept):
    blob = bzimage(ELF, compression)
    with pytest.raises(BadImage):
        Vmlinux.from_image(blob[: int(kept * (len(blob) - 520))])


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_truncated_payload_says_so(compression):
    """The file is whole, but what it holds stops early."""
    with pytest.raises(BadImage, match=r"cut off|damaged"):
        Vmlinux.from_image(bzimage(ELF[: len(ELF) // 2], compression))
    whole = bzimage(ELF, compression)
    start = (3 + 1) * 512 + 0x80
    half = (len(whole) - 512 - start) // 2
    with pytest.raises(BadImage):
        Vmlinux.from_image(whole[: start + half] + bytes(len(whole) - start - half))


def test_a_bare_vmlinux_is_taken_as_it_is():
    assert read_image(ELF) == (ELF, "", "")


@pytest.mark.parametrize(
    ("blob", "sentence"),
    [
        (b"", "an empty file"),
        (b"root:x:0:0:root\n" * 200, "not a kernel image"),
        (bytes(0x38) + b"ARM\x64" + bytes(600), "for arm64, not for x86-64"),
        (bytes(0x38) + b"RSC\x05" + bytes(600), "for RISC-V, not for x86-64"),
        (elf([], machine=183), "for arm64, not for x86-64"),
        (elf([], machine=40), "for ARM, not for x86-64"),
        (ELF[:70], "cut off"),
        (ELF[:5], "not an ELF file"),
        (bzimage(b"no ELF file in here", "xz"), "not an ELF file"),
    ],
)
def test_what_is_no_kernel_is_named(blob, sentence):
    with pytest.raises(BadImage, match=sentence):
        Vmlinux.from_image(blob)


def test_an_unknown_compression_is_named():
    blob = bytearray(bzimage(ELF))
    start = (3 + 1) * 512 + 0x80
    blob[start : start + 6] = b"abcdef"
    with pytest.raises(BadImage, match="61 62 63 64 65 66"):
        read_image(bytes(blob))


@given(st.data())
def test_damage_raises_nothing_else(data):
    blob = bytearray(bzimage(ELF, data.draw(st.sampled_from(sorted(COMPRESS)))))
    for _ in range(data.draw(st.integers(1, 8))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        kernel = Vmlinux.from_image(bytes(blob))
    except BadImage:
        return
    assert kernel.contents(".nothing") == b""


def test_memory_is_read_at_link_addresses():
    kernel = Vmlinux(ELF)
    assert kernel.read(RODATA + 5, 3) == b"\5\6\7"
    assert kernel.text(RODATA + 0x41).startswith("ABC")
    for address, size in ((0, 1), (RODATA - 1, 2), (RODATA + 256 * 64 - 1, 2)):
        with pytest.raises(KeyError):
            kernel.read(address, size)


WHOLE = (synthetic.vmlinux(), bzimage(synthetic.vmlinux())[:-512])  # what follows the payload is nobody's


@given(st.sampled_from(WHOLE), st.floats(0, 0.9999))
def test_a_kernel_cut_off_anywhere_is_refused_by_a_sentence(blob, part):
    with pytest.raises(BadImage):
        adding.release_of(blob[: int(len(blob) * part)])
