"""Files of modules in debugfs, by the sample `debugfs`."""

import errno
import os

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.fs.debugfs import Debugfs

DEMO = "/sys/kernel/debug/kmod_emu_demo"


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("debugfs"))
    return kernel


def write(kernel, name, data):
    with kernel.process() as process:
        return process.write(process.open(f"{DEMO}/{name}", os.O_WRONLY), data)


def refusal(call, *arguments):
    with pytest.raises(KernelError) as caught:
        call(*arguments)
    return errno.errorcode[caught.value.errno]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("packets", b"17\n"),
        ("mask", b"0x0000beef\n"),
        ("verbose", b"Y\n"),
        ("blob", b"raw bytes"),
        ("level", b"level 3\n"),
        ("state", b"packets 17, level 3\n"),
        ("link", b"17\n"),
    ],
)
def test_what_files_show(kernel, name, text):
    assert kernel.cat(f"{DEMO}/{name}") == text


def test_variables_are_set(kernel):
    assert write(kernel, "packets", b"0x20\n") == 5
    assert write(kernel, "verbose", b"n\n") == 2
    assert kernel.cat(f"{DEMO}/state") == b"packets 32, level 3\n"
    assert refusal(write, kernel, "packets", b"many") == "EINVAL"
    kernel.rmmod("debugfs")
    assert kernel.dmesg()[-1] == "debugfs: packets 32, verbose 0"


def test_a_number_behind_functions(kernel):
    assert write(kernel, "level", b"5") == 1
    assert kernel.dmesg()[-1] == "debugfs: level 5"
    assert kernel.cat(f"{DEMO}/level") == b"level 5\n"
    assert refusal(write, kernel, "level", b"10") == "ERANGE"


def test_what_cannot_be_written(kernel):
    assert refusal(write, kernel, "mask", b"1") == "EINVAL"  # root may open it, but there is no write
    user = kernel.process(uid=1000, gid=1000)
    assert refusal(user.open, f"{DEMO}/packets", os.O_RDONLY) == "EACCES"  # debugfs is root's


def test_a_second_directory_is_refused(kernel):
    lines = kernel.dmesg()
    assert "debugfs: Directory 'kmod_emu_demo' with parent '/' already present!" in lines
    assert lines[-1] == "debugfs: a second one is refused: -EEXIST"


def test_an_open_file_holds_the_module(kernel):
    with kernel.process() as process:
        process.open(f"{DEMO}/state", os.O_RDONLY)
        assert kernel.modules[0].refcnt == 1
    assert kernel.modules[0].refcnt == 0


def test_rmmod_gives_everything_back(kernel):
    kernel.cat(f"{DEMO}/state")
    kernel.rmmod("debugfs")
    before = kernel.held()
    kernel.insmod(samples.path("debugfs"))
    kernel.cat(f"{DEMO}/state")
    kernel.rmmod("debugfs")
    assert kernel.held() == before
    assert kernel[Debugfs].by_address == {}


def test_it_survives_saving(kernel, tmp_path):
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    assert again.cat(f"{DEMO}/state") == b"packets 17, level 3\n"
    again.rmmod("debugfs")
    assert refusal(again.cat, f"{DEMO}/state") == "ENOENT"


def test_a_restored_machine_gives_the_same_dentries_again():
    """Those above a module's own stayed in memory that was free again."""
    kernel = Kernel()
    snapshot, made = kernel.snapshot(), []
    for _ in range(2):
        before = set(kernel.heap.live)
        kernel.insmod(samples.path("debugfs"))
        made.append(sorted(set(kernel.heap.live) - before))
        kernel.restore(snapshot)
    assert made[0] == made[1]
