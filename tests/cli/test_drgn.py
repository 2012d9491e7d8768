"""kmod-emu drgn: drgn's own helpers on a machine's memory."""

import sys

import pytest

from kmod_emu import samples


@pytest.fixture
def without_drgn(monkeypatch):
    monkeypatch.setitem(sys.modules, "drgn", None)
    monkeypatch.setitem(sys.modules, "drgn.cli", None)


def test_without_drgn_it_says_how_to_get_it(cli, without_drgn):
    result = cli("drgn")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("kmod-emu: drgn is not installed: `pip install 'kmod-emu[drgn]'`")
    assert result.stderr.count("\n") == 1


MODULES = """
from drgn.helpers.linux.module import find_module, for_each_module
print([m.name.string_().decode() for m in for_each_module(prog)])
print(find_module(prog, "hello").state.format_(type_name=False), find_module(prog, "nothing").value_())
"""
TASKS = """
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.pid import find_task, for_each_task
names = [t.comm.string_().decode() for t in for_each_task(prog)]
listed = list_for_each_entry("struct task_struct", prog["init_task"].tasks.address_of_(), "tasks")
print(names == [t.comm.string_().decode() for t in listed], names, find_task(prog, 1).pid.value_())
"""


def test_helpers_walk_modules_and_tasks_of_a_fresh_machine(cli, tmp_path):
    pytest.importorskip("drgn")
    (tmp_path / "script.py").write_text(MODULES + TASKS)
    result = cli("drgn", "--insmod", "hello", "--insmod", "kthread", tmp_path / "script.py")
    assert result.stdout.split("\n")[:3] == [
        "['kthread', 'hello']",
        "MODULE_STATE_LIVE 0",
        "True ['init', 'kthreadd', 'ticker/1'] 1",
    ]
    assert cli("drgn", "--insmod", "nothing", "-e", "1").exit_code == 1


def test_variables_and_functions_of_modules_of_the_kept_machine(cli, tmp_path):
    pytest.importorskip("drgn")
    cli("insmod", samples.path("params"), "count=7")
    names = 'prog.symbol("_printk").name, prog.symbol(prog["level_set"].address_).name'
    code = f'print(prog["count"].value_(), {names})'
    assert cli("drgn", "-e", code).stdout == "7 _printk level_set\n"
    copy = tmp_path / "params.ko"
    copy.write_bytes(samples.path("params").read_bytes())
    assert cli("drgn", "-s", copy, "-e", 'print(prog["whom"].string_())').stdout == "b'world'\n"


def test_what_the_profile_knows_serves_where_modules_tell_nothing(cli):
    pytest.importorskip("drgn")
    code = TASKS + "\ntry:\n    prog.read(16, 8)\nexcept drgn.FaultError as error:\n    print(error)"
    shown = cli("drgn", "--insmod", "hello", "-e", "import drgn\n" + code).stdout
    assert shown.split("\n")[0] == "True ['init', 'kthreadd'] 1"
    assert "0x10" in shown
