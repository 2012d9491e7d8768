import ctypes
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kmod_emu.kernel.vsprintf import FormatWarning, NotSupported, parse_prefix, vsnprintf
from kmod_emu.machine.memory import PageFault
from tests.kernel.printf_world import BASE, END, SYMBOLS, Values, World

U64 = (1 << 64) - 1


@pytest.fixture
def world():
    return World()


# Expected values: the kernel's own self-test of printf, Documentation/core-api/printk-formats.rst, and C.
@pytest.mark.parametrize(
    ("format", "arguments", "expected"),
    [
        (b"", (), b""),
        (b"100%%", (), b"100%"),
        (b"%5%|%-5%", (), b"%|%"),
        (b"%*%|%.*%|%d", (9, 9, 1), b"%|%|1"),
        (b"xxx%cyyy", (ord("%"),), b"xxx%yyy"),
        (b"xxx%cyyy", (0,), b"xxx\0yyy"),
        (b"%#-12x", (0x1234ABCD,), b"0x1234abcd  "),
        (b"%#12x", (0x1234ABCD,), b"  0x1234abcd"),
        (
            b"%d|%03d|%3d|%+d|% d|%+d|% d",
            (0, 1, 12, 123, 1234, -123, -1234),
            b"0|001| 12|+123| 1234|-123|-1234",
        ),
        (b"%hhu|%hhu|%hhu|%hhu|%hhu", (0, 1, 257, 128, -1), b"0|1|1|128|255"),
        (b"%hhd|%hhd|%hhd|%hhd|%hhd", (0, 1, 257, 128, -1), b"0|1|1|-128|-1"),
        (b"%ho%ho%#ho", (1037, 5282, -11627), b"2015122420151225"),
        (b"%.2d|%.1d|%.0d|%.*d|%1.0d", (0, 0, 0, 0, 0, 0), b"00|0|0|0|0"),
        (b"%#02x|%#02x", (-16, -16 & 0xFF), b"0xfffffff0|0xf0"),
        (b"%d %u", (0xFFFFFFFF_80000000, 0xFFFFFFFF_80000000), b"-2147483648 2147483648"),
        (b"%ld %lu", (-1, -1), b"-1 18446744073709551615"),
        (b"%i", (-7,), b"-7"),
        (b"%X %#X %x", (0xBEEF, 0xBEEF, 0xBEEF), b"BEEF 0XBEEF beef"),
        (b"%-5d|%-05d|%05d", (42, 42, -42), b"42   |42   |-0042"),
        (b"%+u % u", (1, 2), b"1 2"),
        (b"%*d|%-*d|%*d|%0*d", (5, 1, 5, 2, -5, 3, 4, 4), b"    1|2    |3    |0004"),
        (b"%5c|%-5c|%05c|%c", (65, 66, 67, 0xE9), b"    A|B    |    C|\xe9"),
        (b"%.300d", (7,), b"0" * 299 + b"7"),
        (b"caf\xe9 \xc3\xa9 %d", (1,), b"caf\xe9 \xc3\xa9 1"),
    ],
)
def test_numbers_and_characters(world, format, arguments, expected):
    assert world.format(format, *arguments) == expected
    assert world.warnings == []


@pytest.mark.parametrize("qualifier", [b"l", b"ll", b"L", b"z", b"t"])
def test_eight_byte_qualifiers(world, qualifier):
    assert world.format(b"%" + qualifier + b"d", -1) == b"-1"
    assert world.format(b"%" + qualifier + b"u", -1) == b"18446744073709551615"
    assert world.format(b"%" + qualifier + b"x", 0x123456789A) == b"123456789a"


@pytest.mark.parametrize(
    ("format", "arguments", "kernel", "c"),
    [
        (b"%08.3d", (5,), b"00000005", b"     005"),  # zero padding beside a precision
        (b"%.0d", (0,), b"0", b""),
        (b"%#x", (0,), b"0x0", b"0"),
        (b"%#.3o", (8,), b"0010", b"010"),  # the prefix comes on top of the precision
        (b"%#o", (0,), b"0", b"0"),
        (b"%.*d", (-1, 0), b"0", b"0"),
    ],
)
def test_where_numbers_differ_from_c(world, format, arguments, kernel, c):
    assert world.format(format, *arguments) == kernel
    assert libc_snprintf(format, *arguments) == c


