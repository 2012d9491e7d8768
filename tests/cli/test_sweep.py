"""kmod-emu sweep: many modules, each on a fresh machine, in processes that may die."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kmod_emu import samples
from kmod_emu.kmod.index import build
from kmod_emu.sweep.compare import comparable
from kmod_emu.sweep.measures import Comparison
from kmod_emu.sweep.one import blank
from kmod_emu.sweep.page import page
from kmod_emu.sweep.summary import status, summary
from kmod_emu.sweep.tree import Target
from tests.conftest import RECORDINGS, recording

DEBIAN = Path("/lib/modules/6.1.0-56-amd64")
TIMES = ("total_s", "link_s")


@pytest.fixture
def tree(tmp_path):
    """Makes a module directory of samples; {"params": ["hello"]} is one that needs another."""

    def make(modules: dict[str, list[str]]) -> Path:
        top = tmp_path / "tree"
        top.mkdir()
        lines = []
        for name, needs in modules.items():
            shutil.copy(samples.path(name), top / f"{name}.ko")
            lines.append(f"{name}.ko: {' '.join(f'{need}.ko' for need in needs)}\n")
        (top / "modules.dep").write_text("".join(lines))
        return top

    return make


def index(top: Path, *names: str) -> None:
    """Write what modprobe reads."""
    entries = ((name.encode(), f"{name}.ko:".encode(), 0) for name in names)
    (top / "modules.dep.bin").write_bytes(build(entries))


def rows(path: Path) -> dict[str, dict]:
    return {row["module"]: row for row in map(json.loads, path.read_text().splitlines())}


def test_each_module_gets_a_row_and_the_ends_are_counted(cli, tree, tmp_path):
    top = tree({"hello": [], "params": ["hello"], "ret_enodev": [], "oops_null": []})
    result = cli("sweep", "--modules", top, "--jobs", 2, "--json", tmp_path / "out")
    assert result.exit_code == 3
    found = rows(tmp_path / "out")
    assert {name: row["outcome"] for name, row in found.items()} == {
        "hello": "loaded",
        "params": "loaded",
        "ret_enodev": "refused",
        "oops_null": "oops",
    }
    assert (found["ret_enodev"]["rc"], found["ret_enodev"]["errno"]) == (-19, "ENODEV")
    assert found["params"]["deps"][0]["name"] == "hello"
    assert "<6>Hello world!" in found["params"]["deps"][0]["dmesg"]
    assert not any("Hello" in line for line in found["params"]["dmesg"])
    assert found["hello"]["proc_modules"] == "hello 16384 0 - Live (OE)"
    assert 0 < found["hello"]["link_s"] < found["hello"]["total_s"]
    assert "     2 loaded\n" in result.stdout
    assert "     1 refused: ENODEV 1\n" in result.stdout


def test_a_row_has_what_run_prints_whatever_was_loaded_before(cli, tree):
    top = tree({"oops_null": [], "locks": [], "hello": []})
    swept = cli("sweep", "--modules", top, "--jobs", 1, "--json", "-")
    row = json.loads(swept.stdout.splitlines()[2])
    alone = json.loads(cli("run", "--json", top / "hello.ko").stdout)
    assert {key: row[key] for key in alone} == alone
    assert "2 loaded" in swept.stderr


def test_it_goes_on_where_it_was_interrupted(cli, tree, tmp_path):
    top, out = tree({"hello": [], "params": []}), tmp_path / "out"
    kept = {"module": "hello", "path": "hello.ko", "outcome": "loaded", "rmmod_rc": 0, "mark": 1}
    out.write_text(json.dumps(kept) + '\n{"module": "params", "rc"')
    result = cli("sweep", "--modules", top, "--json", out)
    assert result.exit_code == 0
    assert "1 were done before" in result.stdout
    assert "2 loaded" in result.stdout
    assert out.read_text().startswith(json.dumps(kept) + '\n{"module": "params", "rc": 0')
    before = out.read_bytes()
    assert cli("sweep", "--modules", top, "--json", out).exit_code == 0
    assert out.read_bytes() == before


def test_a_whole_last_row_is_kept_though_its_newline_was_cut(cli, tree, tmp_path):
    top, out = tree({"hello": [], "params": []}), tmp_path / "out"
    out.write_text(json.dumps({"module": "hello", "path": "hello.ko", "outcome": "loaded", "rmmod_rc": 0}))
    assert cli("sweep", "--modules", top, "--json", out).exit_code == 0
    assert sorted(rows(out)) == ["hello", "params"]


@pytest.mark.parametrize("text", ["my thesis\n", "my thesis", '{"module": 1}\n', "[]"])
def test_a_file_that_is_something_else_stays_as_it_is(cli, tree, tmp_path, text):
    (tmp_path / "out").write_text(text)
    result = cli("sweep", "--modules", tree({"hello": []}), "--json", tmp_path / "out")
    assert result.exit_code == 2
    assert "not what a sweep has written" in result.stderr
    assert (tmp_path / "out").read_text() == text


def test_rows_of_another_kernel_are_not_mixed_in(cli, tree, tmp_path):
    row = {"module": "hello", "path": "hello.ko", "outcome": "loaded", "release": "7.2.13+deb14-amd64"}
    (tmp_path / "out").write_text(json.dumps(row) + "\n")
    result = cli("sweep", "--modules", tree({"hello": []}), "--json", tmp_path / "out")
    assert result.exit_code == 2
    assert "holds a sweep of 7.2.13+deb14-amd64" in result.stderr


def test_what_a_worker_died_of_is_done_and_hinders_nothing(cli, tree, tmp_path):
    """Such a row has no kernel, and was taken for one of the stub's."""
    top = tree({"hello": [], "params": []})
    died = blank(Target("hello.ko", "", [])) | {"outcome": "died"}
    (tmp_path / "out").write_text(json.dumps(died) + "\n")
    result = cli("sweep", "--modules", top, "--jobs", 1, "--json", tmp_path / "out")
    assert (result.exit_code, "1 were done before" in result.stdout) == (3, True)
    assert list(rows(tmp_path / "out")) == ["hello", "params"]


