"""Modules that the kernel decompresses itself, where it was configured to (kernel/module/decompress.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.layout import MODULES_SIZE
from kmod_emu.module.errors import LoadError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.profile import Profile

_XZ_MEMORY = 64 << 20  # bytes of the dictionary, at most
_XZ_MAGIC = b"\xfd7zXZ\0"
_XZ_OK, _XZ_FORMAT_ERROR, _XZ_DATA_ERROR = 0, 5, 7


def module_decompress(profile: Profile, data: bytes) -> bytes:
    """The module in a compressed file.

    Raises:
        LoadError: EOPNOTSUPP, this kernel does not; EINVAL, the file is no such file or damaged; ENOMEM, it
            is larger than all modules may be.
    """
    if not profile.config.get("MODULE_DECOMPRESS"):
        raise LoadError(errno.EOPNOTSUPP, "this kernel cannot decompress modules itself")
    if not profile.config.get("MODULE_COMPRESS_XZ"):
        raise LoadError(errno.EOPNOTSUPP, "this kernel decompresses a format that is not implemented here")
    import lzma

    if not data.startswith(_XZ_MAGIC):
        raise LoadError(errno.EINVAL, "", (3, "not an xz compressed module"))
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    try:
        image = decompressor.decompress(data, MODULES_SIZE)
    except lzma.LZMAError:
        raise _failed(_XZ_DATA_ERROR) from None
    if len(image) == MODULES_SIZE:
        raise LoadError(errno.ENOMEM, "there is no memory for what the file unpacks to")
    if not decompressor.eof:
        raise _failed(_XZ_OK)
    return image


def _failed(status: int) -> LoadError:
    return LoadError(errno.EINVAL, "", (3, f"decompression failed with status {status}"))
