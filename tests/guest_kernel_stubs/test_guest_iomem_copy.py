from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unicorn import UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest


@pytest.mark.parametrize("name", ["memcpy_fromio", "memcpy_toio"])
@given(data=st.binary(max_size=40), to=st.integers(0, 5), start=st.integers(0, 5))
def test_copies(machine: Guest, name: str, data: bytes, to: int, start: int) -> None:
    machine.reset()
    source, dest = machine.put(bytes(start) + data) + start, machine.put(b"\xa5" * (len(data) + 10)) + to

    machine.call(name, dest, source, len(data))

    assert machine.read(dest - 1, len(data) + 2) == b"\xa5" + data + b"\xa5"


@pytest.mark.parametrize(
    ("name", "hook"), [("memcpy_fromio", UC_HOOK_MEM_READ), ("memcpy_toio", UC_HOOK_MEM_WRITE)]
)
@pytest.mark.parametrize(
    ("offset", "size", "widths"),
    [(0, 8, [4, 4]), (1, 10, [1, 2, 4, 2, 1]), (2, 6, [2, 4]), (3, 4, [1, 2, 1])],
)
def test_devices_see_aligned_accesses(
    guest: Guest, name: str, hook: int, offset: int, size: int, widths: list[int]
) -> None:
    device, memory = guest.put(bytes(32)) + offset, guest.put(bytes(32))
    seen, first = [], guest.physical(device)

    def access(_uc: object, _access: int, address: int, width: int, _value: int, _data: object) -> None:
        if 0 <= address - first < size:
            seen.append(width)

    handle = guest.uc.hook_add(hook, access)
    try:
        guest.uc.ctl_flush_tb()
        args = (memory, device) if name == "memcpy_fromio" else (device, memory)
        guest.call(name, *args, size)
    finally:
        guest.uc.hook_del(handle)

    assert seen == widths


def test_memset_io(guest: Guest) -> None:
    device = guest.put(bytes(5))

    guest.call("memset_io", device, 0x7F, 4)

    assert guest.read(device, 5) == b"\x7f\x7f\x7f\x7f\0"


@pytest.mark.parametrize(("signature", "found"), [(b"\x55\xaa", 1), (b"\x55\xab", 0), (b"", 1)])
def test_check_signature(guest: Guest, signature: bytes, found: int) -> None:
    assert (
        guest.call_int("check_signature", guest.put(b"\x55\xaa"), guest.put(signature), len(signature))
        == found
    )
