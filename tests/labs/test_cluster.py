"""Grading on a Dask cluster of this computer, of two workers, one of which dies."""

import os
import signal

import pytest
from click.testing import CliRunner

from kmod_emu.cli.main import main

distributed = pytest.importorskip("dask.distributed", reason="Dask is not installed")

COUNT = 4

pytestmark = pytest.mark.filterwarnings("default")  # Dask's own are not ours


def grade(course, address):
    return CliRunner().invoke(main, ["grade", f"{course}/LAB.toml", f"{course}/in", "--dask", address])


def test_a_worker_dies_and_nothing_is_lost(course):
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options, local_directory=str(course / "dask")) as cluster:
        victim = next(iter(cluster.workers.values()))
        real, killed = distributed.as_completed, []

        def as_completed(futures):
            for future in (done := real(futures)):
                if done.count() == COUNT - 1:
                    os.kill(victim.pid, signal.SIGKILL)
                    killed.append(victim.pid)
                yield future

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distributed, "as_completed", as_completed)
            done = grade(course, cluster.scheduler_address)
    assert killed
    assert done.exit_code == 0
    assert f"{COUNT} submissions, {COUNT} with full marks" in done.stdout


def test_no_cluster(course):
    done = grade(course, "nowhere")
    assert done.exit_code == 2
    assert done.stderr.splitlines() == ["kmod-emu: missing port number in address 'nowhere': 4 are left"]
