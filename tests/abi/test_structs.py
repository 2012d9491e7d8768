"""Typed views: what is read and written where, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.abi.profile import Member, StructLayout, load
from kmod_emu.abi.structs import StructView, container_of
from kmod_emu.machine.memory import PageFault

LAYOUT = StructLayout(
    "sample",
    64,
    {
        "byte": Member(0, 1),
        "half": Member(2, 2),
        "word": Member(4, 4),
        "quad": Member(8, 8),
        "name": Member(16, 16),
        "low": Member(32, 4, 0),
        "high": Member(32, 4, 9),
        "list": Member(40, 16),
        "text": Member(56, 4),
        "address": Member(60, 4),
    },
    "6.1.0-56-amd64",
)


@pytest.fixture
def view(memory, base):
    return StructView(memory, LAYOUT, base)


def test_members_are_unsigned_integers_of_their_size(view, memory, base):
    memory.write(base, bytes(range(0x80, 0x90)))
    assert view.byte == 0x80
    assert view.half == 0x8382
    assert view.word == 0x87868584
    assert view.quad == 0x8F8E8D8C8B8A8988


@pytest.mark.parametrize(("name", "size"), [("byte", 1), ("half", 2), ("word", 4), ("quad", 8)])
def test_assignment_writes_the_member_and_nothing_else(view, memory, base, name, size):
    memory.write(base, b"\xaa" * 64)
    setattr(view, name, -2)
    offset = LAYOUT.offset(name)
    expected = bytearray(b"\xaa" * 64)
    expected[offset : offset + size] = (-2).to_bytes(size, "little", signed=True)
    assert memory.read(base, 64) == expected
    assert getattr(view, name) == (1 << 8 * size) - 2
    assert view.signed(name) == -2


def test_signed_of_a_positive_number(view):
    view.word = 0x7FFFFFFF
    assert view.signed("word") == 0x7FFFFFFF


def test_a_member_that_is_no_integer_points_to_bytes(view):
    with pytest.raises(TypeError, match=r"use \.bytes\('name'\)"):
        _ = view.name
    with pytest.raises(TypeError, match="16 bytes"):
        view.name = 1
    with pytest.raises(TypeError, match=r"use \.bit\('high'\)"):
        _ = view.high
    with pytest.raises(TypeError, match=r"use \.bit\('high'\)"):
        view.high = 1


def test_an_unknown_member_names_struct_member_and_release(view):
    for access in (
        lambda: view.comm,
        lambda: setattr(view, "comm", 1),
        lambda: view.addressof("comm"),
        lambda: view.bytes("comm"),
        lambda: view.set_bytes("comm", b""),
        lambda: view.bit("comm"),
    ):
        with pytest.raises(AttributeError, match=r"struct sample has no member comm in 6\.1\.0-56-amd64"):
            access()
    assert not hasattr(view, "comm")
    assert not view.has("comm")
    assert view.has("quad")


def test_bytes_are_padded_with_zeros_and_never_overflow(view, memory, base):
    memory.write(base + 16, b"\xff" * 16)
    view.set_bytes("name", b"kworker")
    assert view.bytes("name") == b"kworker" + bytes(9)
    assert view.text("name") == "kworker"
    with pytest.raises(ValueError, match=r"17 bytes do not fit in struct sample\.name of 16"):
        view.set_bytes("name", b"x" * 17)
    assert view.text("name") == "kworker"


def test_text_without_nul_ends_with_the_array(view, memory, base):
    memory.write(base + 16, b"abcdefghijklmno\xff" + b"more")
    assert view.text("name") == "abcdefghijklmno\\xff"


def test_bit_fields_change_one_bit(view, memory, base):
    view.set_bit("high", True)
    assert memory.read(base + 32, 4) == b"\x00\x02\x00\x00"
    assert (view.bit("low"), view.bit("high")) == (False, True)
    memory.write(base + 32, b"\xff" * 4)
    view.set_bit("low", False)
    assert memory.read(base + 32, 4) == b"\xfe\xff\xff\xff"
    with pytest.raises(TypeError, match=r"sample\.word is not a bit-field"):
        view.bit("word")


def test_members_named_like_the_view_have_get_and_set(view, memory, base):
    view.set("address", 5)
    view.set("text", 6)
    assert memory.read(base + 56, 8) == b"\6\0\0\0\5\0\0\0"
    assert (view.get("text"), view.get("address")) == (6, 5)
    assert view.address == base
    with pytest.raises(AttributeError, match=r"set\('address'"):
        view.address = 7


def test_addresses_and_inner_structures(view, memory, base):
    list_head = load("6.1").struct("list_head")
    assert view.addressof("list") == base + 40
    inner = view.inner("list", list_head)
    inner.prev = 0x1234
    assert memory.read_u64(base + 48) == 0x1234
    assert container_of(LAYOUT, "list", inner.address) == view.address
    with pytest.raises(ValueError, match=r"struct module is larger than struct sample\.list"):
        view.inner("list", load("6.1").struct("module"))
    with pytest.raises(KeyError, match="no member node"):
        container_of(LAYOUT, "node", base)


def test_views_of_real_layouts_follow_the_release(memory, base):
    for series, offset in (("5.10", 2232), ("6.1", 2416), ("6.12", 2432)):
        task = StructView(memory, load(series).struct("task_struct"), base)
        task.pid = 4242
        assert memory.read_u32(base + offset) == 4242


def test_a_view_has_no_room_for_attributes_of_its_own(view):
    assert not hasattr(view, "__dict__")
    assert repr(view) == "<struct sample at 0xffff888000001000>"


def test_page_faults_pass_through(memory):
    with pytest.raises(PageFault):
        _ = StructView(memory, LAYOUT, 0).quad


@given(value=st.integers(-(1 << 70), 1 << 70), name=st.sampled_from(["byte", "half", "word", "quad"]))
def test_what_is_written_reads_back_modulo_the_size(scratch_memory, base, value, name):
    view = StructView(scratch_memory, LAYOUT, base)
    setattr(view, name, value)
    bits = 8 * LAYOUT.members[name].size
    assert getattr(view, name) == value % (1 << bits)
    assert (view.signed(name) - value) % (1 << bits) == 0


def test_a_notebook_shows_numbers_bits_and_places(memory, base):
    layout = StructLayout(
        "s", 24, {"whole": Member(0, 8), "bits": Member(8, 4, 3, 5), "block": Member(12, 12)}, ""
    )
    view = StructView(memory, layout, base)
    view.whole = 0x1234
    view.set_field("bits", 17)
    text = view._repr_html_()
    assert all(part in text for part in ("0x1234", "5 bits", "17", "block", f"struct s at {base:#x}"))
    with pytest.raises(TypeError, match="no bit-field"):
        view.field("whole")
