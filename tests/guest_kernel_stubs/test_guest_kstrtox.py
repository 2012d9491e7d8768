from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.guest_kernel_stubs.guest_machine import Guest, signed

EINVAL, ERANGE, EFAULT = 22, 34, 14
TYPES = {
    "kstrtoull": (64, False),
    "kstrtoll": (64, True),
    "_kstrtoul": (64, False),
    "_kstrtol": (64, True),
    "kstrtouint": (32, False),
    "kstrtoint": (32, True),
    "kstrtou16": (16, False),
    "kstrtos16": (16, True),
    "kstrtou8": (8, False),
    "kstrtos8": (8, True),
}
DIGITS = {8: "[0-7]", 10: "[0-9]", 16: "[0-9a-fA-F]"}
numbers = st.integers(-(2**65), 2**65) | st.sampled_from(
    [
        edge + delta
        for bits in (7, 8, 15, 16, 31, 32, 63, 64)
        for edge in (2**bits, -(2**bits))
        for delta in (-1, 0, 1)
    ]
)
spellings = st.sampled_from(
    ["{}", "+{}", "{:#x}", "0{:o}", "{}\n", "{:#X}\n", " {}", "{} ", "{}\n\n", "{}q", "-{}"]
)


def base_of(text: str) -> tuple[int, str]:
    if re.match(r"0[xX][0-9a-fA-F]", text):
        return 16, text[2:]
    return (8, text) if text.startswith("0") else (10, text)


def kstrto(text: str, bits: int, sign: bool) -> int | str:
    """What the documentation of kstrtox says, base 0: a value, or the errno's name."""
    negative = sign and text.startswith("-")
    body = text[1:] if negative or text.startswith("+") else text
    base, digits = base_of(body)
    match = re.match(f"({DIGITS[base]}+)(.*)", digits, re.DOTALL)
    if not match:
        return "EINVAL"
    value = int(match[1], base)
    if value >= 2**64:
        return "ERANGE"
    if match[2] not in ("", "\n"):
        return "EINVAL"
    value = -value if negative else value
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if sign else (0, 2**bits - 1)
    return value if low <= value <= high else "ERANGE"


@pytest.mark.parametrize("name", TYPES)
@given(number=numbers, spelling=spellings)
@example(number=0, spelling="-{}")
@example(number=2**64, spelling="{}q")
def test_kstrto_base_0(machine: Guest, name: str, number: int, spelling: str) -> None:
    machine.reset()
    bits, sign = TYPES[name]
    text = spelling.format(number)
    wanted = kstrto(text, bits, sign)
    result = machine.put(b"\xa5" * 8)

    rc = machine.call_int(name, machine.text(text.encode()), 0, result)

    if isinstance(wanted, str):
        assert rc == -{"EINVAL": EINVAL, "ERANGE": ERANGE}[wanted], text
        assert machine.read(result, 8) == b"\xa5" * 8
    else:
        assert rc == 0, text
        stored = int.from_bytes(machine.read(result, bits // 8), "little")
        assert (signed(stored, bits) if sign else stored) == wanted
        assert machine.read(result + bits // 8, 1) == b"\xa5"


@pytest.mark.parametrize(
    ("text", "base", "wanted"),
    [
        (b"ff", 16, 255),
        (b"0xff", 16, 255),
        (b"101", 2, 5),
        (b"0x", 0, None),
        (b"", 0, None),
        (b"08", 0, None),
        (b"z", 16, None),
    ],
)
def test_kstrtoull_bases(guest: Guest, text: bytes, base: int, wanted: int | None) -> None:
    result = guest.words(0)
    rc = guest.call_int("kstrtoull", guest.text(text), base, result)

    assert rc == (-EINVAL if wanted is None else 0)
    assert guest.unpack("<Q", result)[0] == (wanted or 0)


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ((b"y", b"Y", b"t", b"T", b"1", b"yellow", b"on", b"oN", b"ONE"), True),
        ((b"n", b"N", b"f", b"F", b"0", b"nonsense", b"off", b"oF"), False),
        ((b"", b"2", b"o", b"ox", b"-1", b" y"), None),
    ],
)
def test_kstrtobool_looks_at_the_first_characters(
    guest: Guest, texts: tuple[bytes, ...], wanted: bool | None
) -> None:
    for text in texts:
        result = guest.put(b"\xa5")
        assert guest.call_int("kstrtobool", guest.text(text), result) == (-EINVAL if wanted is None else 0), (
            text
        )
        assert guest.read(result, 1) == (b"\xa5" if wanted is None else bytes([wanted])), text


def test_kstrtobool_refuses_null(guest: Guest) -> None:
    assert guest.call_int("kstrtobool", 0, guest.put(b"x")) == -EINVAL


@given(number=st.integers(0, 2**64 - 1), tail=st.sampled_from([b"", b"k", b" 1", b"\n"]))
def test_simple_strto_reads_as_far_as_digits_go(machine: Guest, number: int, tail: bytes) -> None:
    machine.reset()
    for text in (b"%d" % number, b"0x%x" % number, b"%o" % number if number < 8 else b"0%o" % number):
        s, end = machine.text(text + tail), machine.words(0)
        for name in ("simple_strtoull", "simple_strtoul", "simple_strtoll", "simple_strtol"):
            assert machine.call(name, s, end, 0) == number
            assert machine.unpack("<Q", end) == (s + len(text),)
        assert machine.call("simple_strtoull", s, 0, 0) == number


def test_simple_strto_wraps_and_negates(guest: Guest) -> None:
    assert guest.call("simple_strtoull", guest.text(b"18446744073709551617"), 0, 10) == 1
    assert signed(guest.call("simple_strtol", guest.text(b"-12"), 0, 0), 64) == -12
    assert guest.call("simple_strtoul", guest.text(b"-12"), 0, 0) == 0


@pytest.mark.parametrize(
    "name", ["kstrtoull", "kstrtoll", "kstrtoul", "kstrtol", "kstrtouint", "kstrtoint", "kstrtou8"]
)
def test_from_user_copies_what_can_be_valid(guest: Guest, name: str) -> None:
    def copy_from_user(to: int, user: int, count: int) -> int:
        copied.append(count)
        guest.write(to, b"42\n".ljust(count, b"\0"))
        return 0

    copied: list[int] = []
    guest.bind_import("_copy_from_user", copy_from_user)
    result = guest.words(0)
    bits = 8 if name.endswith("8") else 32 if "int" in name else 64

    assert guest.call_int(f"{name}_from_user", 0x1000, 3, 0, result) == 0
    assert guest.call_int(f"{name}_from_user", 0x1000, 4096, 0, result) == 0
    assert guest.unpack("<Q", result) == (42,)
    assert copied == [3, bits + 2]


def test_from_user_fault(guest: Guest) -> None:
    guest.bind_import("_copy_from_user", lambda: 1)

    assert guest.call_int("kstrtoint_from_user", 0x1000, 3, 0, guest.words(0)) == -EFAULT
    assert guest.call_int("kstrtobool_from_user", 0x1000, 3, guest.words(0)) == -EFAULT
