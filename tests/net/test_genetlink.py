"""Generic netlink: the controller, and requests to the family of the sample `genetlink`."""

import errno
import struct

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.net.wire import NLMSGHDR, attribute, attributes, message

GENERIC, SOL_NETLINK = 16, 270
CTRL, NEWFAMILY, DELFAMILY, GETFAMILY, NEWMCAST_GRP, DELMCAST_GRP = 16, 1, 2, 3, 7, 8
REQUEST, MULTI, ACK, DUMP = 1, 2, 4, 0x300
SET, GET, CHANGED = 1, 2, 3
NAME, VALUE, NOTE, LEVELS = 1, 2, 3, 4
NESTED = 0x8000


class Talk:
    """A process with a socket of generic netlink."""

    def __init__(self, kernel, uid=0):
        self.process = kernel.process(uid=uid)
        self.fd = self.process.socket(16, 3, GENERIC)
        self.process.bind(self.fd, (0, 0))
        self.process.setsockopt(self.fd, SOL_NETLINK, 11, 1)  # extended acknowledgements
        self.process.setsockopt(self.fd, SOL_NETLINK, 10, 1)  # ... that do not repeat the request

    def send(self, family, cmd, body=b"", flags=REQUEST, reserved=0):
        header = struct.pack("<BBH", cmd, 1, reserved)
        self.process.send(self.fd, message(family, header + body, flags=flags, seq=5))

    def receive(self):
        """Messages of one recv(2): type, flags, payload."""
        data, found = self.process.recv(self.fd, 8192, 0x40), []
        while data:
            length, kind, flags, _, _ = NLMSGHDR.unpack(data[:16])
            found.append((kind, flags, data[16:length]))
            data = data[length + 3 & ~3 :]
        return found

    def ask(self, *args, **kwargs):
        """The error (0 for none) and text of a request that is acknowledged."""
        self.send(*args, **kwargs)
        kind, flags, payload = self.receive()[-1]
        assert kind == 2
        more = attributes(payload[20:]) if flags & 0x200 else {}
        return -struct.unpack("<i", payload[:4])[0], more.get(1, b"\0")[:-1].decode(), more


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("genetlink"))
    return kernel


def pair(name, value):
    return attribute(NAME, name.encode() + b"\0") + attribute(VALUE, value)


def number(data):
    return int.from_bytes(data, "little")


def test_the_controller_knows_the_family_by_name_and_number(kernel):
    assert kernel.dmesg()[2:] == ["genetlink: the family has number 19"]
    talk = Talk(kernel, uid=1000)
    talk.send(CTRL, GETFAMILY, attribute(2, b"kmod_emu_demo\0"))
    [(kind, flags, payload)] = talk.receive()
    assert (kind, flags, payload[:4]) == (CTRL, 0, bytes((NEWFAMILY, 2, 0, 0)))
    found = attributes(payload[4:])
    assert found[2] == b"kmod_emu_demo\0"
    assert [number(found[kind]) for kind in (1, 3, 4, 5)] == [19, 1, 0, 4]
    ops = [attributes(op) for op in attributes(found[6]).values()]
    assert [(number(op[1]), number(op[2])) for op in ops] == [(SET, 1 | 2 | 8), (GET, 2 | 4 | 8)]
    [group] = [attributes(group) for group in attributes(found[7]).values()]
    assert (group[1], number(group[2])) == (b"changes\0", 2)
    talk.send(CTRL, GETFAMILY, attribute(1, 19, 2))
    assert talk.receive() == [(kind, flags, payload)]
    assert talk.ask(CTRL, GETFAMILY, attribute(1, 77, 2))[0] == errno.ENOENT
    assert talk.ask(CTRL, GETFAMILY, attribute(2, b"nobody\0"))[0] == errno.ENOENT
    assert talk.ask(CTRL, GETFAMILY)[0] == errno.EINVAL
    assert talk.ask(CTRL, GETFAMILY, attribute(2, b"much_too_long_a_name\0"))[:2] == (
        errno.EINVAL,
        "Attribute failed policy validation",
    )
    talk.send(CTRL, GETFAMILY, flags=REQUEST | DUMP)
    names = [attributes(payload[4:])[2] for _, _, payload in talk.receive()]
    assert names == [b"nlctrl\0", b"kmod_emu_demo\0"]
    assert talk.receive() == [(3, MULTI, bytes(4))]


