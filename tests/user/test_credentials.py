"""Real, effective, saved and file-system ids, groups and capabilities, as kernel/sys.c changes them."""

import errno
import os
import struct

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.uapi.capability import ALL_CAPABILITIES, CAP_CHOWN, CAP_KILL
from tests.user.conftest import needs_busybox, needs_gcc

ROOT, ALICE, BOB = 0, 1000, 1001


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def root(kernel):
    return kernel.process(uid=0)


@pytest.fixture
def alice(kernel):
    return kernel.process(uid=ALICE, gid=ALICE)


def ids(process, kind="uid"):
    place = process.put(bytes(12))
    assert process.syscall(f"getres{kind}", place, place + 4, place + 8) == 0
    return (*struct.unpack("<3I", process.get(place, 12)), process.task.who(f"fs{kind}"))


def capabilities(process, pid=0):
    """(effective, permitted, inheritable)."""
    header, data = process.put(struct.pack("<Ii", 0x2008_0522, pid)), process.put(bytes(24))
    result = process.syscall("capget", header, data)
    if result:
        return result
    words = struct.unpack("<6I", process.get(data, 24))
    return tuple(words[kind] | words[kind + 3] << 32 for kind in range(3))


def capset(process, effective, permitted, inheritable=0):
    sets = (effective, permitted, inheritable)
    words = [mask >> shift & 0xFFFF_FFFF for shift in (0, 32) for mask in sets]
    header, data = process.put(struct.pack("<Ii", 0x2008_0522, 0)), process.put(struct.pack("<6I", *words))
    return process.syscall("capset", header, data)


def setgroups(process, *gids):
    return process.syscall("setgroups", len(gids), process.put(struct.pack(f"<{len(gids)}I", *gids)))


# --- user and group ids ---------------------------------------------------------------------------------


def test_root_becomes_somebody_for_good(root):
    assert root.syscall("setuid", ALICE) == 0
    assert ids(root) == (ALICE,) * 4
    assert capabilities(root)[:2] == (0, 0)
    assert root.syscall("setuid", ROOT) == -errno.EPERM
    assert root.syscall("setuid", ALICE) == 0


def test_a_saved_id_is_the_way_back(root):
    assert root.syscall("setresuid", -1, ALICE, -1) == 0
    assert ids(root) == (ROOT, ALICE, ROOT, ALICE)
    assert capabilities(root)[:2] == (0, ALL_CAPABILITIES)
    assert root.syscall("setuid", BOB) == -errno.EPERM
    assert root.syscall("setuid", ROOT) == 0
    assert capabilities(root)[0] == ALL_CAPABILITIES


def test_setreuid_changes_the_saved_id_with_the_real_one(root):
    assert root.syscall("setreuid", ALICE, BOB) == 0
    assert ids(root) == (ALICE, BOB, BOB, BOB)
    assert root.syscall("setreuid", BOB, ALICE) == 0  # swapping is everybody's right
    assert ids(root) == (BOB, ALICE, ALICE, ALICE)
    assert root.syscall("setreuid", -1, ROOT) == -errno.EPERM
    assert root.syscall("setreuid", ALICE, -1) == 0
    assert ids(root) == (ALICE, ALICE, ALICE, ALICE)


def test_groups_of_ids_go_the_same_way(root, alice):
    assert root.syscall("setresgid", 5, 6, 7) == 0
    assert ids(root, "gid") == (5, 6, 7, 6)
    assert (root.syscall("getgid"), root.syscall("getegid")) == (5, 6)
    assert root.syscall("setregid", 8, 9) == 0
    assert ids(root, "gid") == (8, 9, 9, 9)
    assert alice.syscall("setgid", 5) == -errno.EPERM
    assert alice.syscall("setresgid", -1, ALICE, -1) == 0


@pytest.mark.parametrize("call", ["setuid", "setgid"])
def test_minus_one_is_nobody(root, call):
    assert root.syscall(call, 0xFFFF_FFFF) == -errno.EINVAL


