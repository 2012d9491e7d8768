"""Netlink sockets between processes and the sample `netlink`."""

import errno
import struct

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.errors import Killed
from kmod_emu.net.wire import NLMSGHDR, attribute, message

AF_NETLINK, SOCK_RAW, PROTOCOL, SOL_NETLINK = 16, 3, 31, 270
REQUEST, ACK = 1, 4
DONTWAIT = 0x40
SAY, REFUSE, HEARD, ERROR = 16, 17, 18, 2


def loaded():
    kernel = Kernel()
    before = kernel.held()
    kernel.insmod(samples.path("netlink"))
    return kernel, before


def refusal(call, *args):
    with pytest.raises(KernelError) as error:
        call(*args)
    return error.value.errno


def say(text, kind=SAY, *, flags=REQUEST, seq=7):
    return message(kind, text, flags=flags, seq=seq)


def taken_apart(data):
    length, kind, flags, seq, pid = NLMSGHDR.unpack(data[:16])
    return kind, flags, seq, pid, data[16:length]


def test_a_message_comes_back_to_its_sender():
    kernel, before = loaded()
    assert kernel.dmesg()[2:] == ["netlink: to nobody: -111"]
    p = kernel.process(uid=1000)
    fd = p.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    assert kernel.modules[0].refcnt == 1  # the socket keeps the module
    assert p.getsockname(fd) == (0, 0)
    assert p.send(fd, say(b"hi")) == 20
    assert p.getsockname(fd) == (p.pid, 0)  # bound by sending
    data, sender = p.recvfrom(fd, 100)
    assert (taken_apart(data), sender) == ((SAY, 0, 7, p.pid, b"hi"), (0, 0))
    assert kernel.dmesg()[3:] == ["netlink: a process (uid 1000) says hi"]
    assert refusal(kernel.rmmod, "netlink") == errno.EAGAIN
    p.exit()
    kernel.rmmod("netlink")
    assert kernel.held() == before


def test_errors_and_acknowledgements():
    kernel, _ = loaded()
    p = kernel.process()
    fd = p.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    p.send(fd, say(b"x", flags=REQUEST | ACK))
    assert taken_apart(p.recv(fd, 100))[0] == SAY
    kind, flags, seq, _, payload = taken_apart(p.recv(fd, 100))
    assert (kind, flags, seq) == (ERROR, 0x100, 7)  # capped: only the header of the request is in it
    assert payload == struct.pack("<i", 0) + say(b"x", flags=REQUEST | ACK)[:16]

    request = say(b"xyz", REFUSE)
    p.send(fd, request)  # what fails is told without being asked
    assert taken_apart(p.recv(fd, 100))[4] == struct.pack("<i", -errno.EPERM) + request

    p.setsockopt(fd, SOL_NETLINK, 10, 1)  # NETLINK_CAP_ACK
    p.setsockopt(fd, SOL_NETLINK, 11, 1)  # NETLINK_EXT_ACK
    p.send(fd, request)
    kind, flags, _, _, payload = taken_apart(p.recv(fd, 100))
    assert flags == 0x100 | 0x200
    assert payload == struct.pack("<i", -errno.EPERM) + request[:16] + attribute(1, b"refused, as asked\0")

    p.send(fd, say(b"", 99) + say(b"no request", flags=0) + say(b"cut")[:-6])
    assert taken_apart(p.recv(fd, 100))[4][:4] == struct.pack("<i", -errno.EOPNOTSUPP)
    assert refusal(p.recv, fd, 100, DONTWAIT) == errno.EAGAIN


