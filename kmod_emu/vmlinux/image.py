"""A kernel image as distributions ship it: from bzImage to the vmlinux inside.

A bzImage follows the boot protocol (Documentation/arch/x86/boot.rst): a setup header with the magic "HdrS",
whose `payload_offset` says where the compressed kernel lies behind the setup sectors.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.vmlinux.errors import BadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KernelImage", "compression", "decompress", "read_image"]

_HDRS, _HDRS_MAGIC = 0x202, b"HdrS"
_VERSION_TEXT, _PAYLOAD = 0x20E, 0x248
_PAYLOAD_SINCE = 0x208  # the protocol version that has a payload offset
_SECTOR = 512
_ARM64_MAGIC = 0x38, b"ARM\x64"
_RISCV_MAGIC = 0x38, b"RSC\x05"
_LZ4_CHUNK = 8 << 20
_LARGEST = 1 << 30
_PIECE = 8 << 20  # of what is unpacked


class KernelImage(NamedTuple):
    """What a kernel file holds.

    Attributes:
        elf: The vmlinux.
        banner: What the setup header says about the kernel, "6.1.0-56-amd64 (builder) #1 SMP ..."; "" where
            the file is a bare vmlinux.
        compression: How it was compressed, "" for a bare vmlinux.
    """

    elf: bytes
    banner: str
    compression: str


def _untold(piece: bytes) -> None:
    """Nobody wants to know."""


def read_image(blob: bytes, told: Callable[[bytes], None] = _untold) -> KernelImage:
    """The vmlinux in a bzImage; a file that already is a vmlinux stays as it is.

    Args:
        blob: The file's contents.
        told: Called with each piece as soon as it is unpacked.

    Raises:
        BadImage: It is neither, is cut off or damaged, or needs a decompressor that is not installed.
    """
    if blob.startswith(b"\x7fELF"):
        return KernelImage(blob, "", "")
    _refuse_strangers(blob)
    (version,) = struct.unpack_from("<H", blob, 0x206)
    if version < _PAYLOAD_SINCE:
        raise BadImage(f"a kernel image of boot protocol {version >> 8}.{version & 0xFF:02}, before 2.6.26")
    offset, length = struct.unpack_from("<II", blob, _PAYLOAD)
    start = ((blob[0x1F1] or 4) + 1) * _SECTOR + offset
    if start + length > len(blob):
        raise BadImage(f"a kernel image that is cut off: {len(blob)} bytes of {start + length}")
    payload = blob[start : start + length]
    name = compression(payload)
    if name is None:
        raise BadImage(f"a kernel image compressed in an unknown way (it begins {payload[:6].hex(' ')})")
    elf = decompress(payload, name, told)
    if not elf.startswith(b"\x7fELF"):
        raise BadImage("a kernel image whose contents are not an ELF file")
    (text,) = struct.unpack_from("<H", blob, _VERSION_TEXT)
    banner = blob[0x200 + text : 0x200 + text + 512].partition(b"\0")[0].decode("latin-1") if text else ""
    return KernelImage(elf, banner, name)


def _refuse_strangers(blob: bytes) -> None:
    """BadImage with what the file is, unless it is a bzImage."""
    if blob[_HDRS : _HDRS + 4] == _HDRS_MAGIC and len(blob) >= _PAYLOAD + 8:
        return
    for (offset, magic), machine in ((_ARM64_MAGIC, "arm64"), (_RISCV_MAGIC, "RISC-V")):
        if blob[offset : offset + 4] == magic:
            raise BadImage(f"a kernel image for {machine}, not for x86-64")
    if not blob:
        raise BadImage("an empty file")
    raise BadImage("not a kernel image: neither a bzImage (vmlinuz) nor an ELF file (vmlinux)")


# ---------------------------------------------------------------------- compression

_MAGICS = {
    "gzip": b"\x1f\x8b",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"\x28\xb5\x2f\xfd",
    "lz4": b"\x02\x21\x4c\x18",
    "bzip2": b"BZh",
    "lzma": b"\x5d\0\0",
}


def compression(payload: bytes) -> str | None:
    """How a kernel is compressed, by its first bytes.

    >>> compression(b"BZh91AY&SY"), compression(b"nothing")
    ('bzip2', None)
    """
    return next((name for name, magic in _MAGICS.items() if payload.startswith(magic)), None)


def decompress(payload: bytes, name: str, told: Callable[[bytes], None] = _untold) -> bytes:
    """What was compressed; whatever follows it in the payload, such as its size, is left out.

    Args:
        payload: What a kernel's file has.
        name: How it is compressed.
        told: Called with each piece as soon as it is unpacked.

    Raises:
        BadImage: The data is damaged, or unreasonably large.
    """
    try:
        return b"".join(_bounded(_DECOMPRESSORS[name](payload), told))
    except BadImage:
        raise
    except Exception as error:  # each library has errors of its own
        raise BadImage(f"a kernel image whose {name} data is damaged: {error}") from None


def _bounded(pieces: Iterator[bytes], told: Callable[[bytes], None]) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > _LARGEST:
            raise BadImage(f"a kernel image that unpacks to more than {_LARGEST >> 20} MiB")
        told(piece)
        yield piece


def _gzip(payload: bytes) -> Iterator[bytes]:
    import zlib

    stream = zlib.decompressobj(31)
    yield stream.decompress(payload, _LARGEST + 1)
    if not stream.eof and not stream.unconsumed_tail:
        raise BadImage("a kernel image whose gzip data is cut off")


def _whole(name: str, stream: object, payload: bytes) -> Iterator[bytes]:
    """Output of a decompressor with `decompress(data, max_length)` and `eof`."""
    while not stream.eof:  # type: ignore[attr-defined]
        yield stream.decompress(payload, _PIECE)  # type: ignore[attr-defined]
        payload = b""
        if not stream.eof and stream.needs_input:  # type: ignore[attr-defined]
            raise BadImage(f"a kernel image whose {name} data is cut off")


def _xz(payload: bytes) -> Iterator[bytes]:
    import lzma

    return _whole("xz", lzma.LZMADecompressor(lzma.FORMAT_XZ), payload)


def _lzma(payload: bytes) -> Iterator[bytes]:
    import lzma

    return _whole("lzma", lzma.LZMADecompressor(lzma.FORMAT_ALONE), payload)


def _bzip2(payload: bytes) -> Iterator[bytes]:
    import bz2

    return _whole("bzip2", bz2.BZ2Decompressor(), payload)


def _zstd(payload: bytes) -> Iterator[bytes]:
    import zstandard

    stream = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    for start in range(0, len(payload), 1 << 20):
        yield stream.decompress(payload[start : start + (1 << 20)])
        if stream.eof:
            return
    raise BadImage("a kernel image whose zstd data is cut off")


def _lz4(payload: bytes) -> Iterator[bytes]:
    """The legacy frame: chunks of 8 MiB, each after its compressed length."""
    import lz4.block

    position = 4
    while position + 4 <= len(payload):
        (length,) = struct.unpack_from("<I", payload, position)
        position += 4
        if not 0 < length <= len(payload) - position:
            return  # not a chunk but the size that kbuild appends
        yield lz4.block.decompress(payload[position : position + length], uncompressed_size=_LZ4_CHUNK)
        position += length


_DECOMPRESSORS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "xz": _xz,
    "zstd": _zstd,
    "lz4": _lz4,
    "bzip2": _bzip2,
    "lzma": _lzma,
}
