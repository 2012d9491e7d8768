"""Fields that the kernel uses without checking them: what the source of 6.1 makes of each.

The samples of the recordings do not hold these cases.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import pytest

from kmod_emu import Kernel, KernelError, Killed
from tests.module.linking import module_file
from tests.module.signer import signature

ALL_ONES = (1 << 64) - 1
MARKER = b"~Module signature appended~\n"
_TABLE = 0xCB8  # section headers of h_hello.ko
_FIELDS = {"name": (0, "<I"), "type": (4, "<I"), "flags": (8, "<Q"), "size": (32, "<Q")}
VERSIONS, RETURN_SITES, RELA_RETURN_SITES, ORC, ORC_IP = 17, 12, 13, 14, 15


class Answer(NamedTuple):
    errno: int | None  # None: the caller was killed
    dmesg: list[str]


Load = Callable[[bytes], Answer]


@pytest.fixture(scope="module")
def load() -> Load:
    """finit_module on a machine where the messages that come once a boot have come."""
    kernel = Kernel()
    kernel.insmod(module_file("h_hello"))
    kernel.rmmod("h_hello")
    clean = kernel.snapshot()

    def answer(blob: bytes) -> Answer:
        kernel.restore(clean)
        kernel.printk.clear()
        errno: int | None = 0
        try:
            with kernel.process(comm="init") as process:
                process.finit_module(blob)
        except Killed:
            errno = None
        except KernelError as error:
            errno = error.errno
        return Answer(errno, [f"<{record.level}>{record.kmsg()}" for record in kernel.printk.readable()])

    return answer


def with_field(section: int, field: str, value: int) -> bytes:
    blob = bytearray(module_file("h_hello"))
    offset, form = _FIELDS[field]
    struct.pack_into(form, blob, _TABLE + 64 * section + offset, value)
    return bytes(blob)


def trailer(size: int, id_type: int = 2) -> bytes:
    return struct.pack(">BBBBB3xI", 0, 0, id_type, 0, 0, size) + MARKER


def warnings(answer: Answer) -> list[str]:
    return [line for line in answer.dmesg if line.startswith("<4>WARNING: ")]


def test_signed_module_loads_though_its_key_is_unavailable(load: Load, hello: bytes) -> None:
    message = signature(hello)
    assert load(hello + message + trailer(len(message))) == Answer(0, ["<6>h_hello: init"])


def test_other_kind_of_signature_is_unsupported_but_tolerated(load: Load, hello: bytes) -> None:
    """ENOPKG counts as unsigned unless signatures are enforced; only the marker was taken off."""
    assert load(hello + bytes(16) + trailer(16, id_type=1)) == Answer(
        0, ["<3>module: not signed with expected PKCS#7 message", "<6>h_hello: init"]
    )


def test_section_zero_may_not_be_writable_code_either(load: Load) -> None:
    """module_enforce_rwx_sections() begins with section 0, whose name is empty."""
    assert load(with_field(0, "flags", ALL_ONES)) == Answer(
        8, ["<3>h_hello: section  (index 0) has invalid WRITE|EXEC flags"]
    )


def test_name_of_section_zero_is_read_by_module_finalize(load: Load) -> None:
    assert load(with_field(0, "name", 0xFFFFFFFF)).errno is None


def test_versions_are_read_even_if_their_type_says_they_have_no_bytes(load: Load) -> None:
    """check_version() reads at sh_addr, which rewrite_section_headers() set for every type."""
    assert load(with_field(VERSIONS, "type", 8)) == Answer(0, ["<6>h_hello: init"])


@pytest.mark.parametrize(
    ("section", "size"), [(ORC, 0), (ORC, 0x17), (ORC, 0x19), (ORC_IP, 0xF), (ORC_IP, 0x11), (ORC_IP, 0xC)]
)
def test_orc_tables_must_match(load: Load, section: int, size: int) -> None:
    """unwind_module_init(): as many addresses as entries, and no part of one."""
    answer = load(with_field(section, "size", size))
    assert answer.errno == 0
    assert len(warnings(answer)) == 1
    assert " at arch/x86/kernel/unwind_orc.c:250 unwind_module_init+" in warnings(answer)[0]


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [(RELA_RETURN_SITES, "type", 8), (RELA_RETURN_SITES, "size", 0), (RETURN_SITES, "size", 5)],
)
def test_return_site_without_the_thunk_is_left_with_a_warning(
    load: Load, section: int, field: str, value: int
) -> None:
    """apply_returns(); a part of an entry at the end of the table counts as one."""
    answer = load(with_field(section, field, value))
    assert answer.errno == 0
    assert any(line.startswith("<4>missing return thunk: 0x") for line in answer.dmesg)
    assert " at arch/x86/kernel/alternative.c:823 apply_returns+" in warnings(answer)[0]