def test_rows_made_otherwise_are_not_mixed_in(cli, tree, tmp_path):
    top = tree({"hello": []})
    assert cli("sweep", "--modules", top, "--jobs", 1, "--json", tmp_path / "out").exit_code == 0
    result = cli("sweep", "--modules", top, "--autoload", "--json", tmp_path / "out")
    assert (result.exit_code, "modules.dep.bin: no such index" in result.stderr) == (2, True)
    index(top, "hello")
    result = cli("sweep", "--modules", top, "--autoload", "--json", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.endswith("out holds a sweep with another --loader or --autoload\n")


def test_autoload_loads_what_modprobe_would(cli, tree, tmp_path):
    """A soft dependency comes before, and request_module() finds what it asks for."""
    top = tree({"hello": [], "params": [], "autoload": []})
    (top / "modules.softdep").write_text("softdep params pre: hello post: autoload\n")
    index(top, "hello", "params", "autoload")
    assert (
        cli("sweep", "--modules", top, "--autoload", "--jobs", 1, "--json", tmp_path / "out").exit_code == 0
    )
    found = rows(tmp_path / "out")
    assert [each["name"] for each in found["params"]["deps"]] == ["hello"]
    assert found["params"]["autoload"] is True


def test_what_is_wrong_is_said(cli, tree, tmp_path):
    top = tree({"hello": []})
    for words, said in (
        (["--kernel", top / "vmlinuz"], "vmlinuz: No such file or directory"),
        (["--kernel", top / "hello.ko"], "hello.ko"),
        (["--kernel", top / "vmlinuz", "--release", "6.1"], "--release is for the stub kernel"),
        (["nothing"], "modules.dep has no module nothing"),
        (["--release", "9.9"], "9.9"),
        (["--compare", top / "hello.ko"], "no recording of modules"),
        (["--html", top / "nowhere" / "page"], "nowhere is no directory to write to"),
    ):
        result = cli("sweep", "--modules", top, *words)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert "depmod writes it" in cli("sweep", "--modules", tmp_path).stderr


def test_a_module_without_its_file_and_one_that_is_none(cli, tree):
    top = tree({"hello": [], "params": ["hello"], "locks": []})
    (top / "hello.ko").unlink()
    (top / "locks.ko").write_bytes(b"x" * 100)
    result = cli("sweep", "--modules", top, "--jobs", 1, "--json", "-")
    found = {row["module"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert [found[name]["outcome"] for name in ("hello", "params", "locks")] == [
        "unreadable",
        "unreadable",
        "refused",
    ]
    assert "No such file or directory" in found["hello"]["reason"]
    assert found["locks"]["errno"] == "ENOEXEC"
    assert result.exit_code == 1


def test_what_never_returns_is_ended_and_holds_nobody_up(cli, tree):
    top = tree({"spin": [], "hello": []})
    result = cli("sweep", "--modules", top, "--jobs", 1, "--time-limit", 0.5, "--json", "-")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["module"], row["outcome"]) for row in found] == [("spin", "time limit"), ("hello", "loaded")]
    assert found[0]["reports"][-1]["kind"] == "soft lockup"
    assert result.exit_code == 3


def test_a_worker_over_its_time_is_ended_from_outside(cli, tree):
    result = cli("sweep", "--modules", tree({"hello": []}), "--time-limit", 0.0001, "--json", "-")
    row = json.loads(result.stdout)
    assert (row["outcome"], row["reason"]) == ("time limit", "it did not come to an end in time")


@pytest.fixture
def spinning(tree, tmp_path):
    """A sweep that has done hello and is busy with a module that never returns."""
    top, out = tree({"hello": [], "spin": [], "params": []}), tmp_path / "out"
    words = ["sweep", "--modules", top, "--jobs", "1", "--json", out, "--time-limit", "100"]
    command = [sys.executable, "-m", "kmod_emu.cli.main", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while not out.exists() or not out.read_text().endswith("\n"):
            time.sleep(0.05)
        time.sleep(0.2)  # the next module is under way
        yield process, out
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def workers(parent: int) -> list[int]:
    """The worker processes of a sweep."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_a_worker_that_dies_costs_one_module(spinning):
    process, out = spinning
    (worker,) = workers(process.pid)
    os.kill(worker, signal.SIGKILL)
    printed, _ = process.communicate()
    assert process.returncode == 3
    assert "1 died: spin\n" in printed
    found = rows(out)
    assert found["spin"]["reason"] == "the worker process ended by SIGKILL"
    assert found["params"]["outcome"] == "loaded"


def test_ctrl_c_leaves_a_file_that_can_be_gone_on_with(spinning):
    process, out = spinning
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate()
    assert process.returncode == 130
    assert "interrupted: 2 are left\n" in printed
    assert list(rows(out)) == ["hello"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_a_sweep_that_is_killed_takes_its_workers_along_and_loses_nothing(cli, spinning, tmp_path):
    process, out = spinning
    (worker,) = workers(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)
    cli("sweep", "--modules", tmp_path / "tree", "--json", out, "--time-limit", 1, "params", "hello")
    lines = [json.loads(line)["module"] for line in out.read_text().splitlines()]
    assert lines == ["hello", "params"]


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_only_one_sweep_writes_to_a_file(cli, spinning, tmp_path):
    result = cli("sweep", "--modules", tmp_path / "tree", "--json", spinning[1])
    assert result.exit_code == 1
    assert "another sweep writes to it" in result.stderr


def row(module: str, outcome: str, **more) -> dict:
    return {"module": module, "outcome": outcome, "rc": 0, "rmmod_rc": 0, "errno": None, **more}


def test_missing_functions_are_counted_by_the_first_of_each_module():
    found = [row(str(n), "unimplemented", unimplemented=["a" if n else "b", "c"]) for n in range(3)]
    assert list(summary(found)) == ["     3 unimplemented: a 2, b 1"]
    assert status(found, None) == 4


def test_refusals_that_the_recording_has_too_are_no_failure():
    found = [row("x", "refused", rc=-19, errno="ENODEV", init_dmesg=["<6>x: at ffff888000000000"])]
    there = {"x": {"module": "x", "rc": -1, "errno": 19, "dmesg": ["<6>x: at ffff888012345678"]}}
    assert Comparison(found, there).differences == []
    assert (status(found, None), status(found, 0), status(found, 1)) == (1, 0, 1)


def test_a_difference_names_the_line():
    found = [row("x", "loaded", init_dmesg=["<6>a", "<6>b"])]
    there = {"x": {"module": "x", "rc": 0, "errno": 0, "dmesg": ["<6>a", "<6>c"]}}
    lines = list(Comparison(found, there).lines())
    assert lines[-1] == "x: dmesg: here '<6>b', recorded '<6>c'"
    assert lines[1:3] == [
        "     1 of     1  100.0 %  return code",
        "     0 of     1    0.0 %  log of init where it prints",
    ]


def test_each_measure_counts_what_the_recording_has():
    there = {
        "a": {"module": "a", "rc": 0, "errno": 0, "dmesg": [], "added": {"crypto": ["x driver=x"]}},
        "b": {"module": "b", "rc": -1, "errno": 19, "dmesg": ["<3>no"], "path": "kernel/drivers/b.ko"},
        "c": {"module": "c", "rc": 0, "errno": 0, "dmesg": [], "added": {}},
        "avx": {"module": "avx", "rc": 0, "errno": 0, "path": "kernel/arch/x86/crypto/avx.ko"},
    }
    found = [
        row("a", "loaded", added={"crypto": ["x driver=x"]}, stand_ins=["dmi_check_system"]),
        row("b", "loaded", init_dmesg=["<3>no"]),
        row("c", "unimplemented", added={}, unimplemented=["f"]),
        row("avx", "refused") | {"rc": -19},
    ]
    comparison = Comparison(found, there)
    assert comparison.verdicts == {
        "a": "by accident",
        "b": "differs",
        "c": "unimplemented",
        "avx": "vectors",
    }
    lines = [" ".join(line.split()) for line in comparison.lines()]
    assert lines == [
        "4 modules are in the recording, 1 of them meet an unimplemented export; of the other 2, 1 agree",
        "1 of these called functions that merely answered: right by accident, unless that is the answer",
        "1 more want a processor with vector instructions that this one lacks: avx",
        "1 of 3 33.3 %, 1 maybe by accident return code",
        "0 of 1 0.0 % return code where the real kernel refuses",
        "1 of 1 100.0 % log of init where it prints",
        "1 of 2 50.0 %, 1 maybe by accident log of init where it is silent",
        "1 of 1 100.0 %, 1 maybe by accident what init adds, all of it",
        "1 of 1 100.0 %, 1 maybe by accident what init adds: crypto",
        "b: rc: here 0, recorded -19",
    ]


def test_what_a_module_adds_and_its_parameters(cli, tree):
    result = cli("sweep", "--modules", tree({"skeletons": [], "params": [], "echo": []}), "--json", "-")
    found = {row["module"]: row for row in map(json.loads, result.stdout.splitlines())}
    added = found["skeletons"]["added"]
    assert added["bus_drivers"] == [
        "acpi/skeleton",
        "auxiliary/skeletons.bone",
        "pci/skeleton",
        "pnp/skeleton",
        "serio/skeleton",
    ]
    assert (added["crypto"], added["filesystems"]) == (["skeleton driver=skeleton-bare"], ["skelfs (nodev)"])
    assert added["proc_devices"] == ["block 254 skeleton"]
    assert added["sysctl"] == ["/proc/sys/dev/skeleton"]
    assert found["echo"]["added"]["proc_devices"] == ["char 246 echo"]
    assert {"count": "1", "whom": "world"}.items() <= found["params"]["parameters"].items()
    assert all(row["left"] == {} for row in found.values())


def test_a_page_has_a_row_a_module_and_keeps_text_as_text(cli, tree, tmp_path):
    out = tmp_path / "page.html"
    cli("sweep", "--modules", tree({"hello": [], "ret_enodev": []}), "--html", out)
    text = out.read_text()
    assert "<td>hello</td><td>loaded</td><td>0</td><td>0</td>" in text
    assert "<td>ret_enodev</td><td>refused</td><td>ENODEV</td>" in text
    assert "     1 refused: ENODEV 1" in text
    evil = {**blank(Target("x.ko", "x.ko", [])), "module": "<script>x</script>", "outcome": "\x1b[31m"}
    assert "&lt;script&gt;x&lt;/script&gt;</td><td>\\x1b[31m" in page("t", [evil], [], {})


def test_a_cluster_that_is_not_there(cli, tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    result = cli("sweep", "--modules", tree({"hello": []}), "--dask", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "pip install 'kmod-emu[dask]'" in result.stderr


def test_speeds_and_addresses_are_not_compared():
    assert comparable(["<6>xor: 1234 MB/sec", "<4>RIP: 0010:f+0x0/0x1"]) == ["<6>xor: N MB/s"]


@pytest.mark.skipif(not DEBIAN.exists(), reason="the distribution's modules are not installed")
def test_modules_of_the_distribution_do_what_was_recorded(cli):
    cases = recording("modules-6.1.json")
    names = {cases[0]["module"], *[case["module"] for case in cases if case["deps"]][:2]}
    compare = ("--compare", RECORDINGS / "modules-6.1.json")
    result = cli("sweep", "--modules", DEBIAN, *compare, *names)
    assert result.exit_code == 0, result.output
    assert f"of the other {len(names)}, {len(names)} agree" in result.stdout


@pytest.mark.skipif(not DEBIAN.exists(), reason="the distribution's modules are not installed")
def test_a_parameter_that_can_only_be_set_reads_as_nothing(cli):
    result = cli("sweep", "--modules", DEBIAN, "ubi", "--json", "-")
    row = json.loads(result.stdout)
    assert (row["outcome"], row["parameters"]["mtd"]) == ("loaded", "")


@pytest.mark.parametrize("text", ["[1]", '[{"module": "x", "rc": 0}]', "{}", "\xff"])
def test_a_recording_with_nothing_in_it_is_never_a_crash(cli, tree, tmp_path, text):
    (tmp_path / "recording").write_text(text)
    result = cli("sweep", "--modules", tree({}), "--compare", tmp_path / "recording")
    assert result.exit_code in (0, 2)
    assert "internal error" not in result.stderr
