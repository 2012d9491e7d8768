"""Credentials: modules read and change them in guest memory, and the kernel goes by what is there."""

import pytest

from kmod_emu.uapi.capability import ALL_CAPABILITIES, CAP_SYS_MODULE


@pytest.fixture
def task(guest):
    return guest.user_task(uid=1000, gid=100)


@pytest.fixture
def call(guest, task):
    return lambda name, *arguments: guest.as_task(task, name, *arguments)


@pytest.fixture
def cred(kernel, task):
    """The task's credentials, as they are now."""
    return lambda: kernel.view("cred", kernel.view("task_struct", task.address).cred)


def test_who_a_task_is_lies_in_its_cred(kernel, task, cred):
    assert (cred().uid, cred().euid, cred().fsgid, cred().cap_effective) == (1000, 1000, 100, 0)
    assert cred().user_ns == kernel.symbol("init_user_ns")
    cred().euid = 0
    cred().cap_effective = 1 << CAP_SYS_MODULE
    assert (task.uid, task.gid, task.capable(CAP_SYS_MODULE)) == (0, 100, True)


def test_committed_credentials_count_at_once(kernel, task, call, cred):
    held = kernel.held()
    new = kernel.view("cred", call("prepare_creds"))
    assert (new.uid, new.usage) == (1000, 1)
    new.uid = new.euid = 7
    assert task.uid == 1000
    assert call("commit_creds", new.address) == 0
    assert (task.uid, cred().address, cred().usage) == (7, new.address, 2)
    assert kernel.held() == held  # the old ones are freed


def test_the_kernel_s_own_credentials_are_root_s(kernel, task, call):
    call("commit_creds", call("prepare_kernel_cred", 0))
    assert (task.uid, task.gid, task.capabilities) == (0, 0, ALL_CAPABILITIES)


def test_prepared_credentials_may_be_thrown_away(kernel, call, task):
    held = kernel.held()
    call("abort_creds", call("prepare_creds"))
    assert (task.uid, kernel.held()) == (1000, held)


def test_credentials_for_a_while(kernel, task, call):
    held = kernel.held()
    root = call("prepare_kernel_cred", 0)
    old = call("override_creds", root)
    assert task.uid == 0
    call("revert_creds", old)
    call("abort_creds", root)
    assert (task.uid, kernel.held()) == (1000, held)


def test_a_task_gives_its_credentials_back(kernel, guest):
    held = kernel.held()
    task = kernel.tasks.create("gone", uid=5)
    kernel.tasks.exit(task)
    assert (task.uid, kernel.held()) == (5, held)


def test_a_reference_keeps_credentials_alive(kernel, guest):
    task = kernel.tasks.create("gone", uid=5)
    address = guest.export("get_task_cred", task.address)
    kernel.tasks.exit(task)
    assert (kernel.view("cred", address).uid, kernel.view("cred", address).usage) == (5, 1)


def test_in_the_only_namespace_numbers_mean_themselves(kernel, guest):
    namespace = kernel.symbol("init_user_ns")
    for name in ("make_kuid", "make_kgid", "from_kuid", "from_kgid", "from_kuid_munged"):
        assert guest.export(name, namespace, 1000) == 1000
    assert guest.export("from_kuid", namespace, 0xFFFF_FFFF) == 0xFFFF_FFFF
    assert guest.export("from_kgid_munged", namespace, 0xFFFF_FFFF) == 65534


@pytest.mark.parametrize("release", ["5.10", "6.1", "6.12", "7.2"])
def test_utsname(release):
    """As the inlined utsname() of the release finds it."""
    from kmod_emu import Kernel

    kernel = Kernel(release)
    namespace = kernel.view("nsproxy", kernel.view("task_struct", kernel.tasks.init.address).nsproxy).uts_ns
    assert namespace == kernel.symbol("init_uts_ns")
    name = namespace + (4 if release == "5.10" else 0)
    assert kernel.memory.read_cstring(name + 2 * 65).decode() == kernel.profile.release
    with kernel.process() as process:
        process.syscall("sethostname", process.put(b"new"), 3)
        place = process.put(bytes(390))
        process.syscall("uname", place)
        assert process.get(place + 65, 4) == b"new\0"
    assert kernel.memory.read_cstring(name + 65) == b"new"


def test_print_hex_dump(kernel, guest):
    data, level, prefix = guest.data(bytes(range(0x30, 0x44))), guest.text("\x016"), guest.text("it: ")
    lines = len(kernel.dmesg())
    guest.export("print_hex_dump", level, prefix, 2, 16, 1, data, 20, 1)
    guest.export("print_hex_dump", level, prefix, 0, 32, 4, data, 20, 0)
    assert kernel.dmesg()[lines:] == [
        "it: 00000000: 30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f  0123456789:;<=>?",
        "it: 00000010: 40 41 42 43                                      @ABC",
        "it: 33323130 37363534 3b3a3938 3f3e3d3c 43424140",
    ]


def test_nobody_has_a_terminal(call):
    assert call("get_current_tty") == 0


@pytest.mark.parametrize(
    ("release", "allowed"), [("5.10", True), ("6.1", True), ("6.12", False), ("7.2", False)]
)
def test_the_kernel_s_credentials_for_nobody_are_refused_since_6_2(release, allowed):
    from kmod_emu import Kernel, KernelError

    kernel = Kernel(release)
    task = kernel.tasks.create("rootkit", uid=1000)

    def call(name, argument):
        return kernel.sched.run(task, kernel.call_guest(kernel.symbol(name), argument))

    new = call("prepare_kernel_cred", 0)
    if allowed:
        call("commit_creds", new)
        assert (task.uid, task.capabilities) == (0, ALL_CAPABILITIES)
    else:
        assert new == 0
        assert any("prepare_kernel_cred+0x1ae/0x1f0" in line for line in kernel.dmesg())
        with pytest.raises(KernelError, match="Interrupted"):
            call("commit_creds", new)


def test_groups_of_a_task_as_modules_see_them(kernel, guest, task, call):
    info = call("groups_alloc", 2)
    kernel.view("group_info", info)
    kernel.memory.write(info + 8, b"\x3c\0\0\0\x32\0\0\0")  # 60, 50
    call("groups_sort", info)
    assert call("set_current_groups", info) == 0
    assert task.groups == (50, 60)
    assert [call("in_group_p", gid) & 1 for gid in (50, 60, 100, 7)] == [1, 1, 1, 0]
    assert [call("in_egroup_p", gid) & 1 for gid in (50, 100, 7)] == [1, 1, 0]


def test_capabilities_of_other_tasks_and_of_openers(kernel, guest, task, call):
    root = guest.user_task(uid=0)
    assert [call("has_capability", t.address, CAP_SYS_MODULE) & 1 for t in (root, task)] == [1, 0]
    assert call("ns_capable_noaudit", kernel.symbol("init_user_ns"), CAP_SYS_MODULE) & 1 == 0
    file = guest.as_task(root, "filp_open", guest.text("/dev/kmsg"), 1, 0)
    assert call("file_ns_capable", file, kernel.symbol("init_user_ns"), CAP_SYS_MODULE) & 1
