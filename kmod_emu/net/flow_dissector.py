"""Tables of what is to be read from packets (net/core/flow_dissector.c); none is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_KEY = 16  # struct flow_dissector_key: a number, and an offset in a word


@export(
    "void skb_flow_dissector_init(struct flow_dissector *flow_dissector,"
    " const struct flow_dissector_key *key, unsigned int key_count)"
)
def skb_flow_dissector_init(kernel: KernelCore, flow_dissector: StructView, key: int, key_count: int) -> None:
    """Where each key that is wanted goes (net/core/flow_dissector.c)."""
    memory, offsets = kernel.memory, flow_dissector.addressof("offset")
    memory.clear(flow_dissector.address, flow_dissector.layout.size)
    for place in range(key, key + key_count * _KEY, _KEY):
        number = memory.read_u32(place)
        flow_dissector.used_keys |= 1 << number
        memory.write_u16(offsets + 2 * number, memory.read_u64(place + 8) & 0xFFFF)
