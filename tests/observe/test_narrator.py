"""The narrator's words come from the events' facts."""

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.observe.narrator import WIDTH, Narrator
from kmod_emu.observe.record import Recorder
from kmod_emu.observe.steps import STEPS


def told(name: str, params: str = "", **options) -> tuple[list[str], Recorder]:
    kernel, lines, recorder = Kernel(), [], Recorder()
    kernel.events.listen(Narrator(lines.append))
    kernel.events.listen(recorder)
    try:
        kernel.insmod(samples.path(name), params, **options)
        kernel.rmmod(name)
    except KernelError:
        pass
    return lines, recorder


def test_every_step_is_numbered_and_fits():
    lines, recorder = told("hello")
    numbers = [int(line[:3]) for line in lines if line[:3].strip().isdigit()]
    assert numbers == list(range(1, len(recorder.steps) + 1))
    assert all(len(line) <= WIDTH for line in lines if "printk|" not in line)


def test_printk_is_shown_where_it_happens():
    lines, _ = told("hello")
    executed = next(i for i, line in enumerate(lines) if "module_init() executed" in line)
    hello = next(i for i, line in enumerate(lines) if line.endswith("printk| Hello world!"))
    returned = next(i for i, line in enumerate(lines) if "return value" in line)
    assert executed < hello < returned


def test_facts_are_in_the_sentences():
    text = " ".join(" ".join(told("params", "count=3")[0]).split())
    assert "uid 0 has CAP_SYS_MODULE" in text
    assert "machine 62 (x86-64)" in text
    assert "core: 16384 bytes at 0xffffffffc0000000" in text
    assert "R_X86_64_PC32" in text
    assert '"count=3" copied' in text
    assert "count = 3" in text
    assert "init returned 0: success" in text


def test_a_refusal_is_told():
    lines, recorder = told("hello", uid=1000)
    assert "refused" in lines[-1]
    assert [step.name for step in recorder.steps] == ["syscall", "may_init_module"]


def test_every_step_that_is_emitted_has_words():
    """Events without words are those that are no steps."""
    kernel, names = Kernel(), set()
    kernel.events.listen(lambda event: names.add(event.name))
    for name in samples.names():
        if name != "spin":
            try:
                kernel.insmod(samples.path(name))
                kernel.rmmod(name)
            except KernelError:
                pass
    assert names - set(STEPS) == {"printk", "guest_return", "syscall_exit"}