def test_fsuid_is_changed_alone_and_the_old_one_answered(root, alice):
    assert root.syscall("setfsuid", ALICE) == ROOT
    assert root.syscall("setfsuid", -1) == ALICE
    assert (root.syscall("geteuid"), capabilities(root)[0] & 1 << CAP_CHOWN) == (0, 0)
    assert capabilities(root)[0] & 1 << CAP_KILL
    assert root.syscall("setfsuid", ROOT) == ALICE
    assert capabilities(root)[0] == ALL_CAPABILITIES
    assert alice.syscall("setfsuid", ROOT) == ALICE
    assert alice.syscall("setfsgid", BOB) == ALICE
    assert ids(alice)[3] == ALICE


def test_files_are_used_as_fsuid_and_made_by_it(root):
    root.mkdir("/tmp/d", 0o700)
    root.syscall("setfsuid", ALICE)
    with pytest.raises(KernelError, match="Permission denied"):
        root.open("/tmp/d/f", os.O_CREAT | os.O_WRONLY)
    root.open("/tmp/mine", os.O_CREAT | os.O_WRONLY)
    assert root.stat("/tmp/mine").uid == ALICE


def test_access_asks_for_the_real_user(root):
    root.open("/tmp/secret", os.O_CREAT, 0o600)
    root.chmod("/tmp/secret", 0o600)
    root.syscall("setresuid", ALICE, ROOT, ROOT)
    with pytest.raises(KernelError, match="Permission denied"):
        root.access("/tmp/secret", os.R_OK)
    assert root.open("/tmp/secret") > 0
    place = root.put(b"/tmp/secret\0")
    assert root.syscall("faccessat2", -100, place, 4, 0x200) == 0  # AT_EACCESS


def test_a_supplementary_group_opens_files(root, alice):
    fd = root.open("/tmp/shared", os.O_CREAT | os.O_WRONLY)
    root.chown("/tmp/shared", 0, 50)
    root.chmod("/tmp/shared", 0o640)
    root.close(fd)
    assert setgroups(root, 70, 50, 60) == 0
    room = root.put(bytes(12))
    assert [root.syscall("getgroups", size, room) for size in (0, 2, 3, -1)] == [
        3,
        -errno.EINVAL,
        3,
        -errno.EINVAL,
    ]
    assert struct.unpack("<3I", root.get(room, 12)) == (50, 60, 70)
    root.syscall("setuid", ALICE)
    assert root.open("/tmp/shared") > 0
    with pytest.raises(KernelError, match="Permission denied"):
        alice.open("/tmp/shared")


def test_setgroups_checks(root, alice):
    assert setgroups(alice, 1) == -errno.EPERM
    assert root.syscall("setgroups", 65537, 0) == -errno.EINVAL
    assert root.syscall("setgroups", 2, 8) == -errno.EFAULT
    assert setgroups(root, 0xFFFF_FFFF) == -errno.EINVAL
    assert setgroups(root) == 0


def test_who_may_signal_whom(kernel, alice):
    bob = kernel.process(uid=BOB)
    assert alice.syscall("kill", bob.pid, 0) == -errno.EPERM
    bob.syscall("setreuid", BOB, BOB)
    helper = kernel.process(uid=ROOT)
    helper.syscall("setresuid", ALICE, ROOT, ROOT)
    assert alice.syscall("kill", helper.pid, 0) == 0  # its real user is alice


# --- capabilities ---------------------------------------------------------------------------------------


def test_capabilities_can_be_given_up_and_not_gained(root):
    some = 1 << CAP_KILL | 1 << CAP_CHOWN
    assert capset(root, some, some, 1 << CAP_KILL) == 0
    assert capabilities(root) == (some, some, 1 << CAP_KILL)
    assert capset(root, some, some | 1 << 21) == -errno.EPERM
    assert capset(root, 1 << CAP_KILL, 0) == -errno.EPERM
    assert capset(root, 0, some) == 0
    assert capset(root, some, some) == 0


def test_the_header_of_capget(root, alice):
    header, data = root.put(struct.pack("<Ii", 1, 0)), root.put(bytes(24))
    assert root.syscall("capget", header, 0) == 0
    assert struct.unpack("<I", root.get(header, 4))[0] == 0x2008_0522
    assert root.syscall("capget", root.put(struct.pack("<Ii", 1, 0)), data) == -errno.EINVAL
    assert root.syscall("capget", 8, data) == -errno.EFAULT
    assert capabilities(alice, pid=root.pid)[0] == ALL_CAPABILITIES
    assert capabilities(alice, pid=-5) == -errno.EINVAL
    assert capabilities(alice, pid=9999) == -errno.ESRCH


