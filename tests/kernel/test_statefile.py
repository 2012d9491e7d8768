"""The file of a saved machine: it is whole, the old machine or the new one, or it is refused."""

import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.kernel import statefile
from kmod_emu.kernel.statefile import StateFile
from kmod_emu.uapi import errno

# Children write two machines in turn until they are killed; after each kill the file has to be one of them.
KILLS = """
import os, random, signal, sys, time
from kmod_emu.kernel import statefile
from kmod_emu.kernel.statefile import StateFile

path, kills = sys.argv[1], int(sys.argv[2])
states = [({"number": number}, {"text": str(number) * 5000}, bytes([number]) * 30_000) for number in (0, 1)]
statefile.write(path, *states[0])
random.seed(1)
seen = set()
for _ in range(kills):
    child = os.fork()
    if not child:
        while True:
            for state in states:
                statefile.write(path, *state)
    time.sleep(random.random() / 100)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    file = StateFile(path)
    assert (file.notes, file.tables, file.pages) in states, "neither the old nor the new"
    seen.add(file.notes["number"])
print(len(seen))
"""


@pytest.fixture
def saved(tmp_path):
    """A small file, as a machine's is built."""
    path = tmp_path / "machine"
    statefile.write(path, {"release": "6.1"}, {"fingerprint": "f", "subsystems": {}}, b"pages" * 50)
    return path


def parts(path):
    """All that a file holds."""
    file = StateFile(path)
    return file.notes, file.tables, file.pages


def refusal(path) -> str:
    """The sentence with which a file is refused, whichever part is asked for."""
    with pytest.raises(KernelError) as refused:
        parts(path)
    assert refused.value.errno == errno.EINVAL
    return refused.value.explanation


def test_a_writer_that_is_killed_leaves_a_whole_machine(tmp_path):
    command = [sys.executable, "-c", KILLS, str(tmp_path / "machine"), "40"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_byte_that_changes_is_noticed(saved):
    contents = saved.read_bytes()
    for place in range(len(contents)):
        changed = bytearray(contents)
        changed[place] ^= 1 << place % 8
        saved.write_bytes(changed)
        assert refusal(saved)


def test_each_file_that_was_cut_off_is_noticed(saved):
    contents = saved.read_bytes()
    for length in range(len(contents)):
        saved.write_bytes(contents[:length])
        assert refusal(saved)


@pytest.mark.parametrize("version", [0, 4, statefile.VERSION + 1])
def test_another_version_is_refused_with_both_numbers(saved, version):
    contents = bytearray(saved.read_bytes())
    struct.pack_into("<I", contents, len(statefile.MAGIC), version)
    saved.write_bytes(contents)
    assert f"was saved in format {version}, this program reads {statefile.VERSION}" in refusal(saved)


def sealed(lengths: tuple[int, int], rest: bytes) -> bytes:
    """A file whose checksum is right."""
    rest = struct.pack("<QQ", *lengths) + rest
    return statefile.MAGIC + struct.pack("<II", statefile.VERSION, zlib.crc32(rest)) + rest


@pytest.mark.parametrize("section", [b"", b"garbage", zlib.compress(b"[]"), zlib.compress(b"[" * 100_000)])
def test_a_right_checksum_is_not_believed(tmp_path, section):
    path = tmp_path / "machine"
    path.write_bytes(sealed((len(section), len(section)), section * 3))
    assert "is damaged, or was saved by another version" in refusal(path)


def test_lengths_beyond_the_file_are_wrong(tmp_path):
    path = tmp_path / "machine"
    path.write_bytes(sealed((1 << 63, 1 << 63), zlib.compress(b"{}") * 3))
    assert "is damaged, or was saved by another version" in refusal(path)


def test_a_section_that_unpacks_without_end_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(statefile, "_LARGEST", 1 << 16)
    path = tmp_path / "machine"
    statefile.write(path, {}, {}, bytes(1 << 17))
    assert "is damaged, or was saved by another version" in refusal(path)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A saved machine, in parts."""
    path = tmp_path_factory.mktemp("saved") / "machine"
    kernel = Kernel()
    kernel.insmod(samples.path("hello"))
    kernel.save(path)
    return path, *parts(path)


OTHER = st.sampled_from([None, True, 0, -1, 1 << 64, "", "x", [], {}, [[]], 0.5])


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tables_that_make_no_sense_are_refused(machine, data):
    """What a file holds decides nothing but whether there is a machine: no exception of another kind."""
    path, notes, tables, pages = machine
    tables = json.loads(json.dumps(tables))
    here = tables["subsystems"]
    while True:
        keys = sorted(here) if isinstance(here, dict) else range(len(here))
        key = data.draw(st.sampled_from(keys))
        if isinstance(here[key], (dict, list)) and here[key] and data.draw(st.booleans()):
            here = here[key]
            continue
        here[key] = data.draw(OTHER)
        break
    wrong = path.with_name(f"wrong{os.getpid()}")
    statefile.write(wrong, notes, tables, pages)
    with suppress(KernelError):
        Kernel.load(wrong)


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p[: 1 << 10], lambda p: b"\xff" + p[1:]])
def test_pages_that_make_no_sense_are_refused(machine, tmp_path, change):
    _, notes, tables, pages = machine
    wrong = tmp_path / "wrong"
    statefile.write(wrong, notes, tables, change(pages))
    with pytest.raises(KernelError, match="Invalid argument"):
        Kernel.load(wrong)


def test_a_full_disk_leaves_the_machine_as_it_was(saved):
    """The largest file allowed stands for it; the directory keeps nothing of the attempt."""
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            statefile.write(saved, {}, {}, os.urandom(1 << 16))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]
