"""The real kernel's answers to mutated modules, from the functions that compute alone."""

from __future__ import annotations

import errno
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmod_emu.module.errors import KernelWouldCrash, LoadError
from tests.module.linking import (
    CORE,
    dmesg,
    link,
    module_file,
    patched,
    recorded_cases,
    recorded_mutations,
    unhashed,
)

# Refusals by the checks of the file and by relocation; other steps decide the rest of the recordings.
_OURS = re.compile(
    r"Invalid ELF|ELF Spec violation|empty section name|Invalid architecture|has no symbols|No module found"
    r"|nonzero for type|overflow in relocation|Unknown rela relocation"
)
_REFUSED = [
    case for case in recorded_mutations() if case["status"] == "error" and _OURS.search(case["dmesg"][-1])
]
_REFUSED += [
    case for case in recorded_mutations() if case["status"] == "error" and "mcmodel" in case["dmesg"][-1]
]
_LOADED = [case for case in recorded_mutations() if case["status"] == "ok"]


@pytest.mark.parametrize("case", _REFUSED, ids=lambda case: case["case"])
def test_mutation_is_refused_as_recorded(case: dict[str, Any]) -> None:
    with pytest.raises(LoadError) as error:
        link(patched(case["patch"]))
    assert error.value.errno == case["errno"]
    assert dmesg(error.value) == [unhashed(line) for line in case["dmesg"]]


@pytest.mark.parametrize("case", _LOADED, ids=lambda case: case["case"])
def test_mutation_that_loaded_links(case: dict[str, Any]) -> None:
    link(patched(case["patch"]))


_VARIANTS = {
    name.partition(":")[2]: results[0]
    for name, results in recorded_cases().items()
    if name.startswith("variant:") and any(_OURS.search(line) for line in results[0]["dmesg"])
}


@pytest.mark.parametrize("name", _VARIANTS)
def test_variant_is_refused_as_recorded(name: str) -> None:
    recorded = _VARIANTS[name]
    with pytest.raises(LoadError) as error:
        link(module_file(name))
    assert error.value.errno == recorded["errno"]
    mine = [unhashed(line) for line in recorded["dmesg"] if "taint" not in line]
    assert dmesg(error.value) == mine


def test_relocation_outside_of_memory_crashes_where_the_kernel_faulted() -> None:
    crash = recorded_cases()["variant:rel_off_huge"][0]
    fault = next(line for line in crash["dmesg"] if "page fault for address" in line)
    with pytest.raises(KernelWouldCrash) as error:
        link(module_file("rel_off_huge"))
    assert error.value.address == int(fault.rpartition(" ")[2], 16)


@pytest.mark.parametrize(
    "desc",
    [
        "section 5 (.rela.init.text) sh_offset: 0xa18 -> 0x0",
        "section 24 (.rela.gnu.linkonce.this_module) sh_size: 0x30 -> 0x70"],
)  # fmt: skip
def test_symbol_is_read_before_the_type_is_looked_at(desc: str) -> None:
    """Garbage relocations have wild symbol indexes: the kernel faults on the symbol, whatever the type."""
    case = next(case for case in recorded_mutations() if case["desc"] == desc)
    assert case["status"] == "crash"
    fault = next(line for line in case["dmesg"] if "page fault for address" in line)
    with pytest.raises(KernelWouldCrash) as error:
        link(patched(case["patch"]))
    assert error.value.address == int(fault.rpartition(" ")[2], 16)


def test_truncated_files_are_refused_as_recorded(hello: bytes) -> None:
    checked = 0
    for step in recorded_cases()["trunc:init"]:
        length = step["step"]["len"]
        if step.get("errno_name") != "ENOEXEC" or length < 64:
            continue  # init_module(2) itself refuses less than a header
        with pytest.raises(LoadError) as error:
            link(hello[:length])
        assert (error.value.errno, dmesg(error.value)) == (errno.ENOEXEC, step["dmesg"])
        checked += 1
    assert checked > 10


def test_hello_is_linked_where_the_kernel_had_it(hello: bytes) -> None:
    linked = link(hello)
    symbols = {
        linked.image.symbol_name(symbol): value
        for symbol, value in zip(linked.image.symbols, linked.values, strict=True)
    }
    assert linked.bases == {"core": CORE, "init": 0xFFFFFFFFC0281000}
    # as /proc/kallsyms was recorded (case sysfs:hello)
    assert symbols["_note_10"] == 0xFFFFFFFFC027D024
    assert symbols["cleanup_module"] == 0xFFFFFFFFC027C000
    assert symbols["__this_module"] == 0xFFFFFFFFC027E040
    this_module = symbols["__this_module"] - CORE
    core = linked.memory["core"]
    assert int.from_bytes(core[this_module + 0x138 :][:8], "little") == symbols["init_module"]
    assert int.from_bytes(core[this_module + 0x350 :][:8], "little") == symbols["cleanup_module"]


_MUTATION = st.tuples(st.integers(0, len(module_file("h_hello")) - 1), st.binary(min_size=1, max_size=8))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=st.lists(_MUTATION, max_size=4), cut=st.integers(0, 200))
def test_hostile_file_never_escapes(mutations: list[tuple[int, bytes]], cut: int) -> None:
    """Whatever the bytes: a module, a refusal or an oops."""
    blob = bytearray(module_file("h_hello"))
    for offset, replacement in mutations:
        blob[offset : offset + len(replacement)] = replacement
    try:
        link(bytes(blob[: len(blob) - cut]))
    except (LoadError, KernelWouldCrash):
        return


_HEADERS = 0xCB8  # where h_hello.ko has its section table
_FIELD = st.tuples(
    st.integers(0, 30),  # section
    st.sampled_from([(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8)]),
    st.one_of(
        st.integers(0, 40),
        st.sampled_from([0x1478, 0x1000, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63, (1 << 64) - 1]),
    ),
)


@settings(max_examples=300, deadline=None)
@given(fields=st.lists(_FIELD, min_size=1, max_size=3))
def test_hostile_section_headers_never_escape(fields: list[tuple[int, tuple[int, int], int]]) -> None:
    blob = bytearray(module_file("h_hello"))
    for section, (offset, size), value in fields:
        start = _HEADERS + 64 * section + offset
        blob[start : start + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    try:
        link(bytes(blob))
    except (LoadError, KernelWouldCrash):
        return
    except AssertionError as error:
        # A section that overlaps the end of its region: the machine's memory faults there.
        assert "was put outside of" in str(error)  # noqa: PT017