def test_a_group_hears_what_was_said():
    kernel, _ = loaded()
    speaker, listener = kernel.process(), kernel.process(uid=1000)
    ear = listener.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    listener.bind(ear, (0, 1))
    assert listener.getsockname(ear) == (listener.pid, 1)
    listener.setsockopt(ear, SOL_NETLINK, 3, 1)  # NETLINK_PKTINFO
    fd = speaker.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    assert listener.poll({ear: 1}, 0) == {}
    speaker.send(fd, say(b"hello"))
    assert listener.poll({ear: 1}, 0) == {ear: 1}
    data, control, flags, sender = listener.recvmsg(ear, 18, 64)
    assert taken_apart(data)[0] == HEARD
    assert len(data) == 18
    assert (control, flags, sender) == (
        [(SOL_NETLINK, 3, struct.pack("<I", 1))],
        0x20,
        (0, 1),
    )  # cut: MSG_TRUNC
    assert refusal(listener.recv, ear, 18, DONTWAIT) == errno.EAGAIN
    listener.setsockopt(ear, SOL_NETLINK, 2, 1)  # NETLINK_DROP_MEMBERSHIP
    speaker.send(fd, say(b"again"))
    assert refusal(listener.recv, ear, 18, DONTWAIT) == errno.EAGAIN
    listener.setsockopt(ear, SOL_NETLINK, 1, 2)
    assert listener.getsockopt(ear, SOL_NETLINK, 9, 4) == b"\x02\0\0\0"
    assert refusal(listener.setsockopt, ear, SOL_NETLINK, 1, 33) == errno.EINVAL


def test_a_receiver_waits_until_something_comes():
    kernel, _ = loaded()
    speaker, listener = kernel.process(), kernel.process()
    ear = listener.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    listener.bind(ear, (0, 1))
    place = listener.put(bytes(100))
    listener.start("recvfrom", ear, place, 100, 0, 0, 0)
    fd = speaker.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    speaker.send(fd, say(b"hello"))
    assert listener.wait() == 24
    assert taken_apart(listener.get(place, 24))[4] == b"hello"
    listener.setsockopt(ear, 1, 20, struct.pack("<qq", 2, 0))  # SO_RCVTIMEO
    now = kernel.clock.now_ns
    assert refusal(listener.recv, ear, 10) == errno.EAGAIN
    assert 2.0 <= (kernel.clock.now_ns - now) / 1e9 < 2.1


def test_one_that_never_reads_loses_messages_and_is_told_once():
    kernel, _ = loaded()
    speaker, listener = kernel.process(), kernel.process()
    ear = listener.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    listener.bind(ear, (0, 1))
    listener.setsockopt(ear, 1, 8, 1000)  # SO_RCVBUF
    assert listener.getsockopt(ear, 1, 8) == 2304
    fd = speaker.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    for number in range(8):
        speaker.send(fd, say(b"%d" % number))
        speaker.recv(fd, 100)
    assert listener.poll({ear: 1}, 0) == {ear: 1 | 8}
    assert refusal(listener.recv, ear, 100) == errno.ENOBUFS
    heard = []
    while listener.poll({ear: 1}, 0):
        heard.append(taken_apart(listener.recv(ear, 100))[4])
    assert heard == [b"0", b"1", b"2", b"3"]
    row = [line.split() for line in kernel.cat("/proc/net/netlink").decode().splitlines()]
    assert [fields[8] for fields in row if fields[2] == str(listener.pid)] == ["4"]
    speaker.send(fd, say(b"9"))
    assert taken_apart(listener.recv(ear, 100))[4] == b"9"


