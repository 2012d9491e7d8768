"""The connector, whose callbacks are a module's; here they are exports in Python."""

import errno
import struct

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.net.wire import message

CONNECTOR, DONE = 11, 3
IDX, VAL = 26, 7


def cn_msg(data, *, idx=IDX, val=VAL, length=None):
    return struct.pack("<IIIIHH", idx, val, 5, 0, len(data) if length is None else length, 0) + data


@pytest.fixture
def machine():
    kernel, heard = Kernel(), []

    @kernel.export("void demo_callback(struct cn_msg *msg, struct netlink_skb_parms *nsp)")
    def demo_callback(kernel, msg, nsp):
        length = struct.unpack("<H", kernel.memory.read(msg + 16, 2))[0]
        portid = kernel.view("netlink_skb_parms", nsp).portid
        heard.append((kernel.memory.read(msg + 20, length), portid))

    def put(data):
        place = kernel.heap.kmalloc(64)
        kernel.memory.write(place, data)
        return place

    def call(name, *arguments):
        result = kernel.call(kernel.symbol(name), *arguments) & 0xFFFF_FFFF
        return result - (result >> 31 << 32)

    key = put(struct.pack("<II", IDX, VAL))
    name = put(b"demo\0")
    assert call("cn_add_callback", key, name, kernel.symbol("demo_callback")) == 0
    assert call("cn_add_callback", key, name, kernel.symbol("demo_callback")) == -errno.EINVAL
    return kernel, heard, put, call, key


def test_a_message_goes_to_who_took_the_number(machine):
    kernel, heard, _, call, key = machine
    p = kernel.process()
    fd = p.socket(16, 3, CONNECTOR)
    for data in (cn_msg(b"hello"), cn_msg(b"x", val=8), cn_msg(b"cut", length=9), b"short"):
        p.send(fd, message(DONE, data))
    assert heard == [(b"hello", p.pid)]
    assert kernel.cat("/proc/net/connector") == b"Name            ID\ndemo            26:7\n"
    call("cn_del_callback", key)
    p.send(fd, message(DONE, cn_msg(b"again")))
    assert len(heard) == 1


def test_the_group_of_a_number_hears_what_is_sent(machine):
    kernel, _, put, call, _ = machine
    place = put(cn_msg(b"news"))
    assert call("cn_netlink_send", place, 0, 0, 0xCC0) == -errno.ESRCH
    assert call("cn_netlink_send", put(cn_msg(b"", val=9)), 0, 0, 0xCC0) == -errno.ENODEV
    listener = kernel.process()
    fd = listener.socket(16, 3, CONNECTOR)
    listener.bind(fd, (0, 1 << IDX - 1))
    assert call("cn_netlink_send", place, 0, 0, 0xCC0) == 0
    data, sender = listener.recvfrom(fd, 100)
    assert data[16:40] == cn_msg(b"news")
    assert sender == (0, 1 << IDX - 1)
    assert struct.unpack("<IHHII", data[:16]) == (40, DONE, 0, 5, 0)
    assert call("cn_netlink_send", place, listener.pid, 0, 0xCC0) == 40
    other = kernel.process(uid=1000)
    with pytest.raises(KernelError) as refused:
        other.bind(other.socket(16, 3, CONNECTOR), (0, 1))
    assert refused.value.errno == errno.EPERM
