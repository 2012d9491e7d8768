"""Module.symvers, as kbuild writes it and as other files look."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.abi.profile import Export
from kmod_emu.vmlinux.symvers import BadSymvers, read_symvers

LINES = (
    "0x00000002\tzeta\tvmlinux\tEXPORT_SYMBOL_GPL\tCXL\n"
    "0x00000001\talpha\tvmlinux\tEXPORT_SYMBOL\t\n"
    "0x00000003\telsewhere\tdrivers/net/tun\tEXPORT_SYMBOL\n"
)


def test_the_kernels_own_symbols_are_read():
    assert read_symvers(LINES) == [
        Export("alpha", 1, False, "", 0),
        Export("zeta", 2, True, "CXL", 0),
    ]


def test_the_namespace_once_came_before_the_module():
    assert read_symvers("0x5\told\tUSB\tvmlinux\tEXPORT_SYMBOL_GPL\n") == [Export("old", 5, True, "USB", 0)]
    assert read_symvers("0x5\told\t\tvmlinux\tEXPORT_SYMBOL\n") == [Export("old", 5, False, "", 0)]


def test_no_crc_at_all_means_no_modversions():
    assert read_symvers("0x00000000\tx\tvmlinux\tEXPORT_SYMBOL\t\n") == [Export("x", None, False, "", 0)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no symbol of the kernel"),
        ("root:x:0:0:root:/root:/bin/bash\n", "line 1"),
        (LINES + "0x1\t../x\tvmlinux\tEXPORT_SYMBOL\n", "line 4"),
        ("nonsense\tx\tvmlinux\tEXPORT_SYMBOL\n", "no CRC"),
        ("0x1\tx\tdrivers/x\tEXPORT_SYMBOL\n", "no symbol of the kernel"),
    ],
)
def test_garbage_is_named_by_its_line(text, sentence):
    with pytest.raises(BadSymvers, match=sentence):
        read_symvers(text)


@given(st.text(st.characters(max_codepoint=0x7F), max_size=200))
def test_any_text_raises_nothing_else(text):
    try:
        rows = read_symvers(text)
    except BadSymvers:
        return
    assert rows
