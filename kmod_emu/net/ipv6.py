"""What kind of address an IPv6 address is (net/ipv6/addrconf_core.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_UNICAST, _MULTICAST, _LOOPBACK, _LINK, _SITE, _COMPATIBLE, _MAPPED = 1, 2, 0x10, 0x20, 0x40, 0x80, 0x1000
_LINK_SCOPE, _SITE_SCOPE, _GLOBAL = 2 << 16, 5 << 16, 14 << 16
_OF_SCOPE = {1: _LOOPBACK, 2: _LINK, 5: _SITE}
_BY_BEGINNING = (  # bits, their mask, type
    (0xFE80_0000, 0xFFC0_0000, _LINK | _UNICAST | _LINK_SCOPE),
    (0xFEC0_0000, 0xFFC0_0000, _SITE | _UNICAST | _SITE_SCOPE),
    (0xFC00_0000, 0xFE00_0000, _UNICAST | _GLOBAL),
)


def address_type(address: bytes) -> int:
    """IPV6_ADDR_*: unicast or not, and how far it reaches."""
    first, rest = int.from_bytes(address[:4], "big"), int.from_bytes(address[8:], "big")
    if address[0] >> 5 not in (0, 7):
        return _UNICAST | _GLOBAL
    if address[0] == 0xFF:
        scope = address[1] & 15
        return _MULTICAST | _OF_SCOPE.get(scope, 0) | scope << 16
    for bits, mask, kind in _BY_BEGINNING:
        if first & mask == bits:
            return kind
    if any(address[:8]):
        return _UNICAST | _GLOBAL
    if rest >> 32 == 0:
        return {0: 0, 1: _LOOPBACK | _UNICAST | _LINK_SCOPE}.get(rest, _COMPATIBLE | _UNICAST | _GLOBAL)
    return _MAPPED | _GLOBAL if rest >> 32 == 0xFFFF else _UNICAST | _GLOBAL


@export("int __ipv6_addr_type(const struct in6_addr *addr)")
def __ipv6_addr_type(kernel: KernelCore, addr: int) -> int:
    """What kind it is (net/ipv6/addrconf_core.c)."""
    return address_type(kernel.memory.read(addr, 16))