@pytest.mark.parametrize(
    ("format", "texts", "expected"),
    [
        (b"%s%.0s", (b"", b"123"), b""),
        (b"%s|%.3s|%.*s", (b"ABCD", b"abcdef", 3, b"123456"), b"ABCD|abc|123"),
        (b"%-3s|%3s|%-*s|%*s|%*s", (b"1", b"2", 3, b"3", 3, b"4", -3, b"5"), b"1  |  2|3  |  4|5  "),
        (b"%-10.4s|%10.4s", (b"123456", b"123456"), b"1234      |      1234"),
        # a negative precision counts as 0, a missing one as none: the other way round than in C
        (b"%4.*s", (-5, b"123456"), b"    "),
        (b"%.s", (b"123456",), b"123456"),
        (b"%.s|%.0s|%.*s", (b"a", b"b", 0, b"c"), b"a||"),
        (b"%-3.s|%-3.0s|%-3.*s", (b"a", b"b", 0, b"c"), b"a  |   |   "),
        (b"%05s|%+s|%#s|%ls|%hs", (b"ab", b"c", b"d", b"e", b"f"), b"   ab|c|d|e|f"),
        (b"%s", (b"\xff\xfe\x80 latin \xe9",), b"\xff\xfe\x80 latin \xe9"),
    ],
)
def test_strings(world, format, texts, expected):
    arguments = [world.text(value) if isinstance(value, bytes) else value for value in texts]
    assert world.format(format, *arguments) == expected


@pytest.mark.parametrize(
    ("format", "pointer", "expected"),
    [
        (b"%s", 0, b"(null)"),
        (b"%s", 1, b"(efault)"),
        (b"%s", 4095, b"(efault)"),
        (b"%s", -1, b"(efault)"),
        (b"%s", -4095, b"(efault)"),
        (b"%8s|", 0, b"  (null)|"),
        (b"%-8s|", 0, b"(null)  |"),
        (b"%.3s", 0, b"(nu"),
        (b"%.0s", 0, b""),
    ],
)
def test_strings_at_impossible_pointers(world, format, pointer, expected):
    assert world.format(format, pointer) == expected


@pytest.mark.parametrize("pointer", [4096, BASE - 1, END, -4096])
def test_string_at_an_unmapped_pointer_faults(world, pointer):
    with pytest.raises(PageFault):
        world.format(b"%s", pointer)


def test_precision_bounds_what_is_read(world):
    world.memory.write(END - 4, b"last")
    assert world.format(b"%.4s %.*s", END - 4, 2, END - 4) == b"last la"
    with pytest.raises(PageFault):
        world.format(b"%.5s", END - 4)


@pytest.mark.parametrize(
    ("format", "character", "printed"),
    [
        (b"a %n b %d", b"n", b"a "),
        (b"%q", b"q", b""),
        (b"%qd", b"q", b""),
        (b"x%fy", b"f", b"x"),
        (b"%5", b"\0", b""),
        (b"abc%", b"\0", b"abc"),
        (b"%l", b"\0", b""),
        (b"%.", b"\0", b""),
        (b"%lL", b"L", b""),
        (b"%LLd", b"L", b""),
        (b"%zzd", b"z", b""),
        (b"%5*d", b"*", b""),
        (b"%S", b"S", b""),
    ],
)
def test_unsupported_conversion_warns_and_ends_the_text(world, format, character, printed):
    assert world.format(format) == printed
    text = b"Please remove unsupported %" + character + b" in format string\n"
    assert world.warnings == [FormatWarning("format_decode", text)]


def test_arguments_before_an_unsupported_conversion_are_taken(world):
    assert world.format(b"%d %*y", 1, 5) == b"1 "
    assert [warning.function for warning in world.warnings] == ["format_decode"]


@pytest.mark.parametrize("format", [b"%*", b"%5.*", b"%-*"])
def test_format_that_ends_after_a_star_takes_the_argument_silently(world, format):
    assert world.format(b"a" + format, 7) == b"a"
    assert world.warnings == []


def test_format_ends_at_its_nul(world):
    assert world.format(b"%d\0%d", 1) == b"1"


