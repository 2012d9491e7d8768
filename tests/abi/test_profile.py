"""Kernel profiles: the facts of each release, and that what is put into a file comes out of it."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu.abi import profile
from kmod_emu.abi.profile import Export, Member, StructLayout

SERIES = ("5.10", "6.1", "6.12", "7.2")


def test_default_is_the_61_release():
    assert profile.load().release == "6.1.0-56-amd64"
    assert profile.load() is profile.load("6.1") is profile.load("6.1.0-56-amd64")


@pytest.mark.parametrize(
    ("series", "vermagic"),
    [
        ("5.10", "5.10.0-32-amd64 SMP mod_unload modversions "),
        ("6.1", "6.1.0-56-amd64 SMP preempt mod_unload modversions "),
        ("6.12", "6.12.107+deb13-amd64 SMP preempt mod_unload modversions "),
        ("7.2", "7.2.13+deb14-amd64 SMP preempt mod_unload "),
    ],
)
def test_vermagic_chooses_its_own_profile(series, vermagic):
    assert profile.load(series).vermagic == vermagic
    assert profile.for_vermagic(vermagic) is profile.load(series)


def test_vermagic_of_another_point_release_needs_the_same_flags():
    assert profile.for_vermagic("6.1.0-9-amd64 SMP preempt mod_unload modversions ").series == "6.1"
    assert profile.for_vermagic("6.1.55 SMP mod_unload ") is None
    assert profile.for_vermagic("6.8.0-31-generic SMP preempt mod_unload modversions ") is None
    assert profile.for_vermagic("") is None


@pytest.mark.parametrize("release", ["6.2", "", "6", "..", "../profiles/6.1.0-56-amd64", "6.1.0", "6.1.0-56"])
def test_unknown_release_lists_the_known_ones(release):
    with pytest.raises(LookupError, match=r"6\.12\.107\+deb13-amd64"):
        profile.load(release)


def test_available_sorts_by_number_not_by_text():
    assert [profile.load(release).series for release in profile.available()] == list(SERIES)


@pytest.mark.parametrize(
    ("series", "symbol", "offset"),
    [
        ("5.10", "current_task", 0x1FBC0),
        ("5.10", "__preempt_count", 0x1FB80),
        ("5.10", "cpu_number", 0x19570),
        ("5.10", "this_cpu_off", 0x19578),
        ("6.1", "current_task", 0x1FB80),
        ("6.1", "__preempt_count", 0x1FB40),
        ("6.1", "cpu_number", 0x199E0),
        ("6.1", "this_cpu_off", 0x199E8),
        ("6.1", "fixed_percpu_data", 0),
        ("6.12", "pcpu_hot", 0x351C0),
        ("6.12", "const_pcpu_hot", 0x351C0),
        ("6.12", "this_cpu_off", 0x19A18),
        ("7.2", "current_task", 0xFFFFFFFF83E24018),
        ("7.2", "__preempt_count", 0xFFFFFFFF83E24030),
        ("7.2", "cpu_number", 0xFFFFFFFF83E24034),
        ("7.2", "this_cpu_off", 0xFFFFFFFF83E24028),
    ],
)
def test_percpu_symbols_are_exports_with_their_link_values(series, symbol, offset):
    assert profile.load(series).exports[symbol].value == offset


def test_an_export_has_its_licence_namespace_and_crc():
    exports = profile.load("6.1").exports
    assert exports["FSE_readNCount"] == Export("FSE_readNCount", 0xE58EB9D7, True, "", 0xFFFFFFFF81565FC0)
    assert exports["dma_buf_get"].namespace == "DMA_BUF"
    assert exports["dma_buf_get"].gpl
    assert not exports["_printk"].gpl


def test_a_kernel_without_modversions_has_no_crc():
    assert not profile.load("7.2").modversions
    assert all(export.crc is None for export in profile.load("7.2").exports.values())
    assert all(isinstance(export.crc, int) for export in profile.load("6.12").exports.values())


@pytest.mark.parametrize("series", SERIES)
def test_exports_are_sorted_and_indexed(series):
    kernel = profile.load(series)
    names = kernel.exports_names
    assert names == sorted(set(names))
    assert list(kernel.exports) == names
    assert len(kernel.exports) == len(names) > 9000
    assert all(kernel.export_index(name) == position for position, name in enumerate(names))
    with pytest.raises(KeyError):
        kernel.export_index("no_such_symbol")


@pytest.mark.parametrize(
    ("series", "printk", "regions", "preempt"),
    [
        ("5.10", "printk", "core_init", False),
        ("6.1", "_printk", "core_init", True),
        ("6.12", "_printk", "mem", True),
        ("7.2", "_printk", "mem", True),
    ],
)
def test_facts_that_differ_between_releases(series, printk, regions, preempt):
    kernel = profile.load(series)
    assert {"printk", "_printk"} & set(kernel.exports) == {printk}
    assert kernel.layout_regions == regions
    assert kernel.preempt_dynamic is preempt
    assert kernel.hz == 250


@pytest.mark.parametrize(
    ("series", "size", "init", "exit_", "refcnt"),
    [
        ("5.10", 960, 0x150, 0x380, 904),
        ("6.1", 896, 0x138, 0x350, 856),
        ("6.12", 1280, 0x138, 0x4B0, 1208),
        ("7.2", 1280, 0x130, 0x4C0, 1224),
    ],
)
def test_struct_module(series, size, init, exit_, refcnt):
    kernel = profile.load(series)
    assert kernel.struct("module").size == size
    assert kernel.offset("module", "init") == init
    assert kernel.offset("module", "exit") == exit_
    assert kernel.offset("module", "refcnt") == refcnt


@pytest.mark.parametrize("series", SERIES)
def test_members_lie_inside_their_structure(series):
    for layout in profile.load(series).structs.values():
        for member in layout.members.values():
            # A packed structure (orc_entry) may end inside a bit-field's storage unit.
            end = member.offset + (member.size if member.bit is None else member.bit // 8 + 1)
            assert 0 <= member.offset <= end <= layout.size


def test_bit_fields_keep_their_bit():
    assert profile.load("6.1").struct("kobject").members["state_in_sysfs"] == Member(60, 4, 1, 1)
    assert profile.load("6.1").struct("kobject").members["name"] == Member(0, 8)


def test_has_asks_for_structs_and_members():
    kernel = profile.load("6.12")
    assert kernel.has("pcpu_hot")
    assert kernel.has("module.mem")
    assert not kernel.has("module.core_layout")
    assert not kernel.has("module_layout")
    assert not kernel.has("module_layout.base")


def test_missing_struct_and_member_are_named():
    kernel = profile.load("6.1")
    with pytest.raises(KeyError, match=r"struct pcpu_hot .* 6\.1\.0-56-amd64"):
        kernel.struct("pcpu_hot")
    with pytest.raises(KeyError, match=r"struct module has no member mem in 6\.1\.0-56-amd64"):
        kernel.offset("module", "mem")


def test_a_damaged_file_is_refused():
    with pytest.raises(ValueError, match="not a profile"):
        profile.Profile.from_bytes(b"\x7fELF")


_VALUES = st.integers(0, (1 << 31) - 1) | st.integers((1 << 64) - (1 << 31), (1 << 64) - 1)
_CRCS = st.integers(0, (1 << 32) - 1)
_NAMES = st.text("abcXYZ_.0123", min_size=1, max_size=8)
_ENTRY = st.tuples(_VALUES, st.booleans(), st.sampled_from(["", "CXL", "module:a,b-*"]), _CRCS)


def _file(rows, structs=(), **more):
    facts = {
        "release": "9.9.9",
        "version": "#1",
        "banner": "",
        "vermagic": "9.9.9 ",
        "config": {"MODVERSIONS": bool(rows and rows[0].crc is not None)},
        "static_percpu_start": 0,
        "static_percpu_size": 4096,
        "missing": [],
        "layouts_of": "",
    }
    return profile.contents(
        facts, structs, rows, **({"prototypes": {}, "builtin": {}, "certificates": []} | more)
    )


@given(entries=st.dictionaries(_NAMES, _ENTRY, min_size=1, max_size=8), modversions=st.booleans())
def test_what_is_built_is_what_is_loaded(entries, modversions):
    rows = [
        Export(name, crc if modversions else None, gpl, namespace, value)
        for name, (value, gpl, namespace, crc) in sorted(entries.items())
    ]
    prototypes = {rows[0].name: f"void ({rows[0].name})(int x)"}
    contents = _file(rows, prototypes=prototypes, builtin={"a": {"b": 0o644}}, certificates=[b"\x30\0"])
    loaded = profile.Profile.from_bytes(contents)
    assert contents == _file(
        rows, prototypes=prototypes, builtin={"a": {"b": 0o644}}, certificates=[b"\x30\0"]
    )
    assert list(loaded.exports.values()) == rows
    assert loaded.modversions is modversions
    assert {name: loaded.prototype(name) for name in loaded.exports if loaded.prototype(name)} == prototypes
    assert loaded.builtin_modules == {"a": {"b": 0o644}}
    assert loaded.certificates == (b"\x30\0",)


_PLACES = st.tuples(st.integers(0, 5000), st.integers(0, 300))
_BIT_FIELDS = st.tuples(
    st.integers(0, 5000), st.sampled_from((1, 2, 4, 8)), st.integers(0, 63), st.integers(1, 64)
)
_MEMBERS = (_PLACES | _BIT_FIELDS).map(lambda place: Member(*place))
_LAYOUTS = st.builds(
    StructLayout,
    _NAMES,
    st.integers(0, 9000),
    st.dictionaries(_NAMES, _MEMBERS, max_size=4),
    st.just("9.9.9"),
)


@settings(max_examples=40)
@given(st.lists(_LAYOUTS, max_size=3, unique_by=lambda layout: layout.name))
def test_any_layout_is_kept(layouts):
    loaded = profile.Profile.from_bytes(_file([], layouts))
    assert dict(loaded.structs) == {layout.name: layout for layout in layouts}


def test_an_address_outside_the_kernel_is_not_built():
    with pytest.raises(ValueError, match="lost"):
        _file([Export("lost", None, False, "", 1 << 40)])


def test_a_partly_missing_crc_is_not_built():
    with pytest.raises(ValueError, match="CRC"):
        _file([Export("a", 1, False, "", 0), Export("b", None, False, "", 0)])


@given(st.data())
def test_a_damaged_file_raises_nothing_but_value_errors(data):
    contents = bytearray(_file([Export("a", 1, False, "", 0)]))
    contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        profile.Profile.from_bytes(bytes(contents))


def test_a_file_of_another_version_says_so():
    with pytest.raises(ValueError, match="another version of kmod-emu"):
        profile.Profile.from_bytes(b"kmod-emu profile 1\n{}\n")


def test_the_users_profiles_are_found_and_win(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    profile.user_directory().mkdir(parents=True)
    (profile.user_directory() / "9.9.9.profile").write_bytes(_file([]))
    assert profile.available()[-1] == "9.9.9"
    assert profile.load("9.9").release == "9.9.9"
    assert profile.load().release == "6.1.0-56-amd64"
