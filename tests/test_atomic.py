"""Files are replaced as a whole; what is no file is written to."""

import os
import subprocess
import sys

import pytest

from kmod_emu import atomic


def test_a_file_is_replaced_and_a_link_to_it_stays(tmp_path):
    (tmp_path / "real").write_bytes(b"old and longer")
    (tmp_path / "link").symlink_to("real")
    atomic.write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_who_may_read_it(tmp_path):
    before = os.umask(0o027)
    try:
        atomic.write(tmp_path / "new", b"")
        (tmp_path / "old").touch(0o604)
        (tmp_path / "old").chmod(0o604)
        atomic.write(tmp_path / "old", b"")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "old")] == [0o640, 0o604]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError) as failure:
        atomic.write(tmp_path / "nowhere/x", b"")
    assert failure.value.filename == str(tmp_path / "nowhere/x")
    assert list(tmp_path.iterdir()) == []


def test_what_is_open_is_not_replaced(tmp_path):
    """As root, --ktap /dev/stdout once left a regular file called /dev/stdout on the computer."""
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    atomic.write(tmp_path / "fifo", b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    program = (
        "from kmod_emu import atomic; print('before', flush=True); atomic.write('/proc/self/fd/1', b'x')"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"before\nx"
