"""Code patching tables (SPEC D2), on a memory that is only bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kmod_emu.machine.memory import Access, PageFault
from kmod_emu.module import finalize
from kmod_emu.module.finalize import Patch
from tests.module.linking import IMPORTED, link, module_file

BASE = 0xFFFFFFFFC0000000
TABLE, SITE, REPLACEMENT, KEY = BASE + 0x400, BASE + 0x100, BASE + 0x800, BASE + 0xC00


class Memory:
    """What the functions need of the machine's memory."""

    def __init__(self, base: int = BASE, contents: bytes | bytearray = bytes(0x1000)) -> None:
        self.base, self.contents = base, bytearray(contents)

    def check(self, address: int, size: int, access: Access) -> None:
        if not 0 <= address - self.base <= len(self.contents) - size:
            raise PageFault(address, access)

    def read(self, address: int, size: int) -> bytes:
        self.check(address, size, Access.READ)
        return bytes(self.contents[address - self.base :][:size])

    def write(self, address: int, data: bytes) -> None:
        self.check(address, len(data), Access.WRITE)
        self.contents[address - self.base : address - self.base + len(data)] = data

    def read_u8(self, address: int) -> int:
        return self.read(address, 1)[0]

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def read_u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def put(self, address: int, form: str, *values: int) -> None:
        self.write(address, struct.pack(form, *values))

    def relative(self, address: int, target: int) -> None:
        """A self-relative pointer."""
        self.put(address, "<i", target - address)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@given(st.integers(0, 64))
def test_nops_have_the_length(length: int) -> None:
    assert len(finalize.nops(length)) == length


def test_nops_are_as_long_as_possible() -> None:
    assert finalize.nops(1) == b"\x90"
    assert finalize.nops(2) == b"\x66\x90"
    assert finalize.nops(11) == finalize.nops(8) + finalize.nops(3)


def test_calls_of_fentry_become_nops(memory: Memory) -> None:
    memory.put(TABLE, "<QQQ", SITE, 0, SITE + 0x20)
    assert list(finalize.mcount(memory, TABLE, 24)) == [
        Patch(SITE, bytes.fromhex("0f1f440000")),
        Patch(SITE + 0x20, bytes.fromhex("0f1f440000")),
    ]


def alternative(
    memory: Memory, feature: int, length: int, code: bytes, *, invert: bool = False, size: int = 12
) -> None:
    memory.relative(TABLE, SITE)
    memory.relative(TABLE + 4, REPLACEMENT)
    memory.write(REPLACEMENT, code)
    if size == 12:
        memory.put(TABLE + 8, "<HBB", feature | invert << 15, length, len(code))
    else:
        memory.put(TABLE + 8, "<HHBB", feature, int(invert), length, len(code))


def alternatives(memory: Memory, size: int, *features: int) -> list[Patch]:
    return list(finalize.alternatives(memory, TABLE, size, size, lambda bit: bit in features))


@pytest.mark.parametrize("size", [12, 14])
@pytest.mark.parametrize(("has", "invert", "patched"), [(1, 0, 1), (0, 0, 0), (1, 1, 0), (0, 1, 1)])
def test_alternative_is_taken_if_the_feature_suits(size: int, has: int, invert: int, patched: int) -> None:
    memory = Memory()
    alternative(memory, 0x94, 3, b"\xcc\xcc\xcc", invert=bool(invert), size=size)
    expected = [Patch(SITE, b"\xcc\xcc\xcc")] if patched else []
    assert alternatives(memory, size, *([0x94] if has else [])) == expected


def test_alternative_is_padded_with_nops(memory: Memory) -> None:
    alternative(memory, 5, 5, b"\xfa")
    assert alternatives(memory, 12, 5) == [Patch(SITE, b"\xfa" + finalize.nops(4))]


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("909090", 0),
        ("31c09090", 2),
        ("b8909090909090", 5),  # mov $0x90909090, %eax, and two NOPs
        ("b890909090", 5),
        ("31c090", 3),
    ],
)
def test_room_behind_code_that_stays_is_filled(memory: Memory, code: str, kept: int) -> None:
    """What `conform` found in drm: clac and stac of processors without SMAP."""
    old = bytes.fromhex(code)
    alternative(memory, 5, len(old), b"")
    memory.write(SITE, old)
    rest = len(old) - kept
    assert alternatives(memory, 12) == ([Patch(SITE + kept, finalize.nops(rest))] if rest else [])


