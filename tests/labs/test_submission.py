"""What is taken from submissions, and what is refused."""

import io
import tarfile
import zipfile

import pytest

from kmod_emu.labs.lab import read_lab
from kmod_emu.labs.submission import Rejected, digest, take


@pytest.fixture
def lab(tmp_path):
    (tmp_path / "LAB.toml").write_text('module = "x"\n[[test]]\nname = "loads"\n')
    return read_lab(tmp_path / "LAB.toml")


@pytest.fixture
def taken(tmp_path, lab):
    def names(path):
        (tmp_path / "taken").mkdir(exist_ok=True)
        return sorted(file.name for file in take(path, lab, tmp_path / "taken"))

    return names


def zipped(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_a_single_file_gets_the_labs_name(tmp_path, taken):
    (tmp_path / "anna_late.c").write_text("int x;")
    assert taken(tmp_path / "anna_late.c") == ["x.c"]


def test_a_directory_without_its_makefile_and_what_a_build_left(tmp_path, taken):
    folder = tmp_path / "anna" / "hw"
    folder.mkdir(parents=True)
    for name in ("x.c", "x.h", "Makefile", "Kbuild", "x.mod.c", ".x.c", "a;b.c"):
        (folder / name).write_text("")
    assert taken(tmp_path / "anna") == ["x.c", "x.h"]


def test_archives(tmp_path, taken):
    assert taken(zipped(tmp_path / "a.zip", **{"hw/x.c": "", "hw/Makefile": ""})) == ["x.c"]
    assert taken(tarred(tmp_path / "a.tar.gz", (tarfile.TarInfo("./x.c"), b""))) == ["x.c"]


def test_a_link_is_not_followed(tmp_path, taken):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna/x.c").symlink_to("/etc/passwd")
    (tmp_path / "bert.c").symlink_to("/etc/passwd")
    link = tarfile.TarInfo("x.c")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    entry = zipfile.ZipInfo("x.c")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    for path in (
        tmp_path / "anna",
        tmp_path / "bert.c",
        tarred(tmp_path / "a.tgz", (link, b"")),
        tmp_path / "c.zip",
    ):
        with pytest.raises(Rejected, match="is a symbolic link"):
            taken(path)


@pytest.mark.parametrize("name", ["../../x.c", "/tmp/x.c", "a/../../x.c"])
def test_paths_that_lead_out(tmp_path, taken, name):
    with pytest.raises(Rejected, match="leads out"):
        taken(zipped(tmp_path / "a.zip", **{name: ""}))
    with pytest.raises(Rejected, match="leads out"):
        taken(tarred(tmp_path / "a.tar.gz", (tarfile.TarInfo(name), b"")))


def test_large_files(tmp_path, taken):
    with pytest.raises(Rejected, match="too large"):
        taken(zipped(tmp_path / "a.zip", **{"x.c": b" " * (2 << 20)}))
    with (tmp_path / "x.c").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Rejected, match="too large"):
        taken(tmp_path / "x.c")
    assert digest(tmp_path / "x.c")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.zip", b"nonsense", "cannot be read"),
        ("a.tar.gz", b"\x1f\x8b\x08nonsense", "cannot be read"),
        ("a.tar.xz", b"\xfd7zXZ\0nonsense", "cannot be read"),
        ("a.rar", b"", "neither a directory nor"),
        ("a.zip", None, "no .c file"),
    ],
)
def test_what_is_none(tmp_path, taken, name, data, said):
    if data is None:
        zipped(tmp_path / name, readme="")
    else:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(Rejected, match=said):
        taken(tmp_path / name)


def test_two_files_of_one_name(tmp_path, taken):
    with pytest.raises(Rejected, match=r"two files called x\.c"):
        taken(zipped(tmp_path / "a.zip", **{"a/x.c": "", "b/x.c": ""}))


def test_the_digest_changes_with_the_bytes(tmp_path):
    folder = tmp_path / "anna"
    folder.mkdir()
    (folder / "x.c").write_text("1")
    before = digest(folder)
    assert digest(folder) == before
    (folder / "x.c").write_text("2")
    assert digest(folder) != before
