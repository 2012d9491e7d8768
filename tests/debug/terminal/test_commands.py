"""Commands on a stopped machine: gdb's words, and what they do."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu import samples
from tests.debug.conftest import Talk


@pytest.fixture(scope="module")
def random_session():
    talk = Talk(samples.path("params"))
    yield talk
    talk.debugger.close()


def test_it_stops_at_the_first_instruction_of_init(talk):
    t = talk("hello")
    assert t.greeting.endswith("hello_init () at samples/hello/hello.c:8\n8\t{")
    assert t("p $rip") == "$1 = (void (*)()) 0xffffffffc0005000 <hello_init>"
    assert t("x/2i $pc").split("\n")[0] == "=> 0xffffffffc0005000 <hello_init>:\tnopl   0x0(%rax,%rax,1)"
    assert t("bt") == "#0  hello_init () at samples/hello/hello.c:8"
    assert t("info symbol hello_init") == "hello_init in section .init.text of hello"
    assert "rip            0xffffffffc0005000  0xffffffffc0005000 <hello_init>" in t("info registers")
    assert t("info registers eflags") == "eflags         0x246               [ PF ZF IF ]"


def test_breakpoint_on_an_export_and_finish(talk):
    t = talk("hello")
    assert re.fullmatch(r"Breakpoint 1 at 0xffffffff80[0-9a-f]{6}", t("break _printk"))
    assert t("tbreak *hello_init+5", "tbreak 0xffffffffc0005005", "delete 2 3").split("\n") == [
        "Temporary breakpoint 2 at 0xffffffffc0005005: file samples/hello/hello.c, line 9.",
        "Temporary breakpoint 3 at 0xffffffffc0005005: file samples/hello/hello.c, line 9.",
    ]
    assert re.fullmatch(r"\nBreakpoint 1, 0xffffffff80\w{6} in _printk \(\)", t("continue"))
    frames = t("bt").split("\n")
    assert re.fullmatch(r"#0  0xffffffff80\w{6} in _printk \(\)", frames[0])
    assert frames[1] == "#1  0xffffffffc0005011 in hello_init () at samples/hello/hello.c:9"
    assert t("up") == f'{frames[1]}\n9\t\tprintk(KERN_INFO "Hello world!\\n");'
    assert t("up") == "Initial frame selected; you can't go up."
    assert t("down").split("\n")[0] == frames[0]
    assert t("finish").split("\n") == [
        "Hello world!",
        "hello_init () at samples/hello/hello.c:10",
        "10\t\treturn 0;",
    ]
    assert t("info breakpoints").split("\n")[1:] == [
        f"1       breakpoint     keep y   {frames[0][4:22]} <_printk>",
        "\tbreakpoint already hit 1 time",
    ]
    assert t("delete 1", "continue").split("\n") == [
        "Cleaning up module.",
        "[Inferior 1 (hello) exited normally]",
    ]
    assert t("next", "info locals", "stepi") == (
        "The program is not being run.\nNo frame selected.\nThe program is not being run."
    )


def test_stepping_by_lines_and_back(talk):
    t = talk("params")
    lines = [t("next").split("\n")[-1].split("\t")[0] for _ in range(5)]
    assert lines == ["65", "67", "68", "67", "68"]
    assert t("info locals") == "i = 1"
    back = [t("reverse-next").split("\t")[0] for _ in range(4)]
    assert back == ["67", "68", "67", "65"]
    assert t("reverse-stepi") == "62\t{"
    assert t("reverse-stepi").split("\n")[:2] == ["", "No more reverse-execution history."]
    assert t("stepi") == '65\t\tpr_info("params: count=%d size=%u verbose=%d whom=%s level=%d\\n",'
    assert t("next", "stepi").split("\n")[-1].startswith("0xffffffffc000503b\t67\t")  # in the middle


def test_step_goes_into_functions_and_inlined_ones(talk):
    t = talk("lists")
    assert t("step").split("\n")[-1].startswith("55")
    entered = t("step")
    assert entered.split("\n")[0].startswith("lists_print () at samples/lists/lists.c:")
    assert "lists_init () at samples/lists/lists.c:55" in t("bt")
    assert t("finish").split("\n")[0] == "lists: lists is coming, 1 references"


def test_a_condition_looks_at_locals(talk):
    t = talk("params")
    t("break params.c:68 if i == 1")
    assert t("continue").split("\n")[-2:] == [
        "Breakpoint 1, params_init () at samples/params/params.c:68",
        '68\t\t\tpr_info("params: values[%d]=%d\\n", i, values[i]);',
    ]
    assert t("p i", "p values[i]", "info args") == "$1 = 1\n$2 = 2\nNo arguments."
    assert "\tstop only if i == 1" in t("info b")
    assert t("break 68 if nosuch > 1") == 'No symbol "nosuch" in current context.'
    assert t("condition 1 nosuch") == 'No symbol "nosuch" in current context.'
    assert t("condition 1") == "Breakpoint 1 now unconditional."


def test_parameters_print_and_change(talk):
    t = talk("params", "count=7 whom=bob")
    assert re.fullmatch(r'\$1 = 0xffff8880\w{8} "bob"', t("p whom"))
    assert (
        t("p count", "p values", "p/x size", "p verbose")
        == "$2 = 7\n$3 = {1, 2, 0, 0}\n$4 = 0x10\n$5 = false"
    )
    assert t("p level_set") == (
        "$6 = {int (const char *, const struct kernel_param *)} 0xffffffffc000004e <level_set>"
    )
    assert t("p *level_ops.set == *level_set", "p __this_module.name").split("\n")[1] == (
        "$8 = \"params\", '\\000' <repeats 49 times>"
    )
    assert t("set var nvalues = 1", "p nvalues", "p sizeof(values) / sizeof values[0]") == "$9 = 1\n$10 = 4"
    assert t("set var $rbx = 0x1234", "p $bx", "p/x $rbx + 1") == "$11 = 4660\n$12 = 0x1235"
    t("break params_exit")
    assert "params: values[1]" not in t("continue")


def test_watchpoints_stop_where_the_value_changes_and_back(talk):
    t = talk("globals")
    assert t("watch globals_bss") == "Hardware watchpoint 1: globals_bss"
    assert t("continue").split("\n")[:6] == [
        "",
        "Hardware watchpoint 1: globals_bss",
        "",
        "Old value = 0",
        "New value = 1",
        "0xffffffffc000601f in globals_init () at samples/globals/globals.c:22",
    ]
    assert "breakpoint already hit 1 time" in t("info watchpoints")
    assert t("reverse-continue").split("\n")[3:5] == ["Old value = 1", "New value = 0"]
    assert t("p globals_bss") == "$1 = 0"
    assert t("watch 5") == "Cannot watch constant value `5'."
    assert t("rwatch globals_data") == "Hardware read watchpoint 2: globals_data"
    assert t("delete 1", "continue").split("\n")[-5:-2] == [
        "Hardware read watchpoint 2: globals_data",
        "",
        "Value = 11",
    ]


def test_a_local_in_a_register_is_watched_by_stepping(talk):
    t = talk("params")
    t("next", "next", "next")
    assert t("watch i", "rwatch i").split("\n") == [
        "Watchpoint 1: i",
        "Expression cannot be implemented with read/access watchpoint.",
    ]
    assert t("continue").split("\n")[:6] == [
        "params: values[0]=1",
        "",
        "Watchpoint 1: i",
        "",
        "Old value = 0",
        "New value = 1",
    ]
    assert t("info b").split("\n")[1] == "1       watchpoint     keep y                      i"
    assert t("continue").split("\n")[4:6] == ["Old value = 1", "New value = 2"]
    assert t("continue").split("\n") == [
        "",
        "Watchpoint 1 deleted because the program has left the block in",
        "which its expression is valid.",
        "0xffffffff80800200 in kmod_emu_return ()",
    ]


def test_a_local_on_the_stack_is_watched_until_its_function_returns(talk):
    t = talk("globals")
    assert t("next", "watch on_stack").split("\n")[-1] == "Hardware watchpoint 1: on_stack"
    assert t("continue").split("\n")[3:5] == ["Old value = 0", "New value = 55"]
    assert t("continue").split("\n")[-3:] == [
        "Watchpoint 1 deleted because the program has left the block in",
        "which its expression is valid.",
        "0xffffffff80800200 in kmod_emu_return ()",
    ]
    assert t("info b") == "No breakpoints or watchpoints."


def test_functions_are_called(talk):
    t = talk("params", "whom=bob")
    assert t("p jiffies_to_msecs(5)", "p strlen(whom) + 1", 'p strlen("hello")') == "$1 = 20\n$2 = 4\n$3 = 5"
    assert t('p _printk("%s %d\\n", "seven", 7)') == "seven 7\n$4 = 7"
    assert t("call kfree(0)", "bt") == "#0  params_init () at samples/params/params.c:62"
    assert t("p strlen()", "p count(1)") == (
        "Too few arguments in function call.\nCannot perform a call on a non-function value."
    )
    t("break level_get")
    assert t("p level_get(0, 0)").split("\n")[-2:] == [
        "The program being debugged stopped while in a function called from the debugger.",
        "Evaluation of the expression containing the function is abandoned.",
    ]
    assert t("bt").split("\n")[0].startswith("#0  level_get (buffer=0x0, kp=0x0) at")
    assert "Oops: 0000 [#1]" in t("finish")  # kp is NULL
    assert t("run", "next").split("\n")[-1].startswith("65")


def test_catchpoints(talk):
    t = talk("oops_null")
    assert t("catch oops") == "Catchpoint 1 (oops)"
    stopped = t("continue").split("\n")
    assert stopped[0] == "oops_null: about to write to 0000000000000000"
    assert stopped[2].startswith("Catchpoint 1 (oops: ")
    assert stopped[2].endswith("oops_null_init () at samples/oops_null/oops_null.c:12")
    assert t("p pointer") == "$1 = <optimized out>"  # it is never written
    assert t("p *(int *)0") == "Cannot access memory at address 0x0"
    t = talk("hello")
    assert t("catch export _printk", "catch export nothing", "catch nothing") == (
        "Catchpoint 1 (export _printk)\n"
        'The base kernel exports no "nothing".\nUndefined catch command: "nothing".  Try "help catch".'
    )
    assert re.search(r"\nCatchpoint 1 \(export _printk\), 0x\w+ in _printk \(\)", t("c"))
    assert t("catch syscall nosuch", "catch syscall delete_module").split("\n") == [
        "Unknown syscall name 'nosuch'.",
        "Catchpoint 2 (syscall delete_module)",
    ]


def test_a_breakpoint_at_a_function_that_is_missing(talk):
    from tests.module.builder import Builder

    module = Builder("6.1", "needy")
    module.call(".init.text", "__pci_register_driver")
    module.returns(".init.text", 0)
    module.entry("init", ".init.text")
    (path := talk.folder / "needy.ko").write_bytes(module.build())
    t = talk(path)
    address = t("break __pci_register_driver").rpartition(" ")[2]
    assert t("info b").split("\n")[1].split()[4:] == [address, "<__pci_register_driver>"]
    assert t("continue").split("\n")[1].startswith(f"Breakpoint 1, {address} in __pci_register_driver ()")
    assert t("bt").split("\n")[1].split()[3] == "init_module"


def test_points_are_ignored_disabled_deleted_and_have_commands(talk):
    t = talk("params")
    t("break params.c:68")
    assert t("ignore 1 1") == "Will ignore next crossing of breakpoint 1."
    t.session.read_line = iter(["p i", "end"]).__next__
    assert t("commands 1") == ""
    assert t("continue").split("\n")[-1] == "$1 = 1"
    assert "        p i" in t("info b")
    t = talk("params")
    t("tbreak params.c:68", "b params_exit", "disable 2")
    assert t("c").split("\n")[-2].startswith("Temporary breakpoint 1, params_init () at")
    assert t("info b").split("\n")[1].startswith("2       breakpoint     keep n ")
    assert t("c").split("\n")[-1] == "[Inferior 1 (params) exited normally]"
    assert t("delete 2", "info b", "delete 2") == "No breakpoints or watchpoints.\nNo breakpoint number 2."


def test_until_leaves_a_loop_and_advance_goes_somewhere(talk):
    t = talk("params")
    t("advance params.c:68", "until")
    assert t("until").split("\t")[0].endswith("69")
    assert t("advance params_exit") == "0xffffffff80800200 in kmod_emu_return ()"
    assert t("advance params_exit").split("\n")[-2].startswith("params_exit () at")


def test_examining_memory(talk):
    t = talk("params")
    assert t("x/2dw &values") == "0xffffffffc0002010 <values>:\t1\t2"
    assert t("x") == "0xffffffffc0002018 <values+8>:\t0"
    assert t("x/2xb &values").endswith("\t0x01\t0x00")
    assert t("x/s whom").endswith('\t"world"')
    assert t("x/a &level_ops.set") == "0xffffffffc0001248 <level_ops+8>:\t0xffffffffc000004e <level_set>"
    assert t("p/x $_", "p $__") == "$1 = 0xffffffffc0001248\n$2 = -1073741746"
    assert t("x/2gx 8") == "0x8:\tCannot access memory at address 0x8"
    assert t("x/3y 8", "x nosuch") == 'Undefined output format "y".\nNo symbol "nosuch" in current context.'
    assert t("output values[1]", 'printf "%d %s %#x\\n", count, whom, size') == "2\n1 world 0x10"


def test_displays(talk):
    t = talk("params")
    assert t("display nvalues", "display/i $pc").split("\n")[0] == "1: nvalues = 2"
    assert t("nexti").split("\n")[1:3] == ["1: nvalues = 2", "2: x/i $pc"]
    assert t("undisplay 1", "info display").split("\n")[-1] == "2:   y  /i $pc"
    assert t("undisplay 9") == "No display number 9."


def test_lists_and_disassembly(talk):
    t = talk("hello")
    assert t("list").split("\n")[0] == "3\t#include <linux/init.h>"
    assert t("list").split("\n")[0] == "13\tstatic void __exit hello_exit(void)"
    assert t("list 1,2", "list hello_exit").split("\n")[:2] == [
        "1\t// SPDX-License-Identifier: GPL-2.0-only",
        "2\t/* The first module of every course: one line when it comes, one when it goes. */",
    ]
    code = t("disassemble").split("\n")
    assert code[0] == "Dump of assembler code for function hello_init:"
    assert code[1] == "=> 0xffffffffc0005000 <+0>:\tnopl   0x0(%rax,%rax,1)"
    assert re.fullmatch(r"   0xffffffffc000500c <\+12>:\tcall   0xffffffff80\w{6} <_printk>", code[3])
    assert code[-1] == "End of assembler dump."
    assert t("set disassembly-flavor intel", "x/2i $pc").split("\t")[-1].startswith("mov    rdi, ")
    assert t("info line").startswith(
        'Line 8 of "samples/hello/hello.c" starts at address 0xffffffffc0005000 <hello_init>'
    )
    assert t("list 500") == 'Line number 495 out of range; "samples/hello/hello.c" has 23 lines.'


def test_tasks_are_threads(talk):
    t = talk("hello")
    threads = t("info threads").split("\n")
    assert re.fullmatch(
        r'\* \d +Thread \d+ "insmod" +hello_init \(\) at samples/hello/hello.c:8', threads[-1]
    )
    assert t("thread").endswith('"insmod")]')
    assert t("thread 99") == "Unknown thread 99."
    assert t("thread 1").split("\n")[0].startswith("[Switching to thread 1 (Thread 0")
    assert t("info modules").split("\n")[-1].endswith("Yes         hello (Coming)")
    assert t("monitor lsmod").split("\n")[1].split() == ["hello", "28672", "1"]


def test_the_names_of_gdbs_scripts_for_the_kernel(talk):
    t = talk("kthread")
    assert t('p $lx_module("kthread").state', "output $lx_current().comm") == (
        "$1 = MODULE_STATE_COMING\n" + r'"insmod\000\000\000\000\000\000\000\000\000"'
    )
    assert t("p $lx_task_by_pid(2).parent == &$lx_task_by_pid(0)") == "$2 = 1"
    assert t('p $lx_module("none")', "p $lx_task_by_pid(77)") == (
        "Unable to find MODULE none\nNo task of PID 77"
    )
    assert t("lx-lsmod").split("\n")[1].split()[0] == "kthread"
    assert [line.split()[1:] for line in t("lx-ps").split("\n")[2:4]] == [["1", "init"], ["2", "kthreadd"]]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("rever", ["reverse-continue", "reverse-finish", "reverse-next", "reverse-nexti", "reverse-step"]),
        ("info reg", ["registers"]),
        ("catch o", ["oops"]),
        ("break level_", ["level_get", "level_set"]),
        ("list params", ["params_exit", "params_init", "params.c:"]),
        ("p nval", ["nvalues"]),
        ("p $ra", ["$rax"]),
        ("p level_ops.", ["flags", "set", "get", "free"]),
        ("p __this_module.mkobj.kobj.na", ["name"]),
        ("p ((struct list_head *)0)->", ["next", "prev"]),
        ("help ste", ["step", "stepi"]),
        ("nosuch x", []),
        ("p nosuch.", []),
    ],
)
def test_completion(random_session, line, wanted):
    from kmod_emu.debug.terminal.complete import candidates

    found = list(candidates(random_session.session, line))
    assert [word for _, word in found][: len(wanted)] == wanted
    assert all(word.startswith(line[start:]) for start, word in found)


def test_unknown_names_are_refused_in_gdbs_words(talk):
    t = talk("hello")
    assert t("break nosuch") == (
        'Function "nosuch" not defined.\n'
        "Make breakpoint pending on future module load? (y or [n]) [answered N; input not from terminal]"
    )
    for command, answer in {
        "p nosuch": 'No symbol "nosuch" in current context.',
        "break nosuch.c:3": "No source file named nosuch.c.",
        "break hello.c:999": 'No line 999 in file "hello.c".',
        "list nosuch": 'Function "nosuch" not defined.',
        "frobnicate": 'Undefined command: "frobnicate".  Try "help".',
        "info frobnicate": 'Undefined info command: "frobnicate".  Try "help info".',
        "p (struct nosuch *)0": "No struct type named nosuch.",
        "frame 7": "No frame at level 7.",
        "delete 7": "No breakpoint number 7.",
        "p $rax = ": "A syntax error in expression, near `'.",
        "disassemble 0": "No function contains specified address.",
    }.items():
        assert t(command).startswith(answer), command
    assert t("p 1", "bt").split("\n")[0] == "$1 = 1"


def test_abbreviations_are_gdbs(talk):
    t = talk("hello")
    pairs = """b=break n=next ni=nexti s=step si=stepi c=continue fin=finish u=until bt=backtrace f=frame
        p=print l=list disas=disassemble rs=reverse-step rsi=reverse-stepi rn=reverse-next rni=reverse-nexti
        d=delete rc=reverse-continue disp=display tb=tbreak i=info h=help q=quit cond=condition"""
    table = dict(pair.split("=") for pair in pairs.split())
    from kmod_emu.debug.terminal.table import commands

    assert {short: commands.find(short).name for short in table} == table
    assert t("di") == 'Ambiguous command "di": directory, disable, disassemble, display.'
    assert t("i lo") == "No locals."
    for command in commands:
        assert command.summary.endswith((".", "VAR, or change a setting.")), command.name
        assert t(f"help {command.name}")


def test_the_machine_begins_anew_with_run(talk):
    t = talk("params")
    t("break params_exit", "continue")
    assert t("run count=9").split("\n")[-2] == "params_init () at samples/params/params.c:62"
    assert t("p count") == "$1 = 9"
    assert t("kill", "next", "info b").split("\n")[:2] == [
        "[Inferior 1 killed]",
        "The program is not being run.",
    ]


def test_who_wrote_this_last(talk):
    t = talk("globals", remove=False)
    assert "Nothing has written to 0xffffffffc0" in t("last-write globals_static")
    assert t("continue").endswith("exited normally]")
    address = "&globals_static"
    t("reverse-stepi")
    assert t(f"last-write {address}").split("\n")[-1].endswith("globals_static++;")


def test_a_module_without_debug_information_steps_by_instruction(talk, tmp_path):
    import subprocess

    subprocess.run(["strip", "-g", "-o", tmp_path / "params.ko", samples.path("params")], check=True)
    t = talk(tmp_path / "params.ko")
    assert t.greeting.split("\n")[-1] == "0xffffffffc0005000 in params_init ()"
    assert t("stepi") == "0xffffffffc0005005 in params_init ()"
    assert t("break level_set", "bt") == (
        "Breakpoint 1 at 0xffffffffc000004e\n#0  0xffffffffc0005005 in params_init ()"
    )
    assert t("p count") == "'count' has unknown type; cast it to its declared type"
    assert t("p (int)count", "p *(int *)&count", "p level_set") == (
        "$1 = 1\n$2 = 1\n$3 = {<text variable, no debug info>} 0xffffffffc000004e <level_set>"
    )
    assert t("info locals") == "No symbol table info available."
    assert t("list").startswith("No symbol table is loaded.")
    assert t("p ((struct module *)&__this_module)->state") == "$4 = 1"
    assert t("next").split("\n")[0] == "Single stepping until exit from function params_init,"


def test_every_command_survives_every_argument(talk):
    t = talk("params")
    from kmod_emu.debug.terminal.table import commands

    for command in commands:
        if command.name in ("quit", "run", "start", "kill", "commands"):
            continue
        for argument in (
            "",
            "nosuch",
            "1",
            "-1",
            "/x",
            "/99zz 1",
            "*0",
            "$rsp",
            "(",
            "a b c",
            "1 2",
            "if",
            "if 1",
        ):
            assert "internal error" not in t(f"{command.name} {argument}"), (command.name, argument)
    assert "internal error" not in t("run", "info b", "info display", "bt")


WORDS = [
    "p",
    "x",
    "b",
    "watch",
    "info",
    "list",
    "ptype",
    "display",
    "disas",
    "set",
    "frame",
    "cond",
    "printf",
]
TEXT = st.text(alphabet="/&*()[]{}.->$+= :,\"'%@#abcdefgxinouw0123456789_\\", max_size=16)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(WORDS), TEXT), max_size=4))
def test_no_text_is_more_than_refused(random_session, lines):
    for command, text in lines:
        assert "internal error" not in random_session(f"{command} {text}"), (command, text)


@pytest.mark.parametrize(
    "text", ["info line *0", "info symbol 0", "info address nosuch", "info scope nosuch"]
)
def test_info_about_nothing(talk, text):
    assert talk("hello")(text)