def test_alternative_may_remove_code(memory: Memory) -> None:
    alternative(memory, 5, 3, b"")
    assert alternatives(memory, 12, 5) == [Patch(SITE, finalize.nops(3))]


@pytest.mark.parametrize("opcode", [0xE8, 0xE9])
def test_call_and_jump_keep_their_destination(memory: Memory, opcode: int) -> None:
    target = BASE + 0x345
    alternative(memory, 5, 5, bytes([opcode]) + struct.pack("<i", target - (REPLACEMENT + 5)))
    [patch] = alternatives(memory, 12, 5)
    assert patch.code[0] == opcode
    assert SITE + 5 + struct.unpack_from("<i", patch.code, 1)[0] == target


@pytest.mark.parametrize(
    ("size", "distance", "jump"),
    [
        (12, 0x20, "eb1e0f1f00"),
        (14, 0x20, "eb1ecccccc"),
        (12, 0x81, "eb7f0f1f00"),
        (12, 0x82, "e97d000000"),
        (14, -0x20, "ebdecccccc"),
        (12, -0x20, "e9dbffffff"),
    ],
)
def test_a_near_jump_becomes_a_short_one(memory: Memory, size: int, distance: int, jump: str) -> None:
    """What `conform` found in kvm; kernels before 6.3 do so forwards only."""
    alternative(memory, 5, 5, b"\xe9" + struct.pack("<i", SITE + distance - (REPLACEMENT + 5)), size=size)
    [patch] = alternatives(memory, size, 5)
    assert patch.code == bytes.fromhex(jump)


def test_later_alternative_of_a_place_comes_later(memory: Memory) -> None:
    alternative(memory, 5, 3, b"\xaa\xaa\xaa")
    memory.relative(TABLE + 12, SITE)
    memory.relative(TABLE + 16, REPLACEMENT + 8)
    memory.write(REPLACEMENT + 8, b"\xbb\xbb\xbb")
    memory.put(TABLE + 20, "<HBB", 6, 3, 3)
    codes = [patch.code for patch in finalize.alternatives(memory, TABLE, 24, 12, lambda bit: True)]
    assert codes == [b"\xaa\xaa\xaa", b"\xbb\xbb\xbb"]


def test_paravirt_call_becomes_native_code(memory: Memory) -> None:
    memory.put(TABLE, "<QBBHxxxx", SITE, 31, 6, 0)
    memory.put(TABLE + 16, "<QBBHxxxx", SITE + 8, 99, 6, 0)
    assert list(finalize.paravirt(memory, TABLE, 32, {31: b"\xfa"}.get)) == [
        Patch(SITE, b"\xfa" + finalize.nops(5))
    ]


def jump_to(memory: Memory, opcode: int, target: int) -> None:
    memory.write(SITE, bytes([opcode]) + struct.pack("<i", target - (SITE + 5)))
    memory.relative(TABLE, SITE)


THUNK_RAX, THUNK_R11 = BASE + 0xF00, BASE + 0xF20


