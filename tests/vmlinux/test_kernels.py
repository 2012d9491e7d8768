"""Kernels that are known by name: added from files, packages and directories, found, listed, removed."""

import io
import lzma
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

from kmod_emu import samples
from kmod_emu.cli.main import main
from kmod_emu.vmlinux import adding, deb, kernels
from kmod_emu.vmlinux.errors import BadImage

IMAGES = sorted(Path("/boot").glob("vmlinuz-6.1.0-*-amd64"))
pytestmark = pytest.mark.skipif(not IMAGES, reason="no Debian kernel in /boot")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is added yet, and the computer has no kernels of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(kernels, "BOOT", tmp_path / "boot")
    monkeypatch.setattr(kernels, "MODULES", tmp_path / "lib/modules")


@pytest.fixture(scope="session")
def image():
    return IMAGES[-1].read_bytes()


@pytest.fixture(scope="session")
def release():
    return IMAGES[-1].name.removeprefix("vmlinuz-")


def run(*words):
    done = CliRunner().invoke(main, ["kernel", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output.splitlines()


def package(files, compress=lzma.compress, suffix=".xz"):
    """A Debian package as dpkg-deb makes it."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    members = {"debian-binary": b"2.0\n", f"data.tar{suffix}": compress(inner.getvalue())}
    blob = deb.MAGIC
    for name, contents in members.items():
        blob += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(contents):<10}`\n".encode()
        blob += contents + b"\n" * (len(contents) % 2)
    return blob


def test_a_vmlinuz_is_kept_with_the_systems_modules(tmp_path, image, release):
    (tmp_path / "lib/modules" / release).mkdir(parents=True)
    file = tmp_path / "image"
    file.write_bytes(image)
    status, lines = run("add", file)
    modules = tmp_path / "lib/modules" / release
    assert (status, lines) == (0, [f"{release}: modules in {modules}; boot it with --kernel {release}"])
    file.unlink()
    known = kernels.find("6.1")
    assert known == kernels.find(release)
    assert known.image.read_bytes() == image
    assert run("list") == (0, [f"{release:<26} added   modules in {modules}"])
    assert run("remove", release) == (0, [])
    assert kernels.available() == []
    assert run("remove", release) == (1, [f"kmod-emu: you have added no kernel {release}"])


def test_a_package_is_kept_with_its_modules(tmp_path, image, release):
    folder = f"lib/modules/{release}"
    names = {f"boot/vmlinuz-{release}": image, f"boot/System.map-{release}": b"", "../../evil": b"evil"}
    modules = {f"{folder}/kernel/{name}.ko": samples.path(name).read_bytes() for name in ("hello", "echo")}
    file = tmp_path / "linux-image.deb"
    file.write_bytes(
        package(names | modules | {f"{folder}/modules.order": b"", f"{folder}/modules.builtin": b""})
    )
    status, lines = run("add", file)
    assert status == 0, lines
    known = kernels.find(release)
    assert set((known.modules / "modules.dep").read_text().split()) == {"kernel/echo.ko:", "kernel/hello.ko:"}
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb here")
def test_the_systems_own_packages_can_be_read(tmp_path):
    """What dpkg-deb writes."""
    source = tmp_path / "source"
    (source / "DEBIAN").mkdir(parents=True)
    (source / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    )
    (source / "usr/lib").mkdir(parents=True)
    (source / "usr/lib/file").write_bytes(b"contents")
    for kind in ("xz", "gzip", "none"):
        subprocess.run(
            ["dpkg-deb", "-Z", kind, "-b", source, tmp_path / "x.deb"], check=True, capture_output=True
        )
        found = {str(path): contents for path, contents in deb.files((tmp_path / "x.deb").read_bytes())}
        assert found == {"usr/lib/file": b"contents"}


def test_packages_of_every_compression():
    for compress, suffix in ((lzma.compress, ".xz"), (zstandard.compress, ".zst"), (bytes, "")):
        found = list(deb.files(package({"boot/vmlinuz-1": b"x"}, compress, suffix)))
        assert [(str(path), contents) for path, contents in found] == [("boot/vmlinuz-1", b"x")]


def test_a_directory_is_an_unpacked_package(tmp_path, image, release):
    root = tmp_path / "root"
    for name, contents in {
        f"boot/vmlinuz-{release}": image,
        f"boot/System.map-{release}": b"",
        f"usr/lib/modules/{release}/modules.dep": b"",
        f"usr/src/linux-headers-{release}/vmlinux.lds": b"",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(contents)
    assert run("add", root) == (
        0,
        [f"{release}: modules in {root}/usr/lib/modules/{release}; boot it with --kernel {release}"],
    )
    assert kernels.find(release).modules.resolve() == root / "usr/lib/modules" / release


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda image: samples.path("hello").read_bytes(), "an object file, such as a module"),
        (lambda image: image[: len(image) // 2], "cut off"),
        (lambda image: b"", "an empty file"),
        (lambda image: package({"usr/bin/hello": b""}), "a Debian package without a vmlinuz"),
        (lambda image: package({})[:100], "a Debian package without files"),
        (lambda image: package({"a": b"a" * 5000}, bytes, "")[:3000], "whose files cannot be read"),
        (lambda image: deb.MAGIC + b"x" * 70, "a Debian package that is damaged"),
    ],
)
def test_what_is_no_kernel_is_refused_and_nothing_is_left(tmp_path, image, make, sentence):
    file = tmp_path / "file"
    file.write_bytes(make(image))
    status, lines = run("add", file)
    assert (status, len(lines)) == (1, 1)
    assert sentence in lines[0]
    assert kernels.available() == []
    assert not kernels.directory().exists() or not list(kernels.directory().iterdir())


def test_series_mean_the_newest(tmp_path):
    for release in ("6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.1-amd64"):
        (kernels.directory() / release).mkdir(parents=True)
        (kernels.directory() / release / "vmlinuz").write_bytes(b"")
    assert kernels.find("6.1").release == "6.1.0-56-amd64"
    assert kernels.find("6").release == "6.12.1-amd64"
    assert kernels.find("6.1.0-9-amd64").release == "6.1.0-9-amd64"
    assert kernels.find("5") is None


def test_fetching_needs_apt(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, (line,) = run("fetch")
    assert (status, line.startswith("kmod-emu: no apt here")) == (1, True)


def test_what_apt_downloads_is_added(monkeypatch, tmp_path, image, release):
    """An apt of ours, which has one package."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "package").write_bytes(package({f"boot/vmlinuz-{release}": image}))
    for name, text in {
        "apt-cache": f"printf 'linux-image-amd64\\n  Depends: linux-image-{release}\\n'",
        "apt-get": f'test "$*" = "download linux-image-{release}" && cp {tmp_path}/package linux.deb',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    status, lines = run("fetch")
    assert (status, lines[-1]) == (0, f"{release}: no modules; boot it with --kernel {release}")


def test_a_package_without_an_image(image):
    with pytest.raises(BadImage):
        adding.add_package(package({"lib/modules/6.1/kernel/x.ko": b""}))
    with pytest.raises(BadImage):
        adding.add_directory(kernels.directory())
