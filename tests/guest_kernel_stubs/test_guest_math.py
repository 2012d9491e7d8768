"""Integer mathematics, time, pseudo-random numbers."""

from __future__ import annotations

import datetime
import math
import struct
from fractions import Fraction

import pytest
import unicorn.x86_const as x86
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.guest_kernel_stubs.guest_machine import MASK, Guest, signed

EINVAL = 22
words = st.integers(0, MASK)
halves = st.integers(0, 2**32 - 1)
KTIME_MAX = 2**63 - 1
FOREVER = (2**63 - 1 >> 1) - 1  # MAX_JIFFY_OFFSET
EPOCH = datetime.datetime(1970, 1, 1)


@given(a=words, b=words, small=st.integers(0, 1000))
def test_divisors_and_multiples(machine: Guest, a: int, b: int, small: int) -> None:
    assert machine.call("gcd", a, b) == math.gcd(a, b)
    assert machine.call("lcm", small, b >> 10) == math.lcm(small, b >> 10)
    assert machine.call("lcm_not_zero", small, b >> 10) == (math.lcm(small, b >> 10) or b >> 10 or small)


@given(x=words | st.integers(0, 2**32 - 1).map(lambda r: r * r), exponent=halves)
def test_roots_and_powers(machine: Guest, x: int, exponent: int) -> None:
    assert machine.call("int_sqrt", x) == math.isqrt(x)
    assert machine.call("int_pow", x, exponent) == pow(x, exponent, 2**64)


@given(dividend=words, divisor=st.integers(1, 2**32 - 1))
def test_iter_div(machine: Guest, dividend: int, divisor: int) -> None:
    machine.reset()
    rest = machine.words(0)
    quotient, remainder = divmod(dividend, divisor)

    assert machine.call("iter_div_u64_rem", dividend, divisor, rest) & (2**32 - 1) == quotient & (2**32 - 1)
    assert machine.unpack("<Q", rest) == (remainder,)


@given(a=halves, d=st.integers(1, 2**32 - 1) | st.sampled_from([1, 2, 3, 7, 2**31, 2**32 - 1]))
def test_reciprocal_value_divides(machine: Guest, a: int, d: int) -> None:
    m, sh1, sh2 = struct.unpack("<IBB", struct.pack("<Q", machine.call("reciprocal_value", d))[:6])
    t = a * m >> 32

    assert (t + (a - t >> sh1)) >> sh2 == a // d


@given(a=halves, d=st.integers(1, 2**31))
def test_reciprocal_value_adv_divides(machine: Guest, a: int, d: int) -> None:
    packed = struct.pack("<Q", machine.call("reciprocal_value_adv", d, 32))
    m, shift, exponent, wide = struct.unpack("<IBB?", packed[:7])

    assert exponent == (d - 1).bit_length()
    assert a * (m + (wide << 32)) >> (32 + shift) == a // d


@given(n=st.integers(0, 300), d=st.integers(1, 300), max_n=st.integers(1, 30), max_d=st.integers(1, 30))
def test_rational_best_approximation(machine: Guest, n: int, d: int, max_n: int, max_d: int) -> None:
    machine.reset()
    out = machine.words(0, 0)

    machine.call("rational_best_approximation", n, d, max_n, max_d, out, out + 8)

    p, q = machine.unpack("<QQ", out)
    wanted = Fraction(n, d)
    assume(q)
    best = min(abs(Fraction(x, y) - wanted) for x in range(max_n + 1) for y in range(1, max_d + 1))
    assert (p <= max_n, q <= max_d, abs(Fraction(p, q) - wanted)) == (True, True, best)


@given(x=st.integers(1, MASK))
def test_leading_and_trailing_zeros(machine: Guest, x: int) -> None:
    low = x & (2**32 - 1) or 1

    assert machine.call_int("__clzdi2", x) == 64 - x.bit_length()
    assert machine.call_int("__clzsi2", low) == 32 - low.bit_length()
    assert machine.call_int("__ctzdi2", x) == (x & -x).bit_length() - 1
    assert machine.call_int("__ctzsi2", low) == (low & -low).bit_length() - 1


@pytest.mark.parametrize("n", range(100))
def test_bcd(guest: Guest, n: int) -> None:
    assert guest.call("_bin2bcd", n) & 0xFF == int(str(n), 16)
    assert guest.call("_bcd2bin", int(str(n), 16)) == n


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("__msecs_to_jiffies", 1, 1),
        ("__msecs_to_jiffies", 4, 1),
        ("__msecs_to_jiffies", 5, 2),
        ("__msecs_to_jiffies", 2**31, FOREVER),
        ("__usecs_to_jiffies", 4001, 2),
        ("__usecs_to_jiffies", 2**32 - 1, FOREVER),
        ("jiffies_to_msecs", 250, 1000),
        ("jiffies_to_usecs", 3, 12000),
        ("jiffies64_to_msecs", 2**40, 2**42),
        ("jiffies64_to_nsecs", 2, 8_000_000),
        ("nsecs_to_jiffies64", 7_999_999, 1),
        ("nsecs_to_jiffies", 8_000_000, 2),
        ("jiffies_to_clock_t", 250, 100),
        ("jiffies_64_to_clock_t", 4, 1),
        ("clock_t_to_jiffies", 100, 250),
        ("clock_t_to_jiffies", MASK, MASK),
    ],
)
def test_ticks_at_250_hz(guest: Guest, name: str, value: int, wanted: int) -> None:
    assert guest.call(name, value) == wanted


