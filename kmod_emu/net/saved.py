"""Programs' sockets in snapshots and saved machines.

Going back to a snapshot finds the same objects again, and what they were. In a machine loaded from a file
their processes are gone: what is left of a socket is taken down when it is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.net import skbuff

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.net.netlink import Netlink, NetlinkSock


class _Orphan(NamedTuple):
    """A socket without its program: address of its sock, protocol, module, whether a dump was going on."""

    address: int
    protocol: int
    module: int
    dumping: bool


class SavedSockets:
    """What is needed to find sockets again."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._known: list[list[tuple[Any, dict[str, Any]]]] = []  # by serial: objects and their attributes
        self.orphans: list[_Orphan] = []

    def save(self, socks: Iterable[NetlinkSock]) -> Any:
        """Plain data for a snapshot or file."""
        rows = []
        for sock in socks:
            user = sock.user
            if user is None:
                continue
            parts: list[Any] = [sock, user]
            if user.dump:
                parts += [user.dump, user.dump.control]
            self._known.append([(part, _copied(part)) for part in parts])
            serial = len(self._known) - 1
            rows.append([serial, id(user), sock.address, sock.protocol, user.module, bool(user.dump)])
        return rows

    def load(self, rows: Any) -> list[NetlinkSock]:
        """The sockets that are found again; the others become orphans."""
        found = []
        for serial, identity, *facts in rows:
            parts = self._known[serial] if serial < len(self._known) else []
            if not parts or id(parts[1][0]) != identity:
                self.orphans.append(_Orphan(*facts))
                continue
            for part, attributes in parts:
                vars(part).update({name: _fresh(value) for name, value in attributes.items()})
            found.append(parts[0][0])
        return found

    async def bury(self, netlink: Netlink) -> None:
        """Take the orphans down."""
        kernel = self._kernel
        orphans, self.orphans = self.orphans, []
        for orphan in orphans:
            sock = netlink.adopt(orphan.address, orphan.protocol)
            if orphan.dumping:
                view = kernel.view("netlink_callback", netlink.callback(sock))
                if view.done:
                    await kernel.call_guest(view.done, view.address)
                kernel.module_put(view.get("module"))
                await skbuff.free(kernel, view.skb)
            await netlink.free_sock(sock)
            kernel.module_put(orphan.module)


def _copied(part: Any) -> dict[str, Any]:
    return {name: _fresh(value) for name, value in vars(part).items()}


def _fresh(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, set)) else value