def test_the_controller_tells_policies(kernel):
    talk = Talk(kernel, uid=1000)
    talk.send(CTRL, 10, attribute(2, b"kmod_emu_demo\0"), flags=REQUEST | DUMP)
    found = [attributes(payload[4:]) for _, _, payload in talk.receive()]
    assert talk.receive() == [(3, MULTI, bytes(4))]
    assert all(number(one[1]) == 19 for one in found)
    ops = [attributes(one[9]) for one in found if 9 in one]
    assert ops == [{SET: attribute(1, 0)}, {GET: attribute(1, 0) + attribute(2, 0)}]
    policies = [(index, *attributes(inner).items()) for one in found if 8 in one
                for index, inner in attributes(one[8]).items()]  # fmt: skip
    assert [(index, kind) for index, (kind, _) in policies] == [(0, 1), (0, 2), (0, 4), (1, 1), (1, 2)]
    assert dict(row[1] for row in policies if row[0] == 0) == {
        NAME: attribute(7, 15) + attribute(1, 12),
        VALUE: attribute(4, 1, 8) + attribute(5, 1000, 8) + attribute(1, 4),
        LEVELS: attribute(8, 1) + attribute(9, 2) + attribute(1, 13),
    }
    body = attribute(2, b"kmod_emu_demo\0")
    assert talk.ask(CTRL, 10, body + attribute(10, 7), flags=REQUEST | DUMP)[0] == errno.ENOENT
    assert talk.ask(CTRL, 10, body + attribute(11, 7), flags=REQUEST | DUMP)[0] == errno.EINVAL
    assert talk.ask(CTRL, 10, body)[0] == errno.EOPNOTSUPP


def test_who_listens_to_the_controller_hears_of_families():
    kernel = Kernel()
    talk = Talk(kernel)
    talk.process.setsockopt(talk.fd, SOL_NETLINK, 1, 16)
    kernel.insmod(samples.path("genetlink"))
    kernel.rmmod("genetlink")
    heard = [talk.receive()[0][2] for _ in range(4)]
    assert [payload[0] for payload in heard] == [NEWFAMILY, NEWMCAST_GRP, DELMCAST_GRP, DELFAMILY]
    assert all(attributes(payload[4:])[2] == b"kmod_emu_demo\0" for payload in heard)


def test_setting_and_asking(kernel):
    talk, other = Talk(kernel), Talk(kernel, uid=1000)
    other.process.setsockopt(other.fd, SOL_NETLINK, 1, 2)  # the group "changes"
    assert talk.ask(19, SET, pair("width", 7), flags=REQUEST | ACK) == (0, "", {})
    [(kind, _, payload)] = other.receive()
    assert (kind, payload[0]) == (19, CHANGED)
    assert attributes(payload[4:]) == {NAME: b"width\0", VALUE: b"\x07\0\0\0"}
    other.send(19, GET, attribute(NAME, b"width\0"))
    [(kind, _, payload)] = other.receive()
    assert attributes(payload[4:])[VALUE] == b"\x07\0\0\0"
    error, text, more = other.ask(19, GET, attribute(NAME, b"height\0"))
    assert (error, text, number(more[2])) == (errno.ENOENT, "there is no such entry", 20)
    assert other.ask(19, SET, pair("width", 8))[0] == errno.EPERM
    levels = attribute(LEVELS | NESTED, attribute(1, 3, 1) + attribute(2, 9, 1))
    assert talk.ask(19, SET, pair("width", 8) + levels, flags=REQUEST | ACK)[0] == 0
    assert kernel.dmesg()[-1] == "genetlink: levels 3 to 9"


RANGE = attribute(4, 1, 8) + attribute(5, 1000, 8) + attribute(1, 4)


@pytest.mark.parametrize(
    ("body", "error", "text", "told"),
    [
        (pair("a", 1001), errno.ERANGE, "integer out of range", {2: 28, 4: RANGE}),
        (pair("a", 0), errno.ERANGE, "integer out of range", {2: 28, 4: RANGE}),
        (pair("a" * 16, 1), errno.EINVAL, "Attribute failed policy validation", {2: 20}),
        (attribute(NAME, b"abc"), errno.EINVAL, "Attribute failed policy validation", {2: 20}),
        (pair("a", 1) + attribute(NOTE, b"x"), errno.EINVAL, "notes are not kept", {2: 36}),
        (pair("a", 1) + attribute(9, b"x"), errno.EINVAL, "Unknown attribute type", {2: 36}),
        (pair("a", 1) + b"abc", errno.EINVAL, "bytes leftover after parsing attributes", {}),
        (attribute(NAME, b"a\0") + attribute(VALUE, 1, 2), errno.EINVAL, "invalid attribute length", {2: 28}),
        (attribute(VALUE, 5), errno.EINVAL, "", {5: NAME}),
        (pair("a", 1) + attribute(LEVELS, b""), errno.EINVAL, "NLA_F_NESTED is missing", {2: 36}),
        (
            pair("a", 1) + attribute(LEVELS | NESTED, attribute(1, 1)),
            errno.EINVAL,
            "invalid attribute length",
            {2: 40},
        ),
    ],
)
def test_the_policy_refuses(kernel, body, error, text, told):
    found, said, more = Talk(kernel).ask(19, SET, body)
    assert (found, said) == (error, text)
    for kind, value in told.items():
        assert more[kind] == value if isinstance(value, bytes) else number(more[kind]) == value


