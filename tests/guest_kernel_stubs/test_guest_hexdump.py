from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guest_kernel_stubs.guest_machine import Guest, signed

if TYPE_CHECKING:
    import uuid

EINVAL = 22


@pytest.mark.parametrize("code", range(256))
def test_hex_to_bin(guest: Guest, code: int) -> None:
    wanted = int(chr(code), 16) if chr(code) in "0123456789abcdefABCDEF" else -1

    assert guest.call_int("hex_to_bin", code) == wanted


@given(data=st.binary(max_size=40))
def test_there_and_back(machine: Guest, data: bytes) -> None:
    machine.reset()
    text, back = machine.put(bytes(81)), machine.put(bytes(40))

    assert machine.call("bin2hex", text, machine.put(data), len(data)) == text + 2 * len(data)
    assert machine.string(text) == data.hex().encode()
    assert machine.call_int("hex2bin", back, text, len(data)) == 0
    assert machine.read(back, len(data)) == data


def test_hex2bin_stores_what_precedes_a_bad_digit(guest: Guest) -> None:
    dest = guest.put(b"...")

    assert guest.call_int("hex2bin", dest, guest.text(b"12F4x0"), 3) == -EINVAL
    assert guest.read(dest, 3) == b"\x12\xf4."


def dump_line(data: bytes, rowsize: int, groupsize: int, ascii_column: bool) -> str:
    rowsize = rowsize if rowsize in (16, 32) else 16
    data = data[:rowsize]
    if groupsize not in (1, 2, 4, 8) or len(data) % groupsize:
        groupsize = 1
    groups = [data[i : i + groupsize][::-1].hex() for i in range(0, len(data), groupsize)]
    line = " ".join(groups)
    if not ascii_column or not data:
        return line
    text = "".join(chr(c) if 32 <= c < 127 else "." for c in data)
    return line.ljust(rowsize * 2 + rowsize // groupsize + 1) + text


@given(
    data=st.binary(max_size=40),
    rowsize=st.sampled_from([16, 32, 7]),
    groupsize=st.sampled_from([1, 2, 4, 8, 3, 16]),
    size=st.integers(0, 160),
    ascii_column=st.booleans(),
)
def test_hex_dump_to_buffer(
    machine: Guest, data: bytes, rowsize: int, groupsize: int, size: int, ascii_column: bool
) -> None:
    machine.reset()
    line = dump_line(data, rowsize, groupsize, ascii_column)
    buffer = machine.put(b"\xa5" * 200)

    length = signed(
        machine.call(
            "hex_dump_to_buffer", machine.put(data), len(data), rowsize, groupsize, buffer, size, ascii_column
        )
    )

    assert length == len(line)
    if size:
        assert machine.string(buffer) == line[: size - 1].encode()
    assert machine.read(buffer + max(size, len(line) + 1), 1) == b"\xa5"


def test_digits_are_exported(guest: Guest) -> None:
    assert guest.string(guest.address("hex_asc")) == b"0123456789abcdef"
    assert guest.string(guest.address("hex_asc_upper")) == b"0123456789ABCDEF"


@given(value=st.uuids(), upper=st.booleans())
def test_uuid_and_guid_parse(machine: Guest, value: uuid.UUID, upper: bool) -> None:
    machine.reset()
    text = machine.text((str(value).upper() if upper else str(value)).encode())
    out = machine.put(bytes(16))

    assert machine.call("uuid_is_valid", text) & 0xFF == 1
    assert machine.call_int("uuid_parse", text, out) == 0
    assert machine.read(out, 16) == value.bytes
    assert machine.call_int("guid_parse", text, out) == 0
    assert machine.read(out, 16) == value.bytes_le


@pytest.mark.parametrize(
    "text",
    [b"", b"00000000-0000-0000-0000-00000000000", b"g0000000-0000-0000-0000-000000000000", b"0" * 36],
)
def test_what_is_no_uuid(guest: Guest, text: bytes) -> None:
    assert guest.call("uuid_is_valid", guest.text(text)) & 0xFF == 0
    assert guest.call_int("uuid_parse", guest.text(text), guest.put(bytes(16))) == -EINVAL


def test_null_uuids(guest: Guest) -> None:
    assert (
        guest.read(guest.address("uuid_null"), 16) == guest.read(guest.address("guid_null"), 16) == bytes(16)
    )


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        (b"00:1a:2B:33:44:ff", "001a2b3344ff"),
        (b"00:1a:2B:33:44:ff:99", "001a2b3344ff"),
        (b"00:1a:2B:33:44:f", None),
        (b"00-1a-2B-33-44-ff", None),
        (b"00:1a:2B:33:44:fg", None),
    ],
)
def test_mac_pton(guest: Guest, text: bytes, mac: str | None) -> None:
    out = guest.put(b"\xa5" * 6)

    assert guest.call("mac_pton", guest.text(text), out) & 0xFF == (mac is not None)
    assert guest.read(out, 6) == (bytes.fromhex(mac) if mac else b"\xa5" * 6)
