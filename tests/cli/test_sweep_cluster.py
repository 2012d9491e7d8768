"""kmod-emu sweep --dask: a real cluster of two workers, one of which is killed in the middle."""

import json
import os
import shutil
import signal

import pytest

from kmod_emu import samples
from kmod_emu.sweep import cluster

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

NAMES = ("hello", "params", "ret_enodev", "echo", "lists", "procfs")


@pytest.fixture
def two_workers(tmp_path):
    """The scheduler's address, and the processes of its workers."""
    config = {"distributed.worker.memory.terminate": False, "distributed.admin.low-level-log-length": 0}
    with (
        dask.config.set(config),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=tmp_path / "dask",
            host="127.0.0.1",
        ) as running,
    ):
        yield running


def test_a_worker_killed_in_the_middle_costs_nothing(cli, tmp_path, two_workers, monkeypatch):
    """What it had under way is done again by the other; a second run has nothing to do."""
    monkeypatch.setattr(cluster, "TOGETHER", 2)
    for name in NAMES:
        shutil.copy(samples.path(name), tmp_path / f"{name}.ko")
    (tmp_path / "modules.dep").write_text("".join(f"{name}.ko:\n" for name in NAMES))
    out = tmp_path / "out"
    written = cluster.spread

    def spread(function, jobs, address):
        for count, found in enumerate(written(function, jobs, address)):
            if count == 0:
                os.kill(two_workers.workers[0].pid, signal.SIGKILL)
            yield found

    monkeypatch.setattr(cluster, "spread", spread)
    words = ("sweep", "--modules", tmp_path, "--json", out, "--dask", two_workers.scheduler_address)
    assert cli(*words).exit_code == 1  # ret_enodev
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(row["module"] for row in rows) == sorted(NAMES)
    assert {row["module"]: row["outcome"] for row in rows if row["outcome"] != "loaded"} == {
        "ret_enodev": "refused"
    }
    before = out.read_bytes()
    assert cli(*words).exit_code == 1
    assert out.read_bytes() == before
