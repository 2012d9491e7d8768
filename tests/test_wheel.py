"""What `make wheel` made: whole, and usable where there is nothing but Python."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kmod_emu import __version__
from kmod_emu.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
WHEEL = ROOT / "dist" / f"kmod_emu-{__version__}-py3-none-any.whl"
SHARE, INFO = f"kmod_emu-{__version__}.data/data/share", f"kmod_emu-{__version__}.dist-info"
NOBODY = 65534


def sources() -> dict[str, bytes]:
    """What the package consists of."""
    files = (path for path in (ROOT / "kmod_emu").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def wheel():
    if not WHEEL.exists():
        pytest.skip("there is no wheel: make wheel")
    with zipfile.ZipFile(WHEEL) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    if {name: data for name, data in contents.items() if name.startswith("kmod_emu/")} != sources():
        pytest.skip("the wheel is not that of this tree: make wheel")
    return contents


@pytest.mark.parametrize(
    "name",
    [
        "man/man1/kmod-emu.1",
        "bash-completion/completions/kmod-emu",
        "zsh/site-functions/_kmod-emu",
        "fish/vendor_completions.d/kmod-emu.fish",
        "kmod-emu/labs/hello/LAB.toml",
        "kmod-emu/samples/hello/hello.c",
        "kmod-emu/samples/classic/Makefile",
        "kmod-emu/guest_kernel_stubs/Makefile",
        "doc/kmod-emu/classic.md",
        *(f"man/man1/kmod-emu-{name}.1" for name in COMMANDS),
    ],
)
def test_what_goes_beside_the_package(wheel, name):
    """The package itself is compared file by file, or all of this is skipped."""
    assert wheel[f"{SHARE}/{name}"]


def test_nothing_that_a_build_left_is_in_it(wheel):
    endings = {Path(name).suffix for name in wheel if name.startswith(f"{SHARE}/kmod-emu/samples")}
    assert endings == {"", ".c", ".h", ".md"}


def test_the_bill_of_materials_lists_the_lock(wheel):
    bill = json.loads(wheel[f"{INFO}/sboms/kmod-emu.cdx.json"])
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", __version__)
    locked = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert sorted((part["name"], part["version"]) for part in bill["components"]) == sorted(locked)
    assert all(part["hashes"] and part["licenses"] for part in bill["components"])


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """Runs a command where there is only Python, and the wheel that was installed without a network."""
    folder = tmp_path_factory.mktemp("bare")
    env, home = folder / "env", folder / "home"
    home.mkdir(mode=0o555)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    pip = [sys.executable, "-m", "pip", "--python", env / "bin" / "python", "install", "--quiet"]
    offline = ["--no-index", "--find-links", ROOT / "dist" / "cache"]
    subprocess.run([*pip, *offline, "--no-compile", WHEEL], check=True)
    enter = enclosed(folder / "root", env, home) if os.geteuid() == 0 else []
    variables = {"PATH": str(env / "bin"), "HOME": str(home)}

    def run(command: str, *words: str) -> subprocess.CompletedProcess:
        line = [*enter, env / "bin" / command, *words]
        return subprocess.run(line, cwd="/", env=variables, capture_output=True, text=True, check=False)

    return run


def enclosed(root: Path, env: Path, home: Path) -> list[str]:
    """What runs a command as nobody, without a network, in a root that has no program but Python."""
    shell = ["/usr/bin/unshare", "--mount", "--net", "/bin/sh", "-ec"]
    if subprocess.run([*shell, "/bin/mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode:
        pytest.skip("root may not make namespaces here, and could write everywhere")
    there = {env, home, *map(Path, ("/dev", "/lib", "/lib64", "/usr/lib"))}
    if sys.base_prefix == "/usr":  # the system's own Python: of /usr/bin, only that
        (root / "usr/bin").mkdir(parents=True)
        shutil.copy(os.path.realpath(sys.executable), root / "usr/bin")
    else:
        there.add(Path(sys.base_prefix))
    there = {place for place in there if place.exists()}
    for place in there | {Path("/tmp")}:
        (root / place.relative_to("/")).mkdir(parents=True, exist_ok=True)
    for path in (root, *root.rglob("*")):
        path.chmod(0o777 if path == root / "tmp" else 0o755)
    binds = "".join(f"/bin/mount --rbind {place} {root}{place}\n" for place in sorted(there))
    return [*shell, f'{binds}exec /usr/sbin/chroot --userspec={NOBODY}:{NOBODY} {root} "$@"', "sh"]


def test_it_installs_and_runs_where_there_is_only_python(bare):
    """No compiler, no git, no network, not root, a home that cannot be written to, another directory."""
    result = bare("kmod-emu", "run", "--json", "hello")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["rc"] == 0
    batch = ("--batch", "-ex", "list hello_init")
    assert "Hello world!" in bare("kmod-emu", "debug", "hello", *batch).stdout, "samples have their sources"
    assert bare("kmod-emu", "--classic", "run", "hello").returncode == 0
    assert bare("kmod-emu", "build", "/tmp").returncode == 1
    home = bare("kmod-emu", "boot")
    assert (home.returncode, "Permission denied" in home.stderr) == (1, True)
    machine = ("--state", "/tmp/machine")
    assert bare("kmod-emu", *machine, "boot").returncode == 0
    assert bare("kmod-emu", *machine, "lsmod").stdout.startswith("Module ")
