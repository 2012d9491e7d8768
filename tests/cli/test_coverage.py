"""kmod-emu coverage, and the report on a function that is not there."""

import json

import pytest
from click.testing import CliRunner

from kmod_emu import Kernel, Unimplemented
from kmod_emu.cli.main import main
from kmod_emu.kernel.missing import family
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
    entry = kernel.findings.reports[-1]
    assert entry["prototype"] == kernel.profile.prototype(name)
    assert entry["arguments"].startswith(f"{name}(")
    lines = caught.value.recipe.splitlines()
    assert lines[0] == f'@kernel.export("{entry["prototype"]}")'
    assert lines[1].startswith(f"def {name}(kernel")
    assert lines[2] == "    return 0"
    compile(caught.value.recipe, "recipe", "exec")


def supplied(kernel, recipe):
    """What the report says, pasted."""
    exec(recipe, {"kernel": kernel})


def test_the_recipe_of_a_function_works_when_pasted():
    kernel = Kernel()
    guest = Guest(kernel)
    call = "sub rsp, 8; mov edi, 7; mov esi, 0; call {blk_mq_alloc_tag_set}; add rsp, 8; ret"
    with pytest.raises(Unimplemented) as caught:
        guest.call(call)
    assert "block devices are left to a distribution's own kernel" in kernel.findings.reports[-1]["text"]
    supplied(kernel, caught.value.recipe)
    assert guest.call(call) == 0


def test_the_recipe_of_a_variable_works_when_pasted():
    kernel = Kernel()
    guest = Guest(kernel)
    look = "lea rax, [{pci_root_buses}]; mov rax, [rax]; ret"
    with pytest.raises(Unimplemented) as caught:
        guest.call(look)
    text = kernel.findings.reports[-1]["text"]
    assert text.endswith('uses the variable pci_root_buses, which this base kernel does not implement; '
                         'supply it with @kernel.export("pci_root_buses")')  # fmt: skip
    supplied(kernel, caught.value.recipe)
    assert guest.call(look) == 0


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("blk_mq_alloc_tag_set", "block devices"),
        ("register_netdev", "network devices"),
        ("nf_register_net_hook", "packet filters"),
        ("crypto_alloc_shash", "ciphers and hashes"),
        ("tty_register_driver", "terminals"),
        ("config_group_init", "configfs directories"),
        ("snd_card_new", "sound cards"),
        ("pci_enable_device", ""),
        ("netlink_unicast", ""),
    ],
)
def test_families_that_are_not_imitated(name, what):
    assert family(name) == what
