"""How calls print in traces."""

import pytest

from kmod_emu.abi.callformat import format_call, format_value, quote
from kmod_emu.abi.prototypes import parse


def one(declaration, value, text_of=None):
    return format_value(parse(f"void f({declaration})").parameters[0].type, value, text_of)


def test_names_and_pointers():
    call = format_call(parse("int misc_register(struct miscdevice *misc)"), (0xFFFF888000001000,))
    assert call == "misc_register(misc=0xffff888000001000)"


def test_no_arguments():
    assert format_call(parse("void schedule(void)"), ()) == "schedule()"


def test_text_is_read_and_quoted():
    prototype = parse("struct class *class_create(struct module *owner, const char *name)")
    assert (
        format_call(prototype, (0, 0x1000), {0x1000: "echo"}.__getitem__)
        == 'class_create(owner=NULL, name="echo")'
    )
    assert format_call(prototype, (0, 0x1000)) == "class_create(owner=NULL, name=0x1000)"
    assert format_call(prototype, (0, "echo")) == 'class_create(owner=NULL, name="echo")'


def test_a_null_string_is_not_read():
    def text_of(address):
        raise AssertionError(f"read {address:#x}")

    assert one("const char *s", 0, text_of) == "NULL"
    assert one("char *s", 0x1000, text_of) == "0x1000"
    assert one("const char __user *s", 0x1000, text_of) == "0x1000"


@pytest.mark.parametrize(
    ("declaration", "value", "shown"),
    [
        ("int rc", -22, "-22"),
        ("int n", 10, "10"),
        ("gfp_t flags", 0xCC0, "0xcc0"),
        ("gfp_t flags", 0, "0x0"),
        ("umode_t mode", 0o644, "0644"),
        ("umode_t mode", 0, "0"),
        ("bool on", True, "true"),
        ("bool on", 0, "false"),
        ("unsigned long address", 0xFFFFFFFF81000000, "0xffffffff81000000"),
        ("unsigned long n", 0xFFFFFFFF, "4294967295"),
        ("loff_t pos", 1 << 40, "1099511627776"),
        ("loff_t pos", -1, "-1"),
        ("dma_addr_t a", 0x1000, "0x1000"),
    ],
)
def test_values(declaration, value, shown):
    assert one(declaration, value) == shown


def test_variadic_arguments_print_bare():
    prototype = parse("int _printk(const char *fmt, ...)")
    call = format_call(prototype, ("n=%d at %p %s\n", 7, 0xFFFFFFFFC0000000, "bob"))
    assert call == '_printk(fmt="n=%d at %p %s\\n", 7, 0xffffffffc0000000, "bob")'


def test_unnamed_parameters_print_bare():
    assert format_call(parse("int f(int, int b)"), (1, 2)) == "f(1, b=2)"


def test_fewer_values_than_parameters():
    assert format_call(parse("int f(int a, int b)"), (1,)) == "f(a=1)"


def test_quote_escapes_and_cuts():
    assert quote('\x026"\\\t\x7f') == '"\\x026\\"\\\\\\t\\x7f"'
    assert quote("\x016hello") == 'KERN_INFO "hello"'
    assert quote("x" * 80) == f'"{"x" * 80}"'
    assert quote("x" * 81) == f'"{"x" * 80}"...'
