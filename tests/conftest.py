"""What all tests share: their order, the recordings of a real kernel, and a C compiler."""

import json
import os
import random
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kmod_emu.kernel import internal, sched

# No example is too slow: how long one takes says how busy the computer is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

pytest_plugins = ["pytester"]

RECORDINGS = Path(__file__).parent / "recordings"

# Started in the background, the suite is deaf to Ctrl-C, and so would be the programs whose Ctrl-C is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing that whoever runs the tests has at home is seen or changed: profiles, the kept machine, histories.
_HOME = tempfile.TemporaryDirectory(prefix="kmod-emu-tests-")
for _name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
    os.environ[_name] = f"{_HOME.name}/{_name.lower()}"

# Under continuous integration pytest shortens nothing: the tests' own pytest runs print what a user sees.
for _name in ("CI", "BUILD_NUMBER"):
    os.environ.pop(_name, None)


SEED = "TEST_SEED"  # of the order in which tests run: any word; "random" takes one and prints it


def pytest_configure(config):
    if os.environ.get(SEED) == "random":
        os.environ[SEED] = str(random.SystemRandom().getrandbits(32))  # workers inherit it


def pytest_collection_modifyitems(items):
    """Shuffle the files, and the tests in each: what a file's tests share is made once all the same."""
    if SEED not in os.environ:
        return
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    source, groups = random.Random(os.environ[SEED]), list(files.values())
    source.shuffle(groups)
    for group in groups:
        source.shuffle(group)
    items[:] = [item for group in groups for item in group]


def pytest_terminal_summary(terminalreporter):
    if SEED in os.environ:
        terminalreporter.write_line(f"the order of the tests: {SEED}={os.environ[SEED]}")


@pytest.fixture(autouse=True)
def no_internal_errors(monkeypatch, request):
    """Mistakes of ours end a task, not the test: unless they are what is tested, they are told here."""
    mistakes = []

    def seen(kernel, task, error):
        mistakes.extend([error] if not internal.is_outside(error) else [])
        return internal.internal_error(kernel, task, error)

    monkeypatch.setattr(sched, "internal_error", seen)
    yield
    if mistakes and "internal_errors" not in request.keywords:
        raise mistakes[0]


def recording(name: str) -> list[dict]:
    """A recording of a real Debian 6.1 kernel (see recordings/README.md)."""
    return json.loads((RECORDINGS / name).read_text())


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory):
    """Compile C source; returns the program's bytes."""

    def build(source: str, *flags: str) -> bytes:
        folder = tmp_path_factory.mktemp("c")
        (folder / "program.c").write_text(source)
        command = ["gcc", "-O1", "-w", *flags, "-o", folder / "program", folder / "program.c"]
        subprocess.run(command, check=True)
        return (folder / "program").read_bytes()

    return build


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Runs commands as a user would, in a directory and with a kept machine of their own."""
    from click.testing import CliRunner

    from kmod_emu.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KMOD_EMU_STATE", str(tmp_path / "machine.kmod"))

    def run(*words: str, text: str | None = None):
        # color: without it click drops escape sequences, and no test could see one get through
        result = CliRunner().invoke(main, [str(word) for word in words], input=text, color=True)
        assert "Traceback" not in result.output + result.stderr
        return result

    return run
