"""System calls as functions: kprobes on them, the table that names them, and CR0.WP before it."""

import pytest

from kmod_emu import KernelError, Killed


def test_a_probe_sees_the_registers_of_user_space(kernel, guest):
    """The pre_handler keeps the argument of close(2), out of the struct pt_regs that RDI points to."""
    seen = guest.data(b"", 8)
    di = kernel.profile.offset("pt_regs", "di")
    handler = guest.code(
        f"mov rax, [rsi + {di}]; mov rax, [rax + {di}]; mov rcx, {seen:#x}; mov [rcx], rax; xor eax, eax; ret"
    )
    probe = kernel.view("kprobe", guest.data(b"", kernel.profile.struct("kprobe").size))
    probe.symbol_name, probe.pre_handler = guest.text("__x64_sys_close"), handler
    assert guest.export("register_kprobe", probe.address) == 0
    process = kernel.process()
    with pytest.raises(KernelError) as caught:
        process.close(77)
    assert (caught.value.errno, kernel.memory.read_u64(seen)) == (9, 77)
    fd = process.open("/proc/version")
    process.close(fd)
    assert kernel.memory.read_u64(seen) == fd
    guest.export("unregister_kprobe", probe.address)
    with pytest.raises(KernelError):
        process.close(78)
    assert kernel.memory.read_u64(seen) == fd


def test_the_table_names_the_functions(kernel, guest):
    table = kernel.lookup_name("sys_call_table")
    assert kernel.memory.read_u64(table + 8 * 3) == kernel.symbol("__x64_sys_close")
    assert kernel.memory.read_u64(table + 8 * 451) == kernel.symbol("__x64_sys_ni_syscall")


def test_the_table_is_read_only_until_write_protection_is_off(kernel, guest):
    table = kernel.symbol("sys_call_table")
    with pytest.raises(Killed):
        guest.call("mov [rdi], rsi; ret", table, 1)
    toggle = "mov rax, cr0; btc rax, 16; mov cr0, rax; "
    guest.call(f"{toggle}mov [rdi], rsi; {toggle}ret", table, 1)
    assert kernel.memory.read_u64(table) == 1
    with pytest.raises(Killed):
        guest.call("mov [rdi], rsi; ret", table, 2)