@pytest.mark.parametrize(
    ("opcode", "thunk", "code"),
    [
        (0xE8, THUNK_RAX, "ffd0"),
        (0xE9, THUNK_RAX, "ffe0cc"),
        (0xE8, THUNK_R11, "41ffd3"),
        (0xE9, THUNK_R11, "41ffe3cc"),
    ],
)
def test_retpoline_becomes_indirect(memory: Memory, opcode: int, thunk: int, code: str) -> None:
    jump_to(memory, opcode, thunk)
    [patch] = finalize.retpolines(memory, TABLE, 4, {THUNK_RAX: 0, THUNK_R11: 11})
    assert patch.address == SITE
    assert patch.code.startswith(bytes.fromhex(code))
    assert patch.code[len(code) // 2 :] == finalize.nops(5 - len(code) // 2)


@pytest.mark.parametrize(("opcode", "code"), [(0xE8, "2e2e2effd0"), (0xE9, "ffe0cccccc")])
def test_room_is_filled_by_prefixes_and_int3_where_the_kernel_does_that(
    memory: Memory, opcode: int, code: str
) -> None:
    """conform found both on 7.2; other kernels have a NOP behind `ff d0` and behind `ff e0 cc`."""
    jump_to(memory, opcode, THUNK_RAX)
    [patch] = finalize.retpolines(memory, TABLE, 4, {THUNK_RAX: 0}, new=True)
    assert patch.code.hex() == code


def test_endbr_is_sealed_and_other_code_is_left(memory: Memory) -> None:
    """conform found it on 6.12."""
    memory.relative(TABLE, SITE)
    for code, patches in (("f30f1efa", [Patch(SITE, b"pois")]), ("90909090", [])):
        memory.write(SITE, bytes.fromhex(code))
        assert list(finalize.seals(memory, TABLE, 4, b"pois")) == patches


def test_call_of_something_else_is_left(memory: Memory) -> None:
    jump_to(memory, 0xE8, BASE + 0xE00)
    assert list(finalize.retpolines(memory, TABLE, 4, {THUNK_RAX: 0})) == []


def jump_label(memory: Memory, code: str, target: int, *, likely: bool) -> None:
    memory.write(SITE, bytes.fromhex(code))
    memory.relative(TABLE, SITE)
    memory.relative(TABLE + 4, target)
    memory.put(TABLE + 8, "<q", (KEY | likely) - (TABLE + 8))


@pytest.mark.parametrize(("enabled", "likely", "jumps"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0)])
def test_static_branch_jumps_if_the_key_differs_from_the_likely_side(
    enabled: int, likely: int, jumps: int
) -> None:
    for code, short in (("0f1f440000", False), ("6690", True), ("e900000000", False), ("eb00", True)):
        memory = Memory()
        jump_label(memory, code, SITE + 0x40, likely=bool(likely))
        [patch] = finalize.jump_labels(memory, TABLE, 16, lambda key: key == KEY and bool(enabled))
        length = 2 if short else 5
        jump = b"\xeb\x3e" if short else b"\xe9\x3b\0\0\0"
        assert patch == Patch(SITE, jump if jumps else finalize.nops(length))


def test_static_branch_of_a_key_in_init_ignores_the_mark(memory: Memory) -> None:
    jump_label(memory, "6690", SITE + 2, likely=False)
    memory.put(TABLE + 8, "<q", (KEY | 2) - (TABLE + 8))
    asked: list[int] = []
    list(finalize.jump_labels(memory, TABLE, 16, lambda key: bool(asked.append(key))))
    assert asked == [KEY]


@pytest.mark.parametrize(
    ("function", "tail", "code"),
    [
        (BASE + 0x200, 0, "e8fb000000"),
        (BASE + 0x200, 1, "e9fb000000"),
        (0, 0, "0f1f440000"),
        (0, 1, "c3cccccccc"),
    ],
)
def test_static_call(memory: Memory, function: int, tail: int, code: str) -> None:
    memory.relative(TABLE, SITE)
    memory.relative(TABLE + 4, KEY | tail)
    assert list(finalize.static_calls(memory, TABLE, 8, {KEY: function}.get)) == [
        Patch(SITE, bytes.fromhex(code))
    ]


