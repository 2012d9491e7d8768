"""The calls of real modules, as a trace tells them."""

import json
import re

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.observe.trace.jsonlines import ChromeSink, JsonSink
from kmod_emu.observe.trace.lcov import line_counts
from kmod_emu.observe.trace.text import TextSink
from kmod_emu.observe.trace.tracer import DEFAULT, KINDS, Tracer


def traced(name, use=lambda kernel: None, params="", limit=10_000, form=TextSink, **options):
    """Lines of the trace of one sample, from insmod to rmmod, and its kernel and tracer."""
    kernel, lines = Kernel(), []
    tracer = Tracer(kernel, [form(lines.append, limit)], **options)
    try:
        kernel.insmod(samples.path(name), params)
        use(kernel)
        kernel.rmmod(name)
    except KernelError:
        pass
    tracer.finish()
    return lines, kernel, tracer


def text(name, *args, **options):
    """The same without columns, sources cut off."""
    lines, *_ = traced(name, *args, **options)
    return [line.partition("  <")[0].rstrip() for line in lines]


def test_calls_have_arguments_results_and_lines():
    lines, *_ = traced("echo", kinds=["export"])
    assert lines[:2] == [
        "--- insmod (100) ---",
        '__register_chrdev(major=0, baseminor=0, count=256, name="echo", fops=echo_fops) = 246'
        f"{'':7}<samples/echo/echo.c:68>",
    ]
    assert lines[-1].startswith('__unregister_chrdev(major=246, baseminor=0, count=256, name="echo")  ')


def test_functions_nest_with_what_they_call():
    assert text("hello", kinds=["function", "export"]) == [
        "--- insmod (100) ---",
        "hello_init() {",
        '  _printk(fmt=KERN_INFO "Hello world!\\n") = 12',
        "} = 0    /* 5 instructions */",
        "--- rmmod (101) ---",
        "hello_exit() {",
        '  _printk(fmt=KERN_INFO "Cleaning up module.\\n") = 19',
        "}    /* 2 instructions */",
    ]


def test_a_log_line_stands_below_the_call_that_wrote_it():
    lines = text("hello", kinds=["export", "printk"])
    at = lines.index('_printk(fmt=KERN_INFO "Hello world!\\n") = 12')
    assert lines[at + 1] == "  | Hello world!"


def test_module_code_that_the_kernel_calls_nests_in_the_kernels_function():
    lines = text("kprobe", kinds=["function", "export"])
    at = lines.index('    kstrtoint(s="12", base=10, res=0xffffc9000001bf1c) {')
    assert lines[at + 1] == "      before(p=probe, regs=0xffffc9000001be50) {"
    closing = next(line for line in lines[at:] if line.startswith("    }"))
    assert closing == "    } = 0    /* 29 instructions */"


def test_tasks_are_kept_apart():
    lines = text("kthread", lambda kernel: kernel.advance(2), kinds=["function", "export"])
    heads = [line for line in lines if line.startswith("---")]
    assert heads[:3] == ["--- insmod (100) ---", "--- ticker/1 (101) ---", "--- runner (102) ---"]
    resumed = lines[lines.index("--- ticker/1 (101) ---", 10) + 1]
    assert resumed.startswith("  } = 0")  # the sleep that began before the switch


def test_system_calls_of_a_process_lead_to_the_modules_functions():
    def use(kernel):
        process = kernel.process()
        process.mknod("/dev/echo", 0o020600, 246 << 8)
        process.read(process.open("/dev/echo"), 10)

    lines = text("echo", use, kinds=["syscall", "function"], only=["read", "echo_read"])
    assert lines[1].startswith("read(fd=3, buf=0x")
    assert re.sub("0x[0-9a-f]+", "ADDRESS", lines[2]) == (
        "  echo_read(file=ADDRESS, to=ADDRESS, count=10, pos=ADDRESS) = 0"
    )
    assert lines[3:] == ["} = 0"]


def test_what_never_returns_is_said():
    lines = text("oops_null", kinds=["syscall", "function"])
    assert lines[-2:] == ["  oops_null_init() = ?", "} = ?"]


def test_errors_have_their_names():
    assert any(line.endswith('devname="selfish", dev_id=NULL) = -16 (EBUSY)') for line in text("irq"))


