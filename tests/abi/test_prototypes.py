"""C prototypes: types, argument page formats, results."""

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.abi.prototypes import Parameter, parse


def types(text):
    return [parameter.type.text for parameter in parse(text).parameters]


def names(text):
    return [parameter.name for parameter in parse(text).parameters]


def argument(declaration):
    """The type of one parameter."""
    return parse(f"void f({declaration})").parameters[0].type


def test_simple_read_from_buffer():
    prototype = parse(
        "ssize_t simple_read_from_buffer(void __user *to, size_t count, loff_t *ppos, const void *from, "
        "size_t available)"
    )
    assert prototype.name == "simple_read_from_buffer"
    assert (prototype.returns.size, prototype.returns.signed, prototype.returns.kind) == (8, True, "int")
    assert [parameter.name for parameter in prototype.parameters] == [
        "to",
        "count",
        "ppos",
        "from",
        "available",
    ]
    to, count, ppos, from_, _ = (parameter.type for parameter in prototype.parameters)
    assert (to.kind, to.pointee, to.user, to.is_text) == ("pointer", "void", True, False)
    assert (count.kind, count.size, count.signed) == ("int", 8, False)
    assert (ppos.pointee, ppos.user) == ("loff_t", False)
    assert (from_.text, from_.pointee) == ("const void *", "void")
    assert not prototype.variadic


@pytest.mark.parametrize(
    ("declaration", "size", "signed"),
    [
        ("char c", 1, True),
        ("signed char c", 1, True),
        ("unsigned char c", 1, False),
        ("short s", 2, True),
        ("unsigned short int s", 2, False),
        ("int i", 4, True),
        ("unsigned u", 4, False),
        ("unsigned int u", 4, False),
        ("long l", 8, True),
        ("unsigned long l", 8, False),
        ("long long l", 8, True),
        ("unsigned long long l", 8, False),
        ("long unsigned int l", 8, False),
        ("u8 x", 1, False),
        ("s8 x", 1, True),
        ("u16 x", 2, False),
        ("s16 x", 2, True),
        ("u32 x", 4, False),
        ("s32 x", 4, True),
        ("u64 x", 8, False),
        ("s64 x", 8, True),
        ("__be32 x", 4, False),
        ("uint8_t x", 1, False),
        ("gfp_t flags", 4, False),
        ("dev_t dev", 4, False),
        ("loff_t pos", 8, True),
        ("size_t n", 8, False),
        ("ssize_t n", 8, True),
        ("umode_t mode", 2, False),
        ("pid_t pid", 4, True),
        ("ktime_t t", 8, True),
        ("sector_t s", 8, False),
        ("dma_addr_t a", 8, False),
        ("phys_addr_t a", 8, False),
        ("resource_size_t a", 8, False),
        ("time64_t t", 8, True),
        ("enum hrtimer_mode mode", 4, True),
        ("const unsigned int x", 4, False),
        ("unsigned int const x", 4, False),
        ("kuid_t uid", 4, False),
        ("__kernel_size_t n", 8, False),
    ],
)
def test_integers(declaration, size, signed):
    ctype = argument(declaration)
    assert (ctype.kind, ctype.size, ctype.signed) == ("int", size, signed)


@pytest.mark.parametrize("declaration", ["bool b", "_Bool b", "const bool b"])
def test_bool(declaration):
    assert (argument(declaration).kind, argument(declaration).size) == ("bool", 1)


@pytest.mark.parametrize(
    ("declaration", "text", "pointee"),
    [
        ("struct file *f", "struct file *", "struct file"),
        ("struct  file* f", "struct file *", "struct file"),
        ("const struct file_operations *fops", "const struct file_operations *", "struct file_operations"),
        ("char **endp", "char **", "char *"),
        ("const char *const *argv", "const char * const *", "char *"),
        ("void __percpu *p", "void __percpu *", "void"),
        ("void __iomem *p", "void __iomem *", "void"),
        ("atomic_t *v", "atomic_t *", "atomic_t"),
        ("wait_queue_head_t *q", "wait_queue_head_t *", "wait_queue_head_t"),
        ("unsigned long *p", "unsigned long *", "unsigned long"),
        ("u8 addr[6]", "u8 *", "u8"),
        ("const char name[]", "const char *", "char"),
        ("char *argv[]", "char **", "char *"),
        ("const char * const strs[]", "const char * const *", "char *"),
        ("const u8 matrix[4][4]", "const u8 *", "u8"),
        ("int (*fn)(void *data)", "int (*)(void *data)", "int (void *data)"),
        ("void * (*fn)( void )", "void * (*)(void)", "void *(void)"),
        ("int (**fn)(int)", "int (**)(int)", "int (*)(int)"),
        ("int (*fn[])(int)", "int (**)(int)", "int (*)(int)"),
        ("int fn(void *data)", "int (*)(void *data)", "int (void *data)"),
        ("irq_handler_t handler", "irq_handler_t", None),
        ("work_func_t f", "work_func_t", None),
        ("notifier_fn_t f", "notifier_fn_t", None),
        ("va_list args", "va_list", None),
    ],
)
def test_pointers(declaration, text, pointee):
    ctype = argument(declaration)
    assert (ctype.kind, ctype.size, ctype.format) == ("pointer", 8, "Q")
    assert (ctype.text, ctype.pointee) == (text, pointee)