def test_width_and_precision_arguments_are_clamped_with_a_warning(world):
    assert len(world.format(b"%*d", 8388608, 1)) == 8388607
    assert world.format(b"%-.*d", 32768, 1) == b"1".rjust(32767, b"0")
    assert world.format(b"%.*s", -40000, world.text(b"abc")) == b""
    assert world.warnings == [
        FormatWarning("set_field_width", b"field width 8388608 too large"),
        FormatWarning("set_precision", b"precision 32768 too large"),
        FormatWarning("set_precision", b"precision -40000 too large"),
    ]


def test_literal_width_and_precision_wrap_in_their_bit_fields(world):
    assert world.format(b"%16777221d|%8388608d", 1, 2) == b"    1|2"  # 24 bits, signed
    assert world.format(b"%.65539d|%.32768d", 1, 2) == b"001|2"  # 16 bits, negative counts as 0
    assert world.format(b"%" + b"9" * 5000 + b"d", 3).strip() == b"3"
    assert world.warnings == []


def test_extensions_of_p_are_swallowed_up_to_the_last_alphanumeric(world):
    assert world.format(b"%pxyz9|", 1) == b"0000000000000001|"
    # the kernel's isalnum() takes Latin-1 letters too: it eats the first byte of this UTF-8 letter
    assert world.format(b"%px\xc3\xa9", 1) == b"0000000000000001\xa9"


def test_va_format_prints_a_nested_call_without_consuming_its_arguments(world):
    save = world.put(struct.pack("<6Q", 0, 0, 42, world.text(b"inner"), 0, 0))
    va_list = world.put(struct.pack("<IIQQ", 16, 48, 0, save))
    before = world.memory.read(va_list, 24)
    va_format = world.put(struct.pack("<QQ", world.text(b"n=%d s=%s"), va_list))
    assert world.format(b"<%pV|%20pV>", va_format, va_format) == b"<n=42 s=inner|n=42 s=inner>"
    assert world.memory.read(va_list, 24) == before
    assert world.format(b"%pV %pV", 0, 5) == b"(null) (efault)"


def test_warning_inside_a_va_format_is_collected(world):
    va_list = world.put(struct.pack("<IIQQ", 48, 48, BASE, BASE))
    va_format = world.put(struct.pack("<QQ", world.text(b"a%nb"), va_list))
    assert world.format(b"%pV!", va_format) == b"a!"
    assert [warning.function for warning in world.warnings] == ["format_decode"]


def test_va_format_that_contains_itself_is_refused(world):
    va_format = world.put(bytes(16))
    save = world.put(struct.pack("<6Q", *[va_format] * 6))
    va_list = world.put(struct.pack("<IIQQ", 0, 48, 0, save))
    world.memory.write(va_format, struct.pack("<QQ", world.text(b"%pV"), va_list))
    with pytest.raises(NotSupported, match="contains itself"):
        world.format(b"%pV", va_format)


def test_rust_arguments_warn(world):
    assert world.format(b"%pA|", BASE) == b"(%pA?)|"
    assert world.warnings == [FormatWarning("pointer", b"Please remove %pA from non-Rust code\n")]


def test_warnings_may_be_ignored(world):
    assert vsnprintf(b"a%n", Values([]), world) == b"a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"plain", (None, False, b"plain")),
        (b"", (None, False, b"")),
        (b"\x016info\n", (6, False, b"info\n")),
        (b"\x01c more", (None, True, b" more")),
        (b"\x013\x016text", (3, False, b"text")),
        (b"\x01c\x014text", (4, True, b"text")),
        (b"\x01", (None, False, b"\x01")),
        (b"\x018no level", (None, False, b"\x018no level")),
        (b"\x01dno default", (None, False, b"\x01dno default")),
        (b"a\x013", (None, False, b"a\x013")),
        # only the first seven bytes are searched, but every mark goes
        (b"\x01c\x01c\x01c\x013text", (None, True, b"text")),
    ],
)
def test_parse_prefix(text, expected):
    assert parse_prefix(text) == expected


@given(
    st.lists(st.sampled_from(b"01234567c"), max_size=3), st.binary().filter(lambda text: text[:1] != b"\1")
)
def test_parse_prefix_takes_exactly_the_marks(marks, text):
    prefix = b"".join(bytes((1, mark)) for mark in marks)
    levels = [mark - ord("0") for mark in marks if mark != ord("c")]
    assert parse_prefix(prefix + text) == (levels[0] if levels else None, ord("c") in marks, text)