def test_filters():
    assert text("hello", only=["_print*"], kinds=["function", "export"])[1].startswith("_printk(")
    assert not any("_printk" in line for line in text("hello", without=["_printk"], kinds=["export"]))
    locks = [line for line in text("locks", kinds=["lock"]) if not line.startswith("---")]
    assert locks
    assert all("lock" in line or "down" in line or "up" in line for line in locks if "}" not in line), locks


def test_steps_are_a_kind():
    assert any("/* relocation: " in line for line in text("hello", kinds=["step"]))


def test_relocations_are_a_kind():
    lines = [line for line in text("echo", kinds=["reloc"]) if line.startswith("/*")]
    assert len(lines) == 84
    assert lines[0].startswith("/* .text+0x1 R_X86_64_PLT32 __fentry__-0x4: 00 00 00 00 -> ")


def test_every_kind_has_a_name_and_the_default_is_among_them():
    assert set(DEFAULT) <= set(KINDS)


def test_the_limit_cuts_and_says_so():
    whole, cut = text("kprobe"), text("kprobe", limit=5)
    assert cut[:5] == whole[:5]
    assert cut[5:] == [f"... and {len(whole) - 5} more lines (--limit)"]


def test_tracing_changes_nothing():
    for name in ("kthread", "kprobe", "timer", "platform"):
        untraced = Kernel()
        untraced.insmod(samples.path(name))
        untraced.advance(2)
        untraced.rmmod(name)
        _, kernel, _ = traced(name, lambda kernel: kernel.advance(2))
        assert kernel.printk.dmesg() == untraced.printk.dmesg()


def test_hostile_text_is_harmless():
    lines, *_ = traced("params", params='whom="\x1b[31mred"', kinds=["printk", "export"])
    assert not any("\x1b" in line for line in lines)
    assert any(r"whom=\x1b[31mred" in line for line in lines)


def test_json_objects_pair_and_carry_the_documented_fields():
    lines, *_ = traced("kprobe", form=JsonSink)
    objects = [json.loads(line) for line in lines]
    common = {"event", "kind", "name", "pid", "comm", "time_ns", "clock"}
    more = {"enter": {"call", "source"}, "leave": {"result", "instructions"}, "point": {"text"}}
    assert all(set(item) == common | more[item["event"]] for item in objects)
    depth = 0
    for item in objects:
        depth += {"enter": 1, "leave": -1, "point": 0}[item["event"]]
        assert depth >= 0
    assert depth == 0
    assert [item["clock"] for item in objects] == sorted(item["clock"] for item in objects)


def test_a_repeated_instruction_counts_once():
    """Unicorn tells of each round, except where it runs one instruction at a time."""
    lines, *_ = traced("i2c", form=JsonSink)
    [call] = [
        item for item in map(json.loads, lines) if item.get("call", "").startswith("i2c_register_driver")
    ]
    assert call["clock"] == 20  # objdump's number of it, with two `rep stos` in front of it


def test_json_limit_leaves_json():
    lines, *_ = traced("kprobe", form=JsonSink, limit=3)
    assert json.loads(lines[-1])["event"] == "dropped"
    assert len(lines) == 4


@pytest.mark.parametrize("limit", [5, 10_000])
def test_chrome_slices_pair(limit):
    pieces, *_ = traced("kthread", lambda kernel: kernel.advance(2), form=ChromeSink, limit=limit)
    document = json.loads("".join(pieces))
    open_slices = {}
    for event in document["traceEvents"]:
        if event["ph"] in "BE":
            open_slices.setdefault(event["tid"], []).append(event["name"])
        if event["ph"] == "E":
            end, begin = open_slices[event["tid"]].pop(), open_slices[event["tid"]].pop()
            assert begin == end
    assert (document["otherData"]["dropped"] > 0) is (limit == 5)


def test_lines_that_ran_are_counted():
    *_, tracer = traced("params")
    (lines,) = (lines for file, lines in line_counts(tracer.flow).items() if file.endswith("params.c"))
    assert lines[68] == 2  # the body of a loop over two values
    assert lines[74] == 1
    assert lines[34] == 0  # a parameter's operation that nobody used


def test_an_endless_loop_ends():
    kernel, lines = Kernel(), []
    kernel.cpu.watchdog.limit = 0.3
    tracer = Tracer(kernel, [TextSink(lines.append, 100)])
    with pytest.raises(KernelError):
        kernel.insmod(samples.path("spin"))
    tracer.finish()
    assert any("soft lockup" in line for line in lines)
    assert lines[-1] == "} = ?"
