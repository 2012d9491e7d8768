"""Network devices: what drivers get, where they are shown, what is refused (net/core/dev.c)."""

import errno
import ipaddress

import pytest

from kmod_emu import Kernel
from kmod_emu.drivers.netdevice import NetDevices
from kmod_emu.net.ipv6 import address_type

DIRECTORY = "/sys/class/net"


@pytest.fixture
def kernel():
    return Kernel()


def text(kernel: Kernel, words: bytes) -> int:
    address = kernel.heap.kmalloc(64)
    kernel.memory.write(address, words + b"\0")
    return address


def made(kernel: Kernel, name: bytes, private: int = 64) -> int:
    setup = kernel.symbol("ether_setup")
    return kernel.call(kernel.symbol("alloc_netdev_mqs"), private, text(kernel, name), 0, setup, 1, 1)


def call(kernel: Kernel, name: str, *arguments: int) -> int:
    value = kernel.call(kernel.symbol(name), *arguments) & 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def interfaces(kernel: Kernel) -> list[str]:
    with kernel.process() as process:
        return sorted(process.listdir(DIRECTORY))


def with_operations(kernel: Kernel, dev: int) -> int:
    view = kernel.view("net_device", dev)
    view.netdev_ops = kernel.heap.kmalloc(kernel.profile.struct("net_device_ops").size)
    return dev


def test_it_is_shown_while_it_is_registered(kernel):
    dev = with_operations(kernel, made(kernel, b"sn%d"))
    address = text(kernel, bytes.fromhex("020304050607"))
    call(kernel, "dev_addr_mod", dev, 0, address, 6)
    assert interfaces(kernel) == []
    assert call(kernel, "register_netdev", dev) == 0
    assert interfaces(kernel) == ["sn0"]
    shown = {name: kernel.cat(f"{DIRECTORY}/sn0/{name}") for name in ("address", "ifindex", "mtu", "type")}
    assert shown == {"address": b"02:03:04:05:06:07\n", "ifindex": b"2\n", "mtu": b"1500\n", "type": b"1\n"}
    assert kernel.cat(f"{DIRECTORY}/sn0/uevent") == b"INTERFACE=sn0\nIFINDEX=2\n"
    call(kernel, "unregister_netdev", dev)
    assert interfaces(kernel) == []


def test_nothing_is_left(kernel):
    name, setup = text(kernel, b"sn%d"), kernel.symbol("ether_setup")
    operations = kernel.heap.kmalloc(kernel.profile.struct("net_device_ops").size)
    held = []
    for _ in range(3):
        dev = kernel.call(kernel.symbol("alloc_netdev_mqs"), 64, name, 0, setup, 1, 1)
        kernel.view("net_device", dev).netdev_ops = operations
        call(kernel, "register_netdev", dev)
        call(kernel, "unregister_netdev", dev)
        call(kernel, "free_netdev", dev)
        held.append(kernel.held())
    assert held[1] == held[2]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (b"sn0", errno.EEXIST),
        (b"a/b", errno.EINVAL),
        (b"a b", errno.EINVAL),
        (b"a:b", errno.EINVAL),
        (b"", errno.EINVAL),
        (b"..", errno.EINVAL),
        (b"a%x", errno.EINVAL),
        (b"%d%d", errno.EINVAL),
    ],
)
def test_a_name_that_is_refused(kernel, name, error):
    call(kernel, "register_netdev", with_operations(kernel, made(kernel, b"sn%d")))
    dev = with_operations(kernel, made(kernel, name))
    assert call(kernel, "register_netdev", dev) == -error
    assert interfaces(kernel) == ["sn0"]
    call(kernel, "free_netdev", dev)


def test_numbers_are_the_lowest_free_ones(kernel):
    devices = [with_operations(kernel, made(kernel, b"sn%d")) for _ in range(3)]
    for dev in devices:
        call(kernel, "register_netdev", dev)
    call(kernel, "unregister_netdev", devices[1])
    call(kernel, "register_netdev", with_operations(kernel, made(kernel, b"sn%d")))
    assert [kernel[NetDevices].name(dev) for dev in kernel[NetDevices].registered] == [
        "lo",
        "sn0",
        "sn2",
        "sn1",
    ]


def test_one_without_queues_is_refused(kernel):
    setup = kernel.symbol("ether_setup")
    assert call(kernel, "alloc_netdev_mqs", 0, text(kernel, b"sn%d"), 0, setup, 0, 1) == 0
    assert kernel.dmesg()[-1] == "alloc_netdev: Unable to allocate device with zero queues"


def test_it_is_in_snapshots(kernel):
    dev = with_operations(kernel, made(kernel, b"sn%d"))
    call(kernel, "register_netdev", dev)
    moment = kernel.snapshot()
    call(kernel, "unregister_netdev", dev)
    kernel.restore(moment)
    assert interfaces(kernel) == ["sn0"]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("::", 0),
        ("::1", 0x20011),
        ("::1.2.3.4", 0xE0081),
        ("::ffff:1.2.3.4", 0xE1000),
        ("fe80::1", 0x20021),
        ("fec0::1", 0x50041),
        ("fd12::", 0xE0001),
        ("ff01::1", 0x10012),
        ("ff02::1", 0x20022),
        ("ff05::2", 0x50042),
        ("ff0e::1", 0xE0002),
        ("2001:db8::1", 0xE0001),
        ("::1:0:0:1", 0xE0001),
    ],
)
def test_kinds_of_ipv6_addresses(address, kind):
    """As Debian's kernel says."""
    assert address_type(ipaddress.IPv6Address(address).packed) == kind