def test_headers_are_checked(kernel):
    talk = Talk(kernel)
    assert talk.ask(19, SET, pair("a", 1), reserved=1)[:2] == (
        errno.EINVAL,
        "genlmsghdr.reserved field is not 0",
    )
    assert talk.ask(19, SET, pair("a", 1), flags=REQUEST | 0x800)[:2] == (
        errno.EINVAL,
        "ambiguous or reserved bits set in nlmsg_flags",
    )
    assert talk.ask(19, 77)[0] == errno.EOPNOTSUPP
    assert talk.ask(19, SET, flags=REQUEST | DUMP)[0] == errno.EOPNOTSUPP
    assert talk.ask(99, SET)[0] == errno.ENOENT


def fill(talk, count):
    for index in range(count):
        assert talk.ask(19, SET, pair(f"entry{index:03d}", index + 1), flags=REQUEST | ACK)[0] == 0


def test_a_dump_comes_in_parts_and_keeps_the_module(kernel):
    talk = Talk(kernel)
    fill(talk, 200)
    assert kernel.modules[0].refcnt == 0
    talk.send(19, GET, flags=REQUEST | DUMP)
    assert kernel.modules[0].refcnt == 1
    assert kernel.dmesg()[-1] == "genetlink: a dump of 200 entries begins"
    with pytest.raises(KernelError):
        kernel.rmmod("genetlink")
    talk.send(19, GET, flags=REQUEST | DUMP)  # one at a time
    parts = []
    while (part := talk.receive())[-1][0] != 3:
        parts.append(part)
    [(kind, _, payload)] = parts.pop(1)
    assert (kind, payload[:4]) == (2, struct.pack("<i", -errno.EBUSY))
    assert [len(part) for part in parts] == [186, 14]  # as much as this program takes at once
    names = [attributes(payload[4:])[NAME] for part in parts for _, _, payload in part]
    assert names == [b"entry%03d\0" % index for index in range(200)]
    assert part == [(3, MULTI, bytes(4))]
    assert kernel.dmesg()[-1] == "genetlink: a dump ends after 200 entries"
    kernel.rmmod("genetlink")


def test_a_socket_closed_in_a_dump_ends_it(kernel):
    talk = Talk(kernel)
    fill(talk, 200)
    talk.send(19, GET, flags=REQUEST | DUMP)
    talk.process.close(talk.fd)
    assert kernel.dmesg()[-1].startswith("genetlink: a dump ends after ")
    assert kernel.modules[0].refcnt == 0
    kernel.rmmod("genetlink")


def test_nothing_is_left_behind():
    kernel = Kernel()
    before = kernel.held()
    kernel.insmod(samples.path("genetlink"))
    talk = Talk(kernel)
    fill(talk, 3)
    talk.send(19, GET, flags=REQUEST | DUMP)
    talk.receive(), talk.receive()
    talk.ask(19, SET, pair("a", 5000))
    talk.process.exit()
    kernel.rmmod("genetlink")
    assert kernel.held() == before


def test_asking_for_a_family_loads_its_module(tmp_path):
    release = Kernel().profile.release
    tree = tmp_path / "lib/modules" / release
    tree.mkdir(parents=True)
    (tree / "genetlink.ko").write_bytes(samples.path("genetlink").read_bytes())
    (tree / "modules.builtin").write_text("")
    (tree / "modules.order").write_text("genetlink.ko\n")
    from click.testing import CliRunner

    from kmod_emu.cli.main import main

    assert CliRunner().invoke(main, ["depmod", "-b", str(tmp_path), release]).exit_code == 0
    kernel = Kernel(modules=tree)
    talk = Talk(kernel)
    talk.send(CTRL, GETFAMILY, attribute(2, b"kmod_emu_demo\0"))
    assert number(attributes(talk.receive()[0][2][4:])[1]) == 19
    assert [module.name for module in kernel.modules] == ["genetlink"]
