"""kmod-emu coverage, and the report on a function that is not there."""

import json

import pytest
from click.testing import CliRunner

from kmod_emu import Kernel, Unimplemented
from kmod_emu.cli.main import main
from kmod_emu.kernel.symbols import Origin
from tests.kernel.conftest import Guest


def run(*arguments):
    return CliRunner().invoke(main, ["coverage", *arguments])


def test_a_sample_needs_nothing_that_is_missing():
    result = run("hello", "kthread")
    assert result.exit_code == 0
    assert result.output.startswith("hello: 3 imports: 3 exact\nkthread: ")


def test_json_lists_each_import_with_its_prototype():
    result = run("--json", "kthread")
    found = {entry["name"]: entry for entry in json.loads(result.output)["imports"]}
    assert found["kthread_stop"]["status"] == "exact"
    assert found["kthread_stop"]["prototype"].startswith("int kthread_stop(struct task_struct *")


def test_what_cannot_be_read_is_said(tmp_path):
    (tmp_path / "x.ko").write_bytes(b"no module, but long enough to be one")
    result = run(str(tmp_path / "x.ko"), "/nowhere.ko", "hello")
    assert result.exit_code == 2
    assert "x.ko: Exec format error" in result.output
    assert "hello: 3 imports" in result.output


def test_a_missing_function_is_reported_with_the_call_and_how_to_supply_it():
    kernel = Kernel()
    guest = Guest(kernel)
    names = [symbol.name for symbol in kernel.symbols if symbol.origin is Origin.ABSENT]
    name = next(name for name in names if (kernel.profile.prototype(name) or "").startswith("int "))
    with pytest.raises(Unimplemented) as caught:
        guest.call(f"sub rsp, 8; mov edi, 7; call {{{name}}}; ud2")
    entry = kernel.faults.reports[-1]
    assert entry["prototype"] == kernel.profile.prototype(name)
    assert entry["arguments"].startswith(f"{name}(")
    lines = caught.value.recipe.splitlines()
    assert lines[0] == f'@kernel.export("{entry["prototype"]}")'
    assert lines[1].startswith(f"def {name}(kernel")
    assert lines[2] == "    return 0"
    compile(caught.value.recipe, "recipe", "exec")
