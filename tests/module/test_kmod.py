"""request_module(): the kernel has modprobe load what a module asks for (SPEC D5, kernel/kmod.c)."""

import errno
import os
import shutil
import stat

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.errors import SleepsForever
from kmod_emu.kmod.index import build
from tests.conftest import RECORDINGS
from tests.kmod.beside import ours

RELEASE = Kernel().profile.release
FILES = [samples.path(name) for name in ("hello", "autoload", "oops_null", "ret_enodev")]
FILES += [RECORDINGS / "errno-cases" / f"{name}.ko" for name in ("h_exp", "h_use", "mi_vermagic_other")]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A module directory."""
    base = tmp_path_factory.mktemp("tree")
    path = base / "lib/modules" / RELEASE
    path.mkdir(parents=True)
    for file in FILES:
        shutil.copy(file, path)
    assert ours("depmod", "-b", str(base), RELEASE).status == 0
    return path


@pytest.fixture
def kernel(directory):
    return Kernel(modules=directory)


def ask(kernel, wanted, *params):
    """Load the sample with these parameters; what it says, and which modules are there then."""
    said = len(kernel.dmesg())
    kernel.insmod(samples.path("autoload"), " ".join([f"wanted={wanted}", *params]))
    lines = [line for line in kernel.dmesg()[said:] if "taint" not in line]
    return lines, [module.name for module in kernel.modules]


def returns(wanted, result):
    return f'autoload: request_module("{wanted}") returns {result}'


def test_by_name_while_the_asking_module_waits(kernel):
    lines, modules = ask(kernel, "hello")
    assert lines == ["Hello world!", returns("hello", 0)]
    assert modules == ["hello", "autoload"]


def test_what_the_wanted_module_needs_comes_too(kernel):
    lines, modules = ask(kernel, "h-use")
    assert lines[-1] == returns("h-use", 0)
    assert modules == ["h_use", "h_exp", "autoload"]


def test_what_is_there_already_is_enough(kernel):
    lines, _ = ask(kernel, "hello", "times=2")
    assert lines == ["Hello world!", returns("hello", 0), returns("hello", 0)]


@pytest.mark.parametrize("wanted", ["nothing", "ret_enodev", "mi_vermagic_other", "a[", "-v"])
def test_the_status_of_a_modprobe_that_fails(kernel, wanted):
    lines, modules = ask(kernel, wanted)
    assert lines[-1] == returns(wanted, 256)
    assert modules == ["autoload"]


def test_without_waiting_it_comes_later(kernel):
    lines, _ = ask(kernel, "hello", "wait=0")
    assert lines[0] == returns("hello", 0)
    kernel.sleep(1)
    assert [module.name for module in kernel.modules] == ["hello", "autoload"]


def test_an_oops_kills_modprobe_not_the_asker(kernel):
    lines, modules = ask(kernel, "oops_null")
    assert lines[-1] == returns("oops_null", 9)
    assert modules == ["oops_null", "autoload"]


@pytest.mark.parametrize(
    ("length", "result"), [(55, 256), (56, -errno.ENAMETOOLONG), (500, -errno.ENAMETOOLONG)]
)
def test_names_have_a_longest(kernel, length, result):
    assert ask(kernel, "x" * length)[0] == [returns("x" * length, result)]


@pytest.mark.parametrize("path", ["", "/bin/other"])
def test_the_helper_can_be_switched_off(kernel, path):
    with kernel.process() as process:
        fd = process.open("/proc/sys/kernel/modprobe", 1)
        process.write(fd, f"{path}\n".encode())
    assert ask(kernel, "hello") == ([returns("hello", -errno.ENOENT)], ["autoload"])


def test_a_machine_without_modules():
    assert ask(Kernel(), "hello") == ([returns("hello", 256)], ["autoload"])


def test_a_module_that_waits_for_itself_waits_for_ever(kernel):
    with pytest.raises(SleepsForever):
        ask(kernel, "kmod-emu-autoload-7")


def test_fifty_at_a_time(kernel):
    """The fifty-first is held back, and given up after five seconds."""
    from kmod_emu.module.kmod import Kmod

    kernel[Kmod]._running = 50
    before = kernel.clock.now_ns
    lines, _ = ask(kernel, "hello")
    assert lines == [
        "request_module: kmod_concurrent_max (0) close to 0 (max_modprobes: 50), "
        "for module hello, throttling...",
        "request_module: modprobe hello cannot be processed, kmod busy with 50 threads "
        "for more than 5 seconds now",
        returns("hello", -errno.ETIME),
    ]
    assert kernel.clock.now_ns - before >= 5_000_000_000


def test_who_asks_and_who_answers_are_events(kernel):
    events = []
    kernel.events.listen(events.append)
    ask(kernel, "hello")
    told = {event.name: event.detail for event in events if event.name.startswith("request_module")}
    assert (told["request_module"]["name"], told["request_module"]["comm"]) == ("hello", "insmod")
    assert told["request_module_result"]["result"] == 0


def test_the_directory_is_kept_with_the_machine(kernel, tmp_path):
    kernel.save(tmp_path / "machine.kmod")
    assert ask(Kernel.load(tmp_path / "machine.kmod"), "hello")[1] == ["hello", "autoload"]


def test_modprobe_processes_leave_nothing_behind(kernel):
    ask(kernel, "nothing")
    kernel.sleep(1)
    before = set(kernel.tasks.by_pid)
    kernel.rmmod("autoload")
    ask(kernel, "nothing", "times=5")
    kernel.sleep(1)
    assert set(kernel.tasks.by_pid) == before


def test_opening_a_device_that_nobody_serves_asks_for_its_driver(directory, tmp_path):
    shutil.copytree(directory, tmp_path / "modules")
    (tmp_path / "modules/modules.alias.bin").write_bytes(build([(b"char_major_99_*", b"hello", 0)]))
    kernel = Kernel(modules=tmp_path / "modules")
    with kernel.process() as process:
        process.mknod("/dev/nobody", stat.S_IFCHR | 0o600, os.makedev(99, 7))
        with pytest.raises(KernelError) as refused:
            process.open("/dev/nobody")
    assert refused.value.errno == errno.ENXIO
    assert [module.name for module in kernel.modules] == ["hello"]