# --- against the C library, where the languages agree -----------------------------------------------


def libc_snprintf(format: bytes, *arguments: int | bytes) -> bytes:
    libc = ctypes.CDLL(None)
    libc.snprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    buffer = ctypes.create_string_buffer(1000)
    values = [
        ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_uint64(value & U64)
        for value in arguments
    ]
    libc.snprintf(buffer, 1000, format, *values)
    return buffer.value


flags_sets = st.sets(st.sampled_from("-+ #0")).map(sorted).map("".join)
widths = st.one_of(st.just(""), st.integers(1, 40).map(str))
values = st.one_of(
    st.integers(-300, 300), st.integers(0, U64), st.sampled_from([1 << 31, 1 << 63, 1 << 15, 0])
)


@settings(max_examples=500)
@given(
    flags_sets,
    widths,
    st.one_of(st.just(""), st.integers(0, 30).map(".{}".format)),
    st.sampled_from(["", "h", "hh", "l", "ll", "z", "t"]),
    st.sampled_from("diuxXo"),
    values,
)
def test_integers_as_in_c(flags, width, precision, qualifier, conversion, value):
    if precision:  # there the kernel differs: see test_where_numbers_differ_from_c
        flags = flags.replace("0", "").replace("#", "" if conversion == "o" else "#")
        value = value or 1
    bits = {"": 32, "h": 16, "hh": 8}.get(qualifier, 64)
    if not value & ((1 << bits) - 1):
        flags = flags.replace("#", "")
        precision = ""
    format = f"[%{flags}{width}{precision}{qualifier}{conversion}]".encode()
    assert World().format(format, value) == libc_snprintf(format, value)


@given(
    st.sampled_from(["", "-"]),
    widths,
    st.one_of(st.just(""), st.integers(0, 30).map(".{}".format)),
    st.binary(max_size=40).filter(lambda text: 0 not in text),
)
def test_strings_as_in_c(flags, width, precision, text):
    world = World()
    format = f"[%{flags}{width}{precision}s]".encode()
    assert world.format(format, world.text(text)) == libc_snprintf(format, text)


@given(st.sampled_from(["", "-"]), widths, st.integers(1, 255))
def test_characters_as_in_c(flags, width, value):
    format = f"[%{flags}{width}c]".encode()
    assert World().format(format, value) == libc_snprintf(format, value)


@given(st.integers(-40, 40), st.integers(0, 30), values)
def test_starred_width_and_precision_as_in_c(width, precision, value):
    value = value & 0xFFFFFFFF or 1
    assert World().format(b"[%*.*d]", width, precision, value) == libc_snprintf(
        b"[%*.*d]", width, precision, value
    )


# --- robustness -------------------------------------------------------------------------------------

tokens = st.sampled_from(
    [
        b"%",
        b"%p",
        b"*",
        b".",
        b"-",
        b"0",
        b"#",
        b"5",
        b"12",
        b"h",
        b"l",
        b"z",
        b"s",
        b"d",
        b"x",
        b"c",
        b"n",
        b" ",
    ]
    + [bytes((letter,)) for letter in b"SsBRrhbMmIiEUVKN4adtCDgGOfAxekuFLlwTcp6"]
)
formats = st.one_of(st.lists(tokens, max_size=30).map(b"".join), st.binary(max_size=60))
wild = st.one_of(
    st.integers(BASE, END - 1),
    st.integers(0, 5000),
    st.integers(0, U64),
    st.sampled_from([0, BASE, END - 1, END - 8, U64, U64 - 4095, SYMBOLS[0][0]]),
)


class Endless(Values):
    def next(self) -> int:
        self.left.append(self.left[0])
        return super().next()


@settings(max_examples=1000, deadline=None)
@given(formats, st.lists(wild, min_size=1, max_size=12), st.binary(max_size=300))
@example(b"%*pbl%*pE", [64, BASE], b"\xff" * 100)
def test_any_format_with_any_arguments_prints_or_faults(format, arguments, contents):
    world = World()
    world.put(contents)
    try:
        result = vsnprintf(format, Endless(arguments), world, world.warnings)
    except (PageFault, NotSupported):
        return
    assert isinstance(result, bytes)
    if b"%" not in format:
        assert result == format.partition(b"\0")[0]
