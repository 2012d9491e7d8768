"""From a C call in the guest to a Python function and back."""

import errno

import pytest

from kmod_emu import Killed, Unimplemented
from kmod_emu.abi.structs import StructView
from kmod_emu.errors import KernelError
from kmod_emu.kernel.layout import TRAP_SPACE

MASK = (1 << 64) - 1


def call(guest, prototype, function, *arguments):
    """Call an export made of a Python function."""
    name = prototype.partition("(")[0].split()[-1].lstrip("*")
    guest.kernel.export(prototype)(function)
    return guest.export(name, *arguments)


# --- arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ctype", "value", "seen"),
    [
        ("int", 0xFFFF_FFFF, -1),
        ("int", 0x1234_5678_0000_0005, 5),
        ("unsigned int", -1, 0xFFFF_FFFF),
        ("long", -1, -1),
        ("unsigned long", -1, MASK),
        ("u8", 0x1FF, 0xFF),
        ("s8", 0x1FF, -1),
        ("short", 0x8000, -0x8000),
        ("u16", 0x18000, 0x8000),
        ("bool", 1, True),
        ("bool", 0x100, False),
        ("size_t", 1 << 63, 1 << 63),
        ("loff_t", 1 << 63, -(1 << 63)),
        ("void *", -8, MASK - 7),
        ("const char __user *", 5, 5),
        ("gfp_t", -1, 0xFFFF_FFFF),
        ("enum pid_type", -1, -1),
    ],
)
def test_register_argument(guest, ctype, value, seen):
    arguments = []
    call(guest, f"void probe({ctype} x)", lambda kernel, x: arguments.append(x), value)
    assert arguments == [seen]


def test_arguments_beyond_six_are_on_the_stack(kernel, guest):
    seen = []

    @kernel.export("int many(int a, int b, int c, int d, int e, int f, long g, int h, u8 i)")
    def many(kernel, *arguments):
        seen.append(arguments)
        return 77

    place = guest.code(
        "mov edi, 1; mov esi, 2; mov edx, 3; mov ecx, 4; mov r8d, 5; mov r9d, 6; "
        "push 0x1ff; push -8; push -7; call {many}; add rsp, 24; ret"
    )
    assert kernel.call(place) == 77
    assert seen == [(1, 2, 3, 4, 5, 6, -7, -8, 0xFF)]


def test_text_and_bytes(kernel, guest):
    place = guest.data("grüß\0rest".encode() + b"\xff\0")
    seen = []

    def probe(kernel, a: str, b: bytes, c: int):
        seen.extend((a, b, c))

    probe.__annotations__ = {"a": "str", "b": "bytes", "c": "int"}
    call(guest, "void probe(const char *a, const char *b, const char *c)", probe, place, place, place)
    assert seen == ["grüß", "grüß".encode(), place]


def test_text_that_is_not_utf8_survives(kernel, guest):
    seen = []

    def probe(kernel, text):
        seen.append(text)

    probe.__annotations__ = {"text": "str"}
    call(guest, "void probe(const char *text)", probe, guest.data(b"\xff\xfe\0"))
    assert seen[0].encode("utf-8", "surrogateescape") == b"\xff\xfe"


def test_struct_view(kernel, guest):
    def probe(kernel, task):
        assert isinstance(task, StructView)
        return task.pid

    probe.__annotations__ = {"task": "StructView"}
    task = kernel.tasks.create("user")
    assert call(guest, "int probe(const struct task_struct *task)", probe, task.address) == task.pid


def test_variadic_arguments_from_registers_and_stack(kernel, guest):
    seen = []

    @kernel.export("int sum(int count, ...)")
    def sum_(kernel, count, arguments):
        seen.extend(arguments.next() for _ in range(count))
        return sum(seen)

    place = guest.code(
        "mov edi, 8; mov esi, 1; mov edx, 2; mov ecx, 3; mov r8d, 4; mov r9d, 5; "
        "push 8; push 7; push 6; call {sum}; add rsp, 24; ret"
    )
    assert kernel.call(place) == 36
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8]


def test_variadic_after_stack_arguments(kernel, guest):
    seen = []

    @kernel.export("int far(int a, int b, int c, int d, int e, int f, int g, ...)")
    def far(kernel, a, b, c, d, e, f, g, arguments):
        seen.extend((g, arguments.next(), arguments.next()))

    kernel.call(guest.code("push 9; push 8; push -7; call {far}; add rsp, 24; ret"))
    assert seen == [-7, 8, 9]


# --- results --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, -1, MASK, 1 << 63, True, None])
def test_result(guest, value):
    assert call(guest, "long probe(void)", lambda kernel: value) == (value or 0) & MASK


@pytest.mark.parametrize("asynchronous", [False, True])
def test_kernel_error_is_a_negative_errno(kernel, guest, asynchronous):
    def plain(kernel):
        raise KernelError(errno.ENODEV, "no such thing")

    async def waits(kernel):
        await kernel.sched.sleep(1)
        raise KernelError(errno.ENODEV, "no such thing")

    assert call(guest, "int probe(void)", waits if asynchronous else plain) == -errno.ENODEV & MASK