@pytest.mark.parametrize(
    ("declaration", "is_text", "user"),
    [
        ("const char *s", True, False),
        ("const char *const s", True, False),
        ("char const *s", True, False),
        ("const char fmt[]", True, False),
        ("char *s", False, False),
        ("const char __user *s", False, True),
        ("const char **s", False, False),
        ("const unsigned char *s", False, False),
        ("char __user * __user *argv", False, True),
        ("void __user **p", False, False),
        ("void * __user *p", False, True),
    ],
)
def test_text_and_user_pointers(declaration, is_text, user):
    assert (argument(declaration).is_text, argument(declaration).user) == (is_text, user)


def test_names():
    assert names(
        "int request_irq(unsigned int irq, irq_handler_t handler, int (*fn)(int a, int b), char x[4])"
    ) == [
        "irq",
        "handler",
        "fn",
        "x",
    ]


def test_names_after_a_qualified_pointer():
    assert names("int f(const char *const s, void *restrict p, const char * const strs[], int const n)") == [
        "s",
        "p",
        "strs",
        "n",
    ]


@pytest.mark.parametrize(
    ("declaration", "size"), [("struct xa_limit limit", 8), ("struct kqid qid", 8), ("pgprot_t prot", 8)]
)
def test_small_structures_travel_as_an_integer(declaration, size):
    assert (argument(declaration).kind, argument(declaration).size) == ("int", size)


def test_parameters_may_have_no_name():
    text = (
        "long f(struct file *, unsigned int, unsigned long, size_t, const char *, enum pm, int (*)(void *))"
    )
    assert names(text) == [""] * 7
    assert types(text) == [
        "struct file *",
        "unsigned int",
        "unsigned long",
        "size_t",
        "const char *",
        "enum pm",
        "int (*)(void *)",
    ]


@pytest.mark.parametrize("text", ["void f(void)", "void f()", "void f( void );", " void\tf (\nvoid) ; "])
def test_no_parameters(text):
    assert parse(text).parameters == ()
    assert parse(text).text == "void f(void)"
    assert parse(text).argument_format() == "<"


def test_variadic():
    prototype = parse("int _printk(const char *fmt, ...)")
    assert prototype.variadic
    assert [parameter.name for parameter in prototype.parameters] == ["fmt"]
    assert prototype.text == "int _printk(const char *fmt, ...)"


