"""Directories of the host on a distribution's kernel: programs with libraries, links, what is not to be."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from kmod_emu import KernelError
from kmod_emu.user.execute import STDOUT
from tests.user.conftest import BUSYBOX, needs_busybox


def _run(machine, *words):
    result = machine.userland.execute(words[0], words, stderr=STDOUT, time_limit=60)
    return result.status, result.stdout.decode("utf-8", "surrogateescape")


def test_the_hosts_own_programs_run_with_their_libraries(real):
    """A shell, ls and sha256sum as they are installed, dynamically linked."""
    program = Path(shutil.which("sha256sum")).resolve()
    real.userland.bind_sysroot(Path("/"))
    status, output = _run(real, "/bin/sh", "-c", f"ls -l {program} | cut -c1-10; sha256sum {program}; id -u")
    mode, digest, uid = output.splitlines()
    assert (status, mode, uid) == (0, "-rwxr-xr-x", "0")
    assert digest.split()[0] == hashlib.sha256(program.read_bytes()).hexdigest()
    assert not real.findings.reports


@pytest.fixture
def shown(real, tmp_path):
    """A directory of the host at /shown of a machine with a shell."""
    real.userland.install_busybox(BUSYBOX)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").write_bytes(b"0123456789" * 1000)
    os.symlink("inside/file", tmp_path / "link")
    os.symlink("/etc/hostname", tmp_path / "out")
    os.mkfifo(tmp_path / "pipe")
    real.userland.bind(tmp_path, "/shown", "ro")
    return lambda command: _run(real, "/bin/busybox", "sh", "-c", command)


@needs_busybox
def test_names_links_and_contents(shown, tmp_path):
    assert shown("ls -a /shown; readlink /shown/link; wc -c < /shown/link; tail -c 3 /shown/inside/file") == (
        0,
        ".\n..\ninside\nlink\nout\ninside/file\n10000\n789",
    )
    (tmp_path / "late").write_text("later\n")
    assert shown("cat /shown/late; ls /shown/none")[1].splitlines() == [
        "later",
        "ls: /shown/none: No such file or directory",
    ]


@needs_busybox
def test_a_link_does_not_lead_out_of_the_machine(real, shown):
    assert shown("cat /shown/out")[1] == shown("cat /etc/hostname")[1]


@needs_busybox
def test_nothing_of_it_can_be_changed(shown, tmp_path):
    status, output = shown(
        "echo x > /shown/inside/file; rm /shown/link; mount -o remount,rw /shown; echo x > /shown/new;"
        "mount -t hostfs / /mnt"
    )
    assert status == 255
    assert "rm: remove '/shown/link'? " not in output
    assert output.splitlines()[-1].startswith("mount: mounting / on /mnt failed: No such file or directory")
    assert sorted(os.listdir(tmp_path)) == ["inside", "link", "out", "pipe"]
    assert (tmp_path / "inside" / "file").stat().st_size == 10000


def test_a_file_is_no_place_for_a_directory(real, tmp_path):
    with pytest.raises(KernelError, match="Not a directory"):
        real.userland.bind(tmp_path, "/etc/passwd", "ro")
    with real.process() as process:
        assert process.stat("/etc/passwd").size


@needs_busybox
def test_a_saved_machine_has_nothing_of_the_host(real, shown, tmp_path):
    """What was read is in the kernel's cache; what was not, nobody gives it."""
    shown("cat /shown/inside/file > /dev/null")
    real.save(tmp_path / "machine.kmod")
    loaded = type(real).load(tmp_path / "machine.kmod")
    with loaded.process() as process, pytest.raises(KernelError, match="Input/output error"):
        process.open("/shown/late")
