"""Init with each of its calls failing in turn."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmod_emu import Kernel, samples
from kmod_emu.cli.main import main
from kmod_emu.sanitize.faults import explore


def cases(name, params=""):
    return list(explore(Kernel(), Path(samples.path(name)).read_bytes(), name, params))


def test_each_call_fails_once_and_the_forgetful_path_is_told():
    runs = cases("initleak")
    assert [(case.nth, case.call, case.returned, case.outcome) for case in runs] == [
        (0, "", "", "init succeeded, and exit ran"),
        (1, "kmalloc_trace", "NULL", "init returned -ENOMEM"),
        (2, "alloc_chrdev_region", "-EBUSY", "init returned -EBUSY"),
        (3, "cdev_add", "-ENOMEM", "init returned -ENOMEM"),
    ]
    assert [len(case.reports) for case in runs] == [0, 0, 0, 2]
    assert runs[3].place == "samples/bugs/initleak/initleak.c:34"


def test_the_right_path_draws_no_report():
    assert [case.reports for case in cases("initleak", "fixed=1")] == [[]] * 4


@pytest.mark.parametrize("name", ["echo", "mailbox", "procfs", "kobject", "hello", "idr", "ownbus"])
def test_correct_samples_undo_what_they_did(name):
    for case in cases(name):
        assert case.reports == [], case


def test_what_exit_forgets_anyway_is_told_once():
    runs = cases("leak")
    assert [report["kind"] for report in runs[0].reports] == ["leak"] * 9
    failed = {case.call: [report["text"] for report in case.reports] for case in runs[1:]}
    assert failed["kmalloc_trace"] == failed["vmalloc"] == []
    assert all(text.startswith("init of leak failed (EBUSY)") for text in failed["alloc_chrdev_region"])
    assert len(failed["alloc_chrdev_region"]) == 2


def test_a_null_pointer_that_nobody_looked_at_is_a_crash():
    outcome = {case.call: case.outcome for case in cases("leak", "fixed=1")}["kthread_create_on_node"]
    assert "exit: the code reads" in outcome


def test_the_command_says_what_it_does_and_ends_with_1():
    result = CliRunner().invoke(main, ["faults", "initleak"])
    assert result.exit_code == 1
    assert (
        "#3 cdev_add() at samples/bugs/initleak/initleak.c:34 returns -ENOMEM: init returned -ENOMEM"
        in result.output
    )
    assert "3 calls were made to fail; 1 of them led to a finding" in result.output
    assert CliRunner().invoke(main, ["faults", "initleak", "fixed=1"]).exit_code == 0
    runs = json.loads(CliRunner().invoke(main, ["faults", "initleak", "--json"]).output)["runs"]
    assert [run["nth"] for run in runs] == [0, 1, 2, 3]


def test_run_lets_one_call_fail():
    result = CliRunner().invoke(main, ["run", "initleak", "--fail-nth", "2", "--json"])
    answer = json.loads(result.output)
    assert (answer["errno"], answer["init_rc"], answer["reports"]) == ("EBUSY", -16, [])


def test_what_is_given_back_by_no_name_fails_too():
    calls = {case.call: case.returned for case in cases("inputdev")}
    assert calls["input_allocate_device"] == "NULL"
    assert calls["input_register_device"] == "-ENOMEM"
    made = {case.call for case in cases("sysfsleft", "fixed=1")}
    assert made == {"", "sysfs_create_file_ns", "sysfs_create_group"}


def test_all_may_be_checked_meanwhile():
    result = CliRunner().invoke(main, ["faults", "--sanitize", "all", "hello"])
    assert (result.exit_code, result.output.splitlines()[-1][:5]) == (0, "0 cal")
