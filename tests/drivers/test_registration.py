"""What modules register: each kind once, twice, and not taken back. The log is what Debian's 6.1 said."""

import errno
import os

import pytest

from kmod_emu import Kernel, samples

BUSES = ("acpi", "pci", "pnp", "serio")
ONCE = """\
pci: 0
acpi: 0
pnp: 0
serio: 0
auxiliary: 0
fs: 0
nls: 0
ldisc: 0
Key type skeleton registered
key: 0
qdisc: 0
congestion: 0
NET: Registered PF_CAIF protocol family
family: 0
alg: No test for skeleton (skeleton-bare)
hash: 0
major: 254
sysctl: taken
a namespace comes, the first
pernet: 0
processor 0 is there
state: a number""".splitlines()
TWICE = """\
Error: Driver 'skeleton' is already registered, aborting...
pci again: -16
Error: Driver 'skeleton' is already registered, aborting...
acpi again: -16
Error: Driver 'skeleton' is already registered, aborting...
pnp again: -16
Error: Driver 'skeleton' is already registered, aborting...
serio: driver_register() failed for skeleton, error: -16
serio again: -16
Error: Driver 'skeletons.bone' is already registered, aborting...
auxiliary again: -16
fs again: -16
nls again: -16
ldisc again: 0
qdisc again: -17
TCP: skeleton already registered or non-unique key
congestion again: -17
NET: Registered PF_CAIF protocol family
family again: -17
hash again: -17
register_blkdev: cannot get major 254 for skeleton
major again: -16
sysctl duplicate entry: /dev/skeleton/value""".splitlines()
GONE = ["a namespace goes, 7", "Key type skeleton unregistered", "NET: Unregistered PF_CAIF protocol family"]


@pytest.fixture
def kernel():
    return Kernel()


def text(kernel, path):
    return kernel.cat(path).decode()


def names(kernel, path):
    with kernel.process() as process:
        return set(process.listdir(path))


def put(kernel, path, data):
    with kernel.process() as process:
        process.write(process.open(path, os.O_WRONLY), data)


def test_each_kind_is_registered_once_and_gone_again(kernel):
    before = kernel.held()
    kernel.insmod(samples.path("skeletons"))
    assert kernel.dmesg()[2:] == ONCE
    held = kernel.held()
    assert held["registrations"] > before["registrations"]
    kernel.rmmod("skeletons")
    assert kernel.dmesg()[2 + len(ONCE) :] == GONE
    assert kernel.held() == before


def test_a_second_time_is_refused_as_the_real_kernel_refuses(kernel):
    kernel.insmod(samples.path("skeletons"), "twice=1")
    lines = kernel.dmesg()[2 + len(ONCE) :]
    assert lines[: len(TWICE)] == TWICE
    assert lines[-1] == "sysctl again: refused"
    kernel.rmmod("skeletons")
    assert kernel.findings.reports == []


def test_what_is_registered_is_shown(kernel):
    kernel.insmod(samples.path("skeletons"))
    assert text(kernel, "/proc/filesystems").endswith("nodev\tpstore\nnodev\tskelfs\n")
    assert text(kernel, "/proc/devices").endswith("\nBlock devices:\n254 skeleton\n259 blkext\n")
    paragraph = text(kernel, "/proc/crypto").partition("\n\n")[0]
    assert paragraph == (
        "name         : skeleton\ndriver       : skeleton-bare\nmodule       : skeletons\n"
        "priority     : 100\nrefcnt       : 1\nselftest     : passed\ninternal     : no\n"
        "type         : shash\nblocksize    : 1\ndigestsize   : 4"
    )
    for bus in BUSES:
        assert "skeleton" in names(kernel, f"/sys/bus/{bus}/drivers")
    assert names(kernel, "/sys/bus/pci/drivers/skeleton") >= {"bind", "unbind", "uevent", "module"}
    links = names(kernel, "/sys/module/skeletons/drivers")
    assert links == {"auxiliary:skeletons.bone", "pci:skeleton", "serio:skeleton"}
    kernel.rmmod("skeletons")
    assert "skel" not in text(kernel, "/proc/filesystems") + text(kernel, "/proc/crypto")
    assert "skeleton" not in names(kernel, "/sys/bus/pci/drivers") | names(kernel, "/proc/sys/dev")


def test_sysctls_are_read_and_written_by_their_own_rules(kernel):
    kernel.insmod(samples.path("skeletons"))
    value, words = "/proc/sys/dev/skeleton/value", "/proc/sys/dev/skeleton/text"
    assert (text(kernel, value), text(kernel, words)) == ("42\n", "bone\n")
    put(kernel, value, b"77\n")
    put(kernel, words, b"longertext\n")
    with pytest.raises(OSError, match="Invalid argument"):
        put(kernel, value, b"101\n")
    assert (text(kernel, value), text(kernel, words)) == ("77\n", "longert\n")


def test_what_is_not_taken_back_is_told_at_rmmod(kernel):
    kernel.insmod(samples.path("skeletons"), "forget=1")
    kernel.rmmod("skeletons")
    told = " ".join(report["text"] for report in kernel.findings.reports)
    assert "a file system behind" in told
    assert "exit must call unregister_filesystem()" in told
    assert "a driver behind" in told
    assert len(kernel.findings.reports) == 2


def test_it_is_part_of_a_saved_machine(kernel, tmp_path):
    kernel.insmod(samples.path("skeletons"))
    before = kernel.held()
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    assert again.held() == before
    assert "skelfs" in text(again, "/proc/filesystems")
    assert text(again, "/proc/sys/dev/skeleton/value") == "42\n"
    again.rmmod("skeletons")
    assert "skelfs" not in text(again, "/proc/filesystems")
    assert again.held()["registrations"] == 0


def test_a_file_system_of_a_module_cannot_be_mounted_and_says_so(kernel):
    kernel.insmod(samples.path("skeletons"))
    with kernel.process() as process:
        words = [process.put(word) for word in (b"none\0", b"/tmp\0", b"skelfs\0", b"nothing\0")]
        assert process.syscall("mount", words[0], words[1], words[2], 0, 0) == -errno.ENOSYS
        assert process.syscall("mount", words[0], words[1], words[3], 0, 0) == -errno.ENODEV


def test_a_workqueue_that_goes_takes_no_thread_but_its_own(kernel):
    """Destroying one without a rescuer ended the idle task."""
    kernel.insmod(samples.path("deferred"))
    before = {task.comm for task in kernel.tasks.by_pid.values()}
    kernel.rmmod("deferred")
    assert "swapper/0" in {task.comm for task in kernel.tasks.by_pid.values()} & before
    kernel.sleep(1)