def test_processes_talk_to_each_other():
    kernel = Kernel()
    one, other = kernel.process(), kernel.process()
    a, b = one.socket(AF_NETLINK, SOCK_RAW, 2), other.socket(AF_NETLINK, SOCK_RAW, 2)  # NETLINK_USERSOCK
    other.bind(b, (0, 0))
    other.setsockopt(b, 1, 16, 1)  # SO_PASSCRED
    assert one.sendto(a, b"anything", (other.pid, 0)) == 8
    data, control, _, sender = other.recvmsg(b, 100, 64)
    assert (data, sender) == (b"anything", (one.pid, 0))
    assert control == [(1, 2, struct.pack("<III", one.pid, 0, 0))]
    assert refusal(one.sendto, a, b"x", (999, 0)) == errno.ECONNREFUSED
    assert refusal(one.sendto, a, b"x", (0, 0)) == errno.ECONNREFUSED  # no kernel socket there
    one.connect(a, (other.pid, 0))
    assert one.getpeername(a) == (other.pid, 0)
    assert one.sendmsg(a, [b"in ", b"two"]) == 6
    assert other.recv(b, 100) == b"in two"
    other.connect(b, (12, 0))  # only that one may answer now
    assert refusal(one.send, a, b"x") == errno.ECONNREFUSED
    second = one.socket(AF_NETLINK, SOCK_RAW, 2)
    one.bind(second, (0, 0))
    assert one.getsockname(second)[0] == 2**32 - 4097
    assert refusal(one.bind, one.socket(AF_NETLINK, SOCK_RAW, 2), (other.pid, 0)) == errno.EADDRINUSE
    assert refusal(one.bind, second, (77, 0)) == errno.EINVAL


def test_sending_blocks_while_the_receiver_is_full():
    kernel = Kernel()
    one, other = kernel.process(), kernel.process()
    a, b = one.socket(AF_NETLINK, SOCK_RAW, 2), other.socket(AF_NETLINK, SOCK_RAW, 2)
    other.bind(b, (0, 0))
    other.setsockopt(b, 1, 8, 1000)
    one.connect(a, (other.pid, 0))
    assert [one.send(a, bytes(100), DONTWAIT) for _ in range(4)] == [100] * 4
    assert refusal(one.send, a, bytes(100), DONTWAIT) == errno.EAGAIN
    one.start("sendto", a, one.put(bytes(50)), 50, 0, 0, 0)
    assert [len(other.recv(b, 200)) for _ in range(5)] == [100] * 4 + [50]
    assert one.wait() == 50


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((2, 1, 0), errno.EAFNOSUPPORT),
        ((99, 1, 0), errno.EAFNOSUPPORT),
        ((AF_NETLINK, 1, 0), errno.ESOCKTNOSUPPORT),
        ((AF_NETLINK, SOCK_RAW, PROTOCOL), errno.EPROTONOSUPPORT),
        ((AF_NETLINK, SOCK_RAW, 32), errno.EPROTONOSUPPORT),
        ((AF_NETLINK, SOCK_RAW | 0x100, 16), errno.EINVAL),
        ((AF_NETLINK, 11, 16), errno.EINVAL),
    ],
)
def test_sockets_that_are_not_there(arguments, error):
    p = Kernel().process()
    before = p.kernel.held()
    assert p.syscall("socket", *arguments) == -error
    assert p.kernel.held() == before


def test_bad_calls():
    kernel, _ = loaded()
    p = kernel.process(uid=1000)
    fd = p.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    address = p.put(struct.pack("<HHII", AF_NETLINK, 0, 0, 0))
    assert p.syscall("bind", 99, address, 12) == -errno.EBADF
    assert p.syscall("bind", 0, address, 12) == -errno.ENOTSOCK
    assert p.syscall("bind", fd, address, 11) == -errno.EINVAL
    assert p.syscall("bind", fd, 0, 12) == -errno.EFAULT
    assert p.syscall("bind", fd, p.put(struct.pack("<HHII", 2, 0, 0, 0)), 12) == -errno.EINVAL
    assert p.syscall("sendto", fd, address, 0, 0, 0, 0) == -errno.ENODATA
    assert kernel.dmesg()[-1] == "Zero length message leads to an empty skb"
    assert p.syscall("sendto", fd, address, 1, 1, 0, 0) == -errno.EOPNOTSUPP
    assert refusal(p.sendto, fd, b"x", (4, 0)) == errno.EPERM  # only root may write to others
    assert refusal(p.connect, fd, (4, 0)) == errno.EPERM
    assert p.syscall("listen", fd, 1) == -errno.EOPNOTSUPP
    assert refusal(p.getsockopt, fd, SOL_NETLINK, 99) == errno.ENOPROTOOPT
    assert refusal(p.setsockopt, fd, 7, 1, 1) == errno.ENOPROTOOPT
    assert refusal(p.setsockopt, fd, SOL_NETLINK, 8, 1) == errno.EPERM
    big = p.memory.map(1 << 20)
    assert p.syscall("sendto", fd, big, 1 << 20, 0, 0, 0) == -errno.EMSGSIZE
    assert p.getsockopt(fd, 1, 3) == SOCK_RAW
    assert p.getsockopt(fd, 1, 38) == PROTOCOL
    assert p.write(fd, say(b"written")) == 24
    assert taken_apart(p.read(fd, 100))[4] == b"written"
    assert p.writev(fd, [say(b"in two")[:9], say(b"in two")[9:]]) == 24
    head, rest = bytearray(16), bytearray(30)
    assert p.readv(fd, [head, rest]) == 24
    assert rest[:6] == b"in two"


