"""BTF: layouts and prototypes of types that the test wrote, split BTF of a module, and damage."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.abi.btf import BadBtf, Btf
from kmod_emu.abi.layout import Member
from tests.vmlinux.synthetic import FWD, UNION, BtfWriter


def kernel_types():
    """A structure with bit-fields, an anonymous union, a structure without a tag and an array; functions."""
    w = BtfWriter()
    char, int_, unsigned, long_ = (
        w.integer(name, size, True)
        for name, size in (("char", 1), ("int", 4), ("unsigned int", 4), ("long int", 8))
    )
    text = w.pointer(char)
    either = w.compound("", 8, [("s", text, 0), ("l", long_, 0)], UNION)
    inside = w.compound("", 4, [("n", int_, 0)])
    point = w.compound(
        "point",
        40,
        [
            ("x", int_, 0, 0),
            ("a", unsigned, 32, 3),
            ("b", unsigned, 35, 5),
            ("", either, 64, 0),
            ("in", inside, 128, 0),
            ("list", w.array(int_, 3), 160, 0),
            ("tail", w.typedef("u8", char), 272, 0),
        ],
    )
    w.typedef("point_t", point)
    handler = w.prototype(0, [("", w.pointer(point)), ("", int_)])
    handler_t = w.typedef("handler_t", w.pointer(handler))
    pointer = w.pointer(w.const(char))
    w.function("printf", int_, [("fmt", pointer), ("", 0)])
    w.function("nothing", 0, [])
    w.function(
        "install", w.pointer(0), [("who", w.pointer(point)), ("f", w.pointer(handler)), ("g", handler_t)]
    )
    w.function(
        "argv", int_, [("v", w.pointer(pointer)), ("a", w.pointer(w.array(int_, 2))), ("c", w.const(text))]
    )
    w.function("opaque", int_, [("o", w.pointer(w.add(FWD, "hidden")))])
    w.percpu([("counter", int_, 8, 4), ("other", long_, 4096, 8)])
    return w


KERNEL = Btf(kernel_types().bytes())


def test_a_layout_has_bit_fields_and_anonymous_members():
    layout = KERNEL.layout("point", "9.9.9")
    assert (layout.name, layout.size, layout.release) == ("point", 40, "9.9.9")
    assert layout.members == {
        "x": Member(0, 4),
        "a": Member(4, 4, 0, 3),
        "b": Member(4, 4, 3, 5),
        "s": Member(8, 8),
        "l": Member(8, 8),
        "in": Member(16, 4),
        "list": Member(20, 12),
        "tail": Member(34, 1),
    }


def test_a_structure_without_a_tag_is_found_by_its_typedef():
    assert KERNEL.layout("point_t").members == KERNEL.layout("point").members
    assert KERNEL.layout("u8") is None
    assert KERNEL.layout("nowhere") is None


@pytest.mark.parametrize(
    ("name", "prototype"),
    [
        ("printf", "int printf(const char *fmt, ...)"),
        ("nothing", "void nothing(void)"),
        ("install", "void *install(struct point *who, void (*f)(struct point *, int), handler_t g)"),
        ("argv", "int argv(const char **v, int (*a)[2], char *const c)"),
        ("opaque", "int opaque(struct hidden *o)"),
        ("absent", None),
    ],
)
def test_prototypes_are_c(name, prototype):
    assert KERNEL.prototype(name) == prototype


def test_member_types_are_c():
    assert KERNEL.member_types("point")["list"] == "int [3]"
    assert KERNEL.member_types("point")["s"] == "char *"


def test_per_cpu_variables_have_offsets():
    assert KERNEL.percpu_offset("other") == 4096
    assert KERNEL.percpu_offset("printf") is None
    assert KERNEL.percpu_size() == 8192


def test_a_modules_types_stand_on_the_kernels():
    w = BtfWriter(base=KERNEL)
    point = KERNEL.structs["point"]
    w.compound("mine", 48, [("p", point, 0), ("next", w.pointer(point), 320)])
    split = Btf(w.bytes(), KERNEL)
    assert split.layout("mine").members == {"p": Member(0, 40), "next": Member(40, 8)}
    assert split.layout("point") == KERNEL.layout("point")
    assert set(split.structs) == {"mine"}
    assert split.member_types("mine")["next"] == "struct point *"


@pytest.mark.parametrize("blob", [b"", b"\x7fELF" * 10, b"\xeb\x9f\x01\0" + bytes(20), bytes(23)])
def test_what_is_no_btf_is_refused(blob):
    with pytest.raises(BadBtf):
        Btf(blob)


def _use(types):
    for name in types.structs:
        types.layout(name)
        types.member_types(name)
    for name in types.functions:
        types.prototype(name)
    types.percpu_size()


def test_a_type_that_contains_itself_ends():
    w = BtfWriter()
    w.compound("loop", 8, [("", 1, 0)])
    w.typedef("again", 2)
    w.array(3, 2)
    w.function("f", 2, [("x", 3)])
    types = Btf(w.bytes())
    with pytest.raises(BadBtf, match="itself"):
        types.layout("loop")
    with pytest.raises(BadBtf, match="itself"):
        types.layout("again")
    with pytest.raises(BadBtf, match="itself"):
        types.size(3)


@given(st.data())
def test_damage_raises_bad_btf(data):
    blob = bytearray(kernel_types().bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadBtf):
        _use(Btf(bytes(blob[: data.draw(st.integers(0, len(blob)))])))


def test_a_name_looked_for_alone_is_the_one_of_the_table():
    data = kernel_types().bytes()
    kernel = Btf(data)
    for name in [*kernel.structs, "absent"]:
        alone, table = Btf(data), kernel.structs.get(name)
        assert (alone.layout(name) is None) is (table is None)
        assert alone.layout(name) == kernel.layout(name)
    for name in [*kernel.functions, "absent"]:
        assert Btf(data).prototype(name) == kernel.prototype(name)
