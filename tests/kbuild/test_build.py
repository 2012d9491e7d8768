"""Headers as systems keep them, advice where there are none, and what cannot be built."""

import pytest

from kmod_emu.kbuild.build import BuildError, build
from kmod_emu.kbuild.headers import advice, find_headers
from kmod_emu.kbuild.templates import write


def headers_at(root, *places):
    for place in places:
        (root / place / "include/config").mkdir(parents=True)
        (root / place / "include/config/auto.conf").touch()


@pytest.mark.parametrize("place", ["lib/modules/{}/build", "usr/src/linux-headers-{}", "usr/src/kernels/{}"])
def test_headers_are_found_where_systems_keep_them(tmp_path, place):
    headers_at(tmp_path, place.format("6.5.1"))
    assert find_headers("6.5.1", tmp_path) == tmp_path / place.format("6.5.1")
    assert find_headers("6.5.2", tmp_path) is None


def test_the_newest_where_the_running_kernel_has_none(tmp_path):
    places = [f"usr/src/linux-headers-6.1.0-{number}-amd64" for number in (9, 56, 10)]
    headers_at(tmp_path, *places)
    assert find_headers(None, tmp_path) == tmp_path / places[1]


def test_a_tree_that_was_not_prepared_does_not_count(tmp_path):
    (tmp_path / "usr/src/linux-headers-6.1.0").mkdir(parents=True)
    assert find_headers("6.1.0", tmp_path) is None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\n', "on Debian GNU/Linux 12: apt install"),
        ("ID=mint\nID_LIKE='ubuntu debian'\n", "apt install linux-headers-generic"),
        ("ID=fedora\n", "dnf install kernel-devel"),
        ("ID=unheardof\n", "--headers"),
        (None, "--headers"),
    ],
)
def test_advice(tmp_path, lines, said):
    if lines is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/os-release").write_text(lines)
    assert said in advice(tmp_path)


def test_nothing_to_build(tmp_path):
    with pytest.raises(BuildError, match="no Kbuild and no Makefile, no sources"):
        build(tmp_path, tmp_path)
    (tmp_path / "x.c").touch()
    with pytest.raises(BuildError, match=r"only x\.c"):
        build(tmp_path, tmp_path)


def test_a_path_that_kbuild_does_not_take(tmp_path):
    folder = tmp_path / "with space"
    write(folder, "x", "hello")
    with pytest.raises(BuildError, match="space"):
        build(folder, tmp_path)


def test_no_compiler(tmp_path, monkeypatch):
    write(tmp_path / "x", "x", "hello")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BuildError, match="make is not installed"):
        build(tmp_path / "x", tmp_path)


def test_nothing_is_overwritten(tmp_path):
    write(tmp_path / "x", "x", "hello")
    (tmp_path / "x/x.c").write_text("mine")
    with pytest.raises(FileExistsError):
        write(tmp_path / "x", "x", "misc")
    assert (tmp_path / "x/x.c").read_text() == "mine"