def test_static_call_without_a_known_function_is_left(memory: Memory) -> None:
    memory.relative(TABLE, SITE)
    memory.relative(TABLE + 4, KEY)
    assert list(finalize.static_calls(memory, TABLE, 8, lambda key: None)) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFF), st.integers(0, 0xFFF), st.integers(-(1 << 31), (1 << 31) - 1)),
        max_size=12,
    )
)
def test_exception_table_is_sorted_and_keeps_its_pointers(entries: list[tuple[int, int, int]]) -> None:
    memory = Memory()
    for number, (insn, fixup, kind) in enumerate(entries):
        memory.relative(TABLE + 12 * number, BASE + insn)
        memory.relative(TABLE + 12 * number + 4, BASE + fixup)
        memory.put(TABLE + 12 * number + 8, "<i", kind)
    finalize.sort_extable(memory, TABLE, 12 * len(entries))
    found = []
    for place in range(TABLE, TABLE + 12 * len(entries), 12):
        insn, fixup, kind = struct.unpack("<iii", memory.read(place, 12))
        found.append((place + insn - BASE, place + 4 + fixup - BASE, kind))
    assert [entry[0] for entry in found] == sorted(entry[0] for entry in entries)
    assert sorted(found) == sorted(entries)


def test_direct_call_alternative_calls_what_the_pointer_holds(memory: Memory) -> None:
    """6.12: `call *pointer(%rip)` becomes `call function`; the replacement only names BUG_func."""
    pointer, function = BASE + 0x900, BASE + 0x950
    memory.write(SITE, b"\xff\x15" + struct.pack("<i", pointer - (SITE + 6)))
    memory.put(pointer, "<Q", function)
    alternative(memory, 0x75, 6, b"\xe8" + bytes(4), size=14)
    memory.put(TABLE + 10, "<H", 2)
    [patch] = alternatives(memory, 14, 0x75)
    assert patch.code[0] == 0xE8
    assert SITE + 5 + struct.unpack_from("<i", patch.code, 1)[0] == function


def every_pass(memory: Memory, size: int) -> None:
    """Run all tables over the same bytes and write what they say."""
    for patches in (
        finalize.mcount(memory, TABLE, size),
        finalize.alternatives(memory, TABLE, size, 12, lambda bit: bit % 2 == 0),
        finalize.alternatives(memory, TABLE, size, 14, lambda bit: bit % 2 == 0),
        finalize.paravirt(memory, TABLE, size, {0: b"\xfa"}.get),
        finalize.returns(memory, TABLE, size, THUNK_RAX),
        finalize.retpolines(memory, TABLE, size, {THUNK_RAX: 0}),
        finalize.seals(memory, TABLE, size, b"pois"),
        finalize.jump_labels(memory, TABLE, size, lambda key: key % 8 == 0),
        finalize.static_calls(memory, TABLE, size, lambda key: key * 3),
    ):
        try:
            for patch in patches:
                if isinstance(patch, Patch):
                    memory.write(patch.address, patch.code)
        except PageFault:
            continue


@given(st.lists(st.integers(-0x400, 0xC00), min_size=4, max_size=24))
@example([-0x100] * 24)
def test_hostile_tables_only_fault(offsets: list[int]) -> None:
    memory = Memory()
    memory.write(SITE, b"\x66\x90")
    memory.write(TABLE, struct.pack(f"<{len(offsets)}i", *offsets))
    every_pass(memory, 4 * len(offsets))


def test_tables_of_a_real_module() -> None:
    """The sites of h_hello: init_module calls __fentry__ and returns through the thunk."""
    linked = link(module_file("h_hello"))
    memory = Memory(linked.bases["core"], linked.memory["core"] + bytes(4096) + linked.memory["init"])
    tables = {section.name: section for section in linked.image.sections}
    calls, returns = tables["__mcount_loc"], tables[".return_sites"]
    [entry] = finalize.mcount(memory, calls.address, calls.size)
    [exit_] = finalize.returns(memory, returns.address, returns.size, IMPORTED)
    assert entry == Patch(linked.bases["init"], finalize.nops(5))
    assert memory.read_u8(entry.address) == 0xE8
    assert memory.read_u8(exit_.address) == 0xE9
    assert exit_ == Patch(linked.bases["init"] + 0x13, b"\xc3\xcc\xcc\xcc\xcc")
