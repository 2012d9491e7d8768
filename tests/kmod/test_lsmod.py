"""Debian's lsmod, with the machine's /proc and /sys mounted over this computer's, prints what ours prints."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kmod_emu import Kernel, samples
from kmod_emu.kmod.lsmod import lsmod
from kmod_emu.uapi.stat import S_IFDIR, S_IFLNK, is_type
from tests.kmod.beside import KMOD, real_kmod

UNSHARE = ["unshare", "--map-root-user", "--mount"]
LSMOD = Path(KMOD).with_name("lsmod") if KMOD else None
MODULES = Path(__file__).parents[1] / "modules/6.1.0-56-amd64"
can_mount = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0,
    reason="nobody may mount anything here",
)


def copy(process, source: str, target: Path) -> None:
    """Copy a directory of the machine; of its files only those that lsmod reads, of links the names."""
    target.mkdir(parents=True)
    for name in process.listdir(source):
        path, mode = f"{source}/{name}", process.stat(f"{source}/{name}", follow_symlinks=False).mode
        if is_type(mode, S_IFDIR):
            copy(process, path, target / name)
        elif is_type(mode, S_IFLNK):
            target.joinpath(name).touch()
        elif name in ("coresize", "refcnt", "initstate"):
            target.joinpath(name).write_bytes(process.read(process.open(path, os.O_RDONLY), 4096))


@real_kmod
@can_mount
@pytest.mark.parametrize(
    "files",
    [
        [],
        [samples.path("hello")],
        [samples.path("params"), samples.path("echo"), samples.path("noexit")],
        [MODULES / "exporter.ko", MODULES / "importer.ko"],
    ],
)
def test_as_the_real_one(tmp_path, files):
    kernel = Kernel()
    for file in files:
        kernel.insmod(file)
    with kernel.process(comm="cp") as process:
        copy(process, "/sys/module", tmp_path / "sys/module")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/modules").write_bytes(kernel.cat("/proc/modules"))
    script = f"mount --bind proc /proc; mount --bind sys /sys; exec {LSMOD}"
    done = subprocess.run([*UNSHARE, "sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert lsmod(kernel) == done.stdout