def test_coroutine_that_does_not_wait(kernel, guest):
    async def probe(kernel, x):
        if x == 3:
            raise KernelError(errno.EINVAL)
        return x + 1

    assert call(guest, "int probe(int x)", probe, 1) == 2
    assert guest.export("probe", 3) == -errno.EINVAL & MASK


@pytest.mark.parametrize("asynchronous", [False, True])
def test_death_in_a_handler_is_death(kernel, guest, asynchronous):
    """Killed is a KernelError, and was given to the guest as -EINTR: panic() returned."""

    def plain(kernel):
        raise Killed(9, "by the handler")

    async def waits(kernel):
        raise Killed(9, "by the handler")

    with pytest.raises(Killed) as caught:
        call(guest, "int probe(void)", waits if asynchronous else plain)
    assert caught.value.explanation == "by the handler"
    assert guest.call("mov eax, 1; ret") == 1


def test_an_error_of_the_handlers_own_reaches_the_caller(kernel, guest):
    def probe(kernel):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(guest, "int probe(void)", probe)
    assert guest.call("mov eax, 1; ret") == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_bad_pointer_in_a_handler_is_an_oops_of_the_caller(kernel, guest, asynchronous):
    def plain(kernel, p):
        return kernel.memory.read_u64(p + 8)

    async def waits(kernel, p):
        await kernel.sched.sleep(1)
        return kernel.memory.read_u64(p + 8)

    with pytest.raises(Killed):
        call(guest, "long probe(void *p)", waits if asynchronous else plain, 0)
    assert "BUG: kernel NULL pointer dereference, address: 0000000000000008" in kernel.dmesg()
    assert guest.call("mov eax, 1; ret") == 1


# --- what is not there, and what Python adds ------------------------------------------------------------


def test_calling_an_unimplemented_export_names_it_and_its_caller(kernel, guest):
    name = guest.absent()
    kernel.export("int caller(int x)")(lambda kernel, x: x)
    with pytest.raises(Unimplemented) as caught:
        guest.call(f"sub rsp, 8; call {{{name}}}; ud2")
    assert caught.value.name == name
    assert f"calls {name}, which this base kernel does not implement" in caught.value.explanation
    assert f"{0xFFFF_FFFF_C000_0000:#x}"[:12] in caught.value.explanation
    assert kernel.faults.unimplemented == [name]
    assert not any("BUG" in line for line in kernel.dmesg())
    assert guest.call("mov eax, 1; ret") == 1


@pytest.mark.parametrize("source", ["mov rax, [{name}]; ret", "mov dword ptr [{name}], 1; ret"])
def test_touching_an_unimplemented_variable(kernel, guest, source):
    name = guest.absent()
    address = guest.code(source.replace("[{name}]", "[rdi]"))
    with pytest.raises(Unimplemented) as caught:
        kernel.call(address, kernel.symbol(name))
    assert f"uses the variable {name}" in caught.value.explanation


def test_permissive_returns_zero_and_goes_on(kernel, guest):
    kernel.faults.permissive = True
    name = guest.absent()
    source = f"push rbx; mov rbx, rsp; mov eax, 5; call {{{name}}}; cmp rbx, rsp; jne bad; "
    assert guest.call(source + "add rax, 7; pop rbx; ret; bad: ud2") == 7
    assert kernel.faults.unimplemented == [name]


def test_python_supplies_an_unimplemented_export(kernel, guest):
    name = guest.absent()
    kernel.export(f"int {name}(int x)")(lambda kernel, x: x * 2)
    assert guest.call(f"sub rsp, 8; mov edi, 21; call {{{name}}}; add rsp, 8; ret") == 42


def test_python_replaces_an_export(kernel, guest):
    freed = []
    kernel.export("void kfree(const void *p)")(lambda kernel, p: freed.append(p))
    guest.call("sub rsp, 8; mov edi, 5; call {kfree}; add rsp, 8; ret")
    assert freed == [5]


def test_export_of_one_machine_is_not_of_another(kernel, guest):
    kernel.export("int only_here(void)")(lambda kernel: 1)
    with pytest.raises(LookupError):
        type(kernel)().symbol("only_here")


def test_trap_slots_run_out_with_an_error(kernel):
    def fill():
        for _ in range(TRAP_SPACE):
            kernel.export("int again(void)")(lambda kernel: 1)

    with pytest.raises(KernelError) as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC


def test_handler_may_add_exports_while_its_own_slot_is_executing(kernel, guest):
    """The new slots are on the page whose code runs; its translation is dropped from inside the trap."""

    @kernel.export("int grow(int x)")
    def grow(kernel, x):
        for number in range(20):
            kernel.export(f"int grown{number}(void)")(lambda kernel, number=number: x + number)
        return x

    place = guest.code("push rbx; mov ebx, edi; mov edi, ebx; call {grow}; add eax, ebx; pop rbx; ret")
    for x in (1, 5, 9):
        assert kernel.call(place, x) == 2 * x
        assert [guest.export(f"grown{number}") for number in (0, 19)] == [x, x + 19]
