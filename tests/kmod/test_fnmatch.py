"""fnmatch(3) beside the C library's."""

import ctypes
import itertools
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kmod_emu.kmod.fnmatch import fnmatch

pytestmark = pytest.mark.skipif(
    not os.path.exists("/lib/x86_64-linux-gnu/libc.so.6"), reason="no glibc to ask"
)


def glibc(pattern, text):
    return ctypes.CDLL(None).fnmatch(pattern, text, 0) == 0


PATTERNS = st.lists(
    st.one_of(
        st.sampled_from([bytes([c]) for c in b"ab-*?[]!^\\0./"]),
        st.sampled_from([b"[a-c]", b"[!0-9]", b"[]-a]", b"[[:digit:]x]"]),
    ),
    max_size=7,
).map(b"".join)
TEXTS = st.lists(st.sampled_from([bytes([c]) for c in b"abcx09-]!^\\./"]), max_size=6).map(b"".join)


@settings(max_examples=100, deadline=None)
@given(patterns=st.lists(PATTERNS, min_size=5, max_size=5), texts=st.lists(TEXTS, min_size=5, max_size=5))
@example([b"pci:v*d*sv[!0]*"], [b"pci:v1d2sv3"])
@example([b"*a*b*"], [b"xxaxxbx"])
@example([b"["], [b"["])
@example([b"\\"], [b"\\"])
def test_as_glibc(patterns, texts):
    """Each pattern on each text: many pairs for few draws."""
    pairs = list(itertools.product(patterns, texts))
    assert [fnmatch(*pair) for pair in pairs] == [glibc(*pair) for pair in pairs]


def test_many_stars_take_no_time():
    assert not fnmatch(b"*a" * 20 + b"b", b"a" * 300)
