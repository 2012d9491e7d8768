"""The network's part of a machine: netlink, generic netlink, uevents for who listens, /proc/net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs.tree import Node, directory
from kmod_emu.fs.uevent import Uevent, Uevents
from kmod_emu.net.connector import Connector
from kmod_emu.net.genetlink import Genetlink
from kmod_emu.net.netlink import Netlink
from kmod_emu.net.pernet import Pernet
from kmod_emu.net.rtnetlink import Rtnl
from kmod_emu.net.socket import Sockfs
from kmod_emu.uapi.socket import NETLINK_KOBJECT_UEVENT

if TYPE_CHECKING:
    from kmod_emu.fs.procfs import Procfs
    from kmod_emu.kernel.kernel import KernelCore

_UEVENT_GROUP = 1


def install(kernel: KernelCore, procfs: Procfs) -> None:
    """Add it all to a machine whose file systems are mounted."""
    kernel.add(Sockfs(kernel))
    kernel.add(Pernet(kernel))
    kernel.add(Rtnl())
    netlink = Netlink(kernel)
    kernel.add(netlink)
    kernel.add(Genetlink(kernel))
    netlink.own(NETLINK_KOBJECT_UEVENT, 1)
    connector = Connector(kernel)
    kernel.add(connector)

    def tell(event: Uevent) -> None:
        texts = [str(event), *(f"{name}={value}" for name, value in event.variables.items())]
        data = b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)
        netlink.announce(NETLINK_KOBJECT_UEVENT, _UEVENT_GROUP, data)

    kernel[Uevents].tell = tell
    net = procfs.tree.create("net", 0, 0o555, "dir")
    assert net is not None
    view = kernel.view("net", kernel.symbols.address("init_net"))
    view.proc_net = net.address
    for name, member in (("net/stat", "proc_net_stat"), ("net/netfilter", "nf")):
        below = procfs.tree.create(name, 0, 0o555, "dir")
        assert below is not None
        if view.has(member):
            kernel.memory.write_u64(view.addressof(member), below.address)  # netns_nf begins with it
    own = {
        "connector": Node(0o444, read=lambda task: connector.text()),
        "netlink": Node(0o444, read=lambda task: netlink.text()),
    }
    procfs.files["net"] = directory(lambda: {**own, **procfs.tree.root.entries["net"].entries})