def test_capabilities_can_be_kept(kernel):
    process = kernel.process()
    process.syscall("prctl", 8, 1)
    process.syscall("setuid", ALICE)
    assert capabilities(process)[:2] == (0, ALL_CAPABILITIES)


# --- struct cred ----------------------------------------------------------------------------------------


def test_credentials_are_replaced_and_nothing_leaks(kernel, root):
    held, view = kernel.held(), kernel.tasks.view
    before = view(root.task).cred
    root.syscall("setuid", ALICE)
    assert view(root.task).cred == view(root.task).real_cred != before
    user = kernel.view("cred", view(root.task).cred).user
    assert kernel.view("user_struct", user).uid == ALICE
    other = kernel.process(uid=ALICE)
    assert kernel.view("cred", view(other.task).cred).user == user
    other.exit()
    root.exit()
    kernel.process().exit()
    assert kernel.held().keys() == held.keys()


def test_a_snapshot_knows_who_is_who(kernel, root):
    setgroups(root, 50)
    root.syscall("setresuid", ALICE, BOB, ROOT)
    before, task = kernel.snapshot(), root.task
    root.syscall("setuid", ROOT)
    setgroups(root)
    kernel.restore(before)
    assert [task.who(name) for name in ("uid", "euid", "suid", "fsuid")] == [ALICE, BOB, ROOT, BOB]
    assert task.groups == (50,)


# --- a module that makes root (sample whoami) -----------------------------------------------------------


def test_a_module_gives_root_away(kernel, alice):
    kernel.insmod(samples.path("whoami"))
    fd = alice.open("/dev/whoami", os.O_RDWR)
    assert alice.read(fd, 100) == b"sh uid=1000 euid=1000 gid=1000 groups=0 user=1000 admin=0 owner=1\n"
    alice.write(fd, b"root")
    assert ids(alice) == (ROOT,) * 4
    assert alice.pread(fd, 100, 0) == b"sh uid=0 euid=0 gid=0 groups=0 user=0 admin=1 owner=0\n"
    assert kernel.dmesg()[-1] == f"whoami: sh ({alice.pid}) is root now"
    alice.mknod("/dev/mine", 0o020666, 0)
    alice.exit()
    kernel.rmmod("whoami")


@needs_busybox
def test_the_backdoor_from_a_shell(shell):
    shell.kernel.insmod(samples.path("whoami"))
    # busybox runs `id` inside the shell, as the user whom that knew when it started.
    script = "id -u; cat /dev/whoami; echo root > /dev/whoami; sh -c 'id -u'; cat /dev/whoami"
    lines = shell.sh(script, uid=ALICE).stdout.decode().splitlines()
    assert lines == [
        "1000",
        "cat uid=1000 euid=1000 gid=0 groups=0 user=1000 admin=0 owner=1",
        "0",
        "cat uid=0 euid=0 gid=0 groups=0 user=0 admin=1 owner=1",
    ]


@needs_gcc
def test_a_set_user_id_program(shell, compile_c):
    program = compile_c(
        r"""
        #include <stdio.h>
        #include <sys/auxv.h>
        #include <unistd.h>
        int main(void) {
          uid_t r, e, s; getresuid(&r, &e, &s);
          printf("%d %d %d %lu", r, e, s, getauxval(AT_SECURE));
          printf(" %d", setuid(0)); getresuid(&r, &e, &s); printf(" %d\n", r);
        }""",
        "-static",
    )
    shell.put("/bin/plain", program)
    shell.put("/bin/suid", program)
    with shell.kernel.process() as root:
        root.chmod("/bin/suid", 0o4755)
    assert shell.run("/bin/plain", uid=ALICE).stdout == b"1000 1000 1000 0 -1 1000\n"
    assert shell.run("/bin/suid", uid=ALICE).stdout == b"1000 0 0 1 0 0\n"
