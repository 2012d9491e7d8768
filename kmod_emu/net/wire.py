"""Netlink messages and attributes as bytes (include/uapi/linux/netlink.h)."""

from __future__ import annotations

import struct

NLMSGHDR = struct.Struct("<IHHII")
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP = 1, 2, 4, 8, 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE, NLMSG_MIN_TYPE = 2, 3, 0x10
ATTR_MSG, ATTR_OFFS, ATTR_COOKIE, ATTR_POLICY, ATTR_MISS_TYPE, ATTR_MISS_NEST = range(1, 7)  # NLMSGERR_ATTR_*
NLA_F_NESTED = 0x8000


def message(kind: int, payload: bytes, *, flags: int = 0, seq: int = 0, pid: int = 0) -> bytes:
    """A whole message, padded."""
    head = NLMSGHDR.pack(NLMSGHDR.size + len(payload), kind, flags, seq, pid)
    return pad(head + payload)


def pad(data: bytes) -> bytes:
    """Zeros up to the next multiple of four."""
    return data.ljust(len(data) + 3 & ~3, b"\0")


def attribute(kind: int, data: bytes | int, size: int = 4) -> bytes:
    r"""A struct nlattr with its padding; of a number with `size` bytes, or of bytes.

    >>> attribute(2, b"nlctrl\0").hex()
    '0b0002006e6c6374726c0000'
    """
    raw = data.to_bytes(size, "little") if isinstance(data, int) else data
    return pad(struct.pack("<HH", 4 + len(raw), kind) + raw)


def attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by type, the last of each; what is cut off ends it."""
    found, position = {}, 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, position)
        if not 4 <= length <= len(data) - position:
            break
        found[kind & 0x3FFF] = data[position + 4 : position + length]
        position += length + 3 & ~3
    return found