@given(nsec=st.integers(-(2**63), 2**63 - 1), sec=st.integers(-(2**40), 2**40))
def test_nanoseconds(machine: Guest, nsec: int, sec: int) -> None:
    machine.reset()
    seconds, rest = divmod(nsec, 10**9)

    for name, unit in (("ns_to_timespec64", 1), ("ns_to_kernel_old_timeval", 1000)):
        assert signed(machine.call(name, nsec), 64) == seconds
        assert machine.uc.reg_read(x86.UC_X86_REG_RDX) == rest // unit
    ts = machine.words(0, 0)
    machine.call("set_normalized_timespec64", ts, sec, nsec)
    assert machine.unpack("<qq", ts) == (sec + seconds, rest)
    machine.call("jiffies_to_timespec64", abs(sec), ts)
    assert machine.unpack("<qq", ts) == (abs(sec) // 250, abs(sec) % 250 * 4_000_000)


@pytest.mark.parametrize(
    ("a", "b", "wanted"), [(1, 2, 3), (KTIME_MAX, 1, KTIME_MAX), (KTIME_MAX, KTIME_MAX, KTIME_MAX)]
)
def test_ktime_add_safe(guest: Guest, a: int, b: int, wanted: int) -> None:
    assert guest.call("ktime_add_safe", a, b) == wanted


@given(
    when=st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(9998, 12, 31)),
    offset=st.integers(-50_000, 50_000),
)
def test_calendar(machine: Guest, when: datetime.datetime, offset: int) -> None:
    machine.reset()
    when = when.replace(microsecond=0)
    seconds = (when - EPOCH) // datetime.timedelta(seconds=1)
    tm = machine.put(bytes(40))

    date = (when.year, when.month, when.day, when.hour, when.minute, when.second)
    assert machine.call("mktime64", *date) == seconds
    machine.call("time64_to_tm", seconds - offset, offset, tm)
    day = (when.weekday() + 1) % 7, when.timetuple().tm_yday - 1
    fields = (when.second, when.minute, when.hour, when.day, when.month - 1)
    assert machine.unpack("<5i4xqii", tm) == (*fields, when.year - 1900, *day)

    machine.call("rtc_time64_to_tm", seconds, tm)
    assert machine.unpack("<9i", tm) == (*fields, when.year - 1900, *day, 0)
    assert machine.call_int("rtc_valid_tm", tm) == 0
    assert machine.call("rtc_tm_to_time64", tm) == seconds


def test_calendar_before_1970(guest: Guest) -> None:
    tm = guest.put(bytes(40))

    guest.call("time64_to_tm", -1, 0, tm)

    assert guest.unpack("<5i4xqii", tm) == (59, 59, 23, 31, 11, 69, 3, 364)


def test_rtc_days(guest: Guest) -> None:
    assert [guest.call_int("rtc_month_days", 1, year) for year in (1900, 2000, 2023, 2024)] == [
        28,
        29,
        28,
        29,
    ]
    assert guest.call_int("rtc_year_days", 1, 2, 2024) == 60
    assert guest.call_int("rtc_year_days", 31, 11, 2023) == 364


def test_rtc_and_ktime(guest: Guest) -> None:
    tm = guest.put(bytes(36))

    guest.call("rtc_ktime_to_tm", tm, 5_000_000_001)

    assert guest.unpack("<i", tm) == (6,)


@pytest.mark.parametrize("field", range(6))
def test_rtc_valid_tm_refuses(guest: Guest, field: int) -> None:
    fields = [0, 0, 0, 1, 0, 100, 0, 0, 0]
    fields[field] = (60, 60, 24, 32, 12, 69)[field]

    assert guest.call_int("rtc_valid_tm", guest.put(struct.pack("<9i", *fields))) == -EINVAL


def lfsr113(state: list[int]) -> int:
    """L'Ecuyer's generator, from the paper."""
    for i, (a, b, c, mask) in enumerate(
        ((6, 13, 18, 0xFFFFFFFE), (2, 27, 2, 0xFFFFFFF8), (13, 21, 7, 0xFFFFFFF0), (3, 12, 13, 0xFFFFFF80))
    ):
        z = state[i]
        state[i] = ((z & mask) << c & 0xFFFFFFFF) ^ (((z << a & 0xFFFFFFFF) ^ z) >> b)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


@given(seed=st.lists(st.integers(128, 2**32 - 1), min_size=4, max_size=4), count=st.integers(0, 20))
def test_prandom(machine: Guest, seed: list[int], count: int) -> None:
    machine.reset()
    state, out, model = machine.put(struct.pack("<4I", *seed)), machine.put(b"\xa5" * 24), list(seed)

    assert machine.call("prandom_u32_state", state) == lfsr113(model)
    machine.call("prandom_bytes_state", state, out, count)
    stream = b"".join(struct.pack("<I", lfsr113(model)) for _ in range(-(-count // 4)))
    assert machine.read(out, count + 1) == stream[:count] + b"\xa5"
    assert list(machine.unpack("<4I", state)) == model
