import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.kernel.printf_spec import Spec, error_string, read_string, string, string_nocheck
from kmod_emu.machine.memory import PageFault
from tests.kernel.printf_world import BASE, END, World


def test_string_longer_than_a_page_is_read_whole():
    world = World()
    address = world.text(b"x" * 10000)
    assert read_string(world.memory, address) == b"x" * 10000


@pytest.mark.parametrize("length", [4095, 4096, 4097, 8192])
def test_string_that_ends_at_a_page_boundary(length):
    world = World()
    address = world.text(b"y" * length)
    assert read_string(world.memory, address + 1) == b"y" * (length - 1)


def test_limited_string_is_not_read_beyond_its_limit():
    world = World()
    world.memory.write(END - 3, b"abc")
    assert read_string(world.memory, END - 3, 3) == b"abc"
    assert read_string(world.memory, END, 0) == b""
    with pytest.raises(PageFault) as fault:
        read_string(world.memory, END - 3)
    assert fault.value.address == END


def test_string_checks_only_pointers_that_cannot_be_any():
    world = World()
    assert string(0, Spec(), world) == b"(null)"
    assert string(0xFFF, Spec(), world) == b"(efault)"
    assert string((1 << 64) - 1, Spec(), world) == b"(efault)"
    with pytest.raises(PageFault):
        string(0x1000, Spec(), world)
    with pytest.raises(PageFault):
        string(BASE - 1, Spec(), world)


def test_message_is_cut_at_sixteen_characters_unless_a_precision_says_otherwise():
    assert error_string(b"0123456789abcdefgh", Spec()) == b"0123456789abcdef"
    assert error_string(b"0123456789abcdefgh", Spec(precision=17)) == b"0123456789abcdefg"
    assert error_string(b"(null)", Spec(precision=0, width=3)) == b"   "


@given(st.binary(), st.integers(-1, 20), st.integers(-1, 20))
def test_string_nocheck_keeps_any_byte(text, width, precision):
    result = string_nocheck(text, Spec(width=width, precision=precision))
    kept = text if precision < 0 else text[:precision]
    assert result.endswith(kept)
    assert len(result) == max(len(kept), width)