def test_attributes_are_dropped():
    text = "extern asmlinkage __must_check void *__kmalloc(size_t size, gfp_t flags);"
    assert parse(text).text == "void *__kmalloc(size_t size, gfp_t flags)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a prototype"),
        ("int x", "not a prototype"),
        ("int f(int a", "not a prototype"),
        ("f(int a)", "unknown type 'f'"),
        ("int f(foo_t x)", "unknown type 'foo_t'"),
        ("foo_t f(int x)", "unknown type 'foo_t'"),
        ("int f(double x)", "unknown type 'double'"),
        ("int f(int a int b)", "unknown type 'int a int b'"),
        ("int f(struct timespec64 ts)", "struct timespec64 by value"),
        ("struct page f(int x)", "struct page by value"),
        ("int f(void x)", "is void"),
        ("int f(void, int x)", "is void"),
        ("int f(int a,)", "empty declaration"),
        ("int f(, int a)", "empty declaration"),
        ("int f(...)", "without a parameter"),
        ("int f(..., int a)", "unknown type"),
        ("int f(int (*fn)(int)", "unbalanced"),
        ("int f(int a))", "unbalanced"),
        ("int f(*x)", "'*' does not point to a type"),
        ("int f(struct *x)", "does not point to a type"),
        ("int f(MACRO void *x)", "does not point to a type"),
        ("int f(char *x y)", "does not point to a type"),
        ("int f(int 9x)", "unknown type"),
        ("int f(int a[)", "array"),
        ("int f(int (*a b)(int))", "declarator"),
        ("int f(int (*fn))", "function parameter"),
        ("int f((*fn)(int))", "function parameter"),
    ],
)
def test_what_is_no_prototype_says_why_and_where(text, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse(text)
    assert repr(text) in str(error.value)


def test_argument_page():
    prototype = parse("void f(int a, unsigned int b, u8 c, bool d, s64 e, const char *g, u16 h, long i)")
    assert prototype.argument_format() == "<i4xI4xB7x?7xqQ"
    assert prototype.stack_parameters == prototype.parameters[6:]
    assert [parameter.name for parameter in prototype.stack_parameters] == ["h", "i"]
    garbage = 0xDEADBEEF << 32
    page = struct.pack(
        "<7Q", garbage | 0xFFFFFFFB, garbage | 0xFFFFFFFB, 0x1FF, 0x100, (1 << 64) - 9, 0xFFFF888000000000, 0
    )
    assert struct.unpack_from(prototype.argument_format(), page) == (
        -5,
        0xFFFFFFFB,
        0xFF,
        False,
        -9,
        0xFFFF888000000000,
    )


@pytest.mark.parametrize(
    ("returns", "value", "rax"),
    [
        ("void ", None, 0),
        ("void ", 5, 0),
        ("int ", 0, 0),
        ("int ", -12, 0xFFFFFFFFFFFFFFF4),
        ("int ", 0xFFFFFFF4, 0xFFFFFFFFFFFFFFF4),
        ("int ", 0x1_0000_0005, 5),
        ("unsigned int ", -1, 0xFFFFFFFF),
        ("s8 ", 0x80, 0xFFFFFFFFFFFFFF80),
        ("u16 ", -1, 0xFFFF),
        ("long ", -1, 0xFFFFFFFFFFFFFFFF),
        ("size_t ", 1 << 64, 0),
        ("bool ", 2, 1),
        ("bool ", False, 0),
        ("int ", True, 1),
        ("void *", -12, 0xFFFFFFFFFFFFFFF4),
        ("struct page *", 0xFFFFEA0000000000, 0xFFFFEA0000000000),
    ],
)
def test_results(returns, value, rax):
    assert parse(f"{returns}f(void)").encode_result(value) == rax


def test_a_handler_that_forgot_its_result_is_told():
    with pytest.raises(TypeError, match=r"f returns int, not None"):
        parse("int f(void)").encode_result(None)


def test_parsing_is_cached():
    assert parse("int g(int a)") is parse("int g(int a)")


_IDENTIFIERS = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True).map(lambda name: f"n{name}")
_VALUES = st.sampled_from(
    [
        "int",
        "unsigned int",
        "long long",
        "bool",
        "u8",
        "s64",
        "gfp_t",
        "size_t",
        "enum x",
        "irq_handler_t",
        "char",
    ]
)
_TARGETS = st.sampled_from(
    ["void", "char", "const char", "struct file", "const struct page", "foo_t", "u8 __percpu"]
)
_POINTERS = st.builds(
    lambda target, user, stars: f"{target}{' __user' * user} {stars}",
    _TARGETS,
    st.booleans(),
    st.sampled_from(["*", "**", "* const *", "* *", "*__user *"]),
)
_FUNCTIONS = st.builds(
    "{} (*{})({})".format, st.sampled_from(["int", "void *"]), _IDENTIFIERS, _VALUES | _POINTERS
)
_PARAMETERS = st.builds("{} {}".format, _VALUES | _POINTERS, _IDENTIFIERS | st.just("")) | _FUNCTIONS


@given(
    returns=_VALUES | _POINTERS | st.just("void"),
    name=_IDENTIFIERS,
    parameters=st.lists(_PARAMETERS, max_size=9),
    variadic=st.booleans(),
    space=st.sampled_from([" ", "  ", "\n\t"]),
)
def test_a_prototype_prints_as_it_parses(returns, name, parameters, variadic, space):
    pieces = parameters + ["..."] * (variadic and bool(parameters))
    text = f"{returns} {name}({', '.join(pieces)})".replace(" ", space)
    prototype = parse(text)
    assert prototype.name == name
    assert len(prototype.parameters) == len(parameters)
    assert all(isinstance(parameter, Parameter) for parameter in prototype.parameters)
    assert parse(prototype.text) == prototype
    struct.calcsize(prototype.argument_format())
    assert struct.calcsize(prototype.argument_format()) == 8 * min(6, len(parameters))


def parsed_or_refused(text):
    try:
        return parse(text)
    except ValueError as error:
        return str(error)


@given(st.text("intvoidchar *(),.[]_x", max_size=40))
def test_noise_is_refused_with_its_text_or_is_a_prototype(text):
    result = parsed_or_refused(text)
    if isinstance(result, str):
        assert repr(text) in result
    else:
        assert parse(result.text) == result