def test_uevents_are_heard():
    kernel = Kernel()
    p = kernel.process(uid=1000)
    fd = p.socket(AF_NETLINK, SOCK_RAW, 15)
    p.bind(fd, (0, 1))
    kernel.insmod(samples.path("hello"))
    data, sender = p.recvfrom(fd, 4096)
    assert sender == (0, 1)
    parts = data.split(b"\0")
    assert parts[:4] == [b"add@/module/hello", b"ACTION=add", b"DEVPATH=/module/hello", b"SUBSYSTEM=module"]
    assert parts[-2].startswith(b"SEQNUM=")


def test_a_saved_machine_keeps_the_protocol_and_forgets_programs(tmp_path):
    kernel, _ = loaded()
    first = kernel.process()
    kernel.save(tmp_path / "without.kmod")
    first.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    kernel.save(tmp_path / "machine.kmod")
    again, twin = Kernel.load(tmp_path / "machine.kmod"), Kernel.load(tmp_path / "without.kmod")
    twin.sleep(0)  # it has a kernel task for such work now, as the other has
    assert again.held() == twin.held()
    p = again.process()
    fd = p.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    p.send(fd, say(b"still there"))
    assert taken_apart(p.recv(fd, 100))[4] == b"still there"
    p.exit()
    again.rmmod("netlink")  # the first program's socket, which kept it, is gone


def test_sockets_come_back_with_a_snapshot():
    kernel, _ = loaded()
    p = kernel.process()
    fd = p.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    p.send(fd, say(b"first"))
    snapshot = kernel.snapshot()
    assert taken_apart(p.recv(fd, 100))[4] == b"first"
    p.setsockopt(fd, SOL_NETLINK, 1, 1)
    p.close(fd)
    kernel.restore(snapshot)
    assert p.getsockname(fd) == (p.pid, 0)
    assert taken_apart(p.recv(fd, 100))[4] == b"first"
    p.send(fd, say(b"second"))
    assert taken_apart(p.recv(fd, 100))[4] == b"second"
    p.close(fd)
    kernel.rmmod("netlink")


def test_a_module_that_forgets_its_socket_kills_who_sends_to_it():
    """The module's code is gone, but the socket still leads there, as on Linux; the machine lives on."""
    kernel = Kernel()
    kernel.export("void netlink_kernel_release(struct sock *sk)")(lambda kernel, sk: None)
    kernel.insmod(samples.path("netlink"))
    kernel.rmmod("netlink")
    p = kernel.process()
    fd = p.socket(AF_NETLINK, SOCK_RAW, PROTOCOL)
    with pytest.raises(Killed):
        p.send(fd, say(b"x"))
    assert any(line.startswith("BUG: unable to handle page fault") for line in kernel.dmesg())
    kernel.insmod(samples.path("hello"))
    assert kernel.dmesg()[-1] == "Hello world!"
