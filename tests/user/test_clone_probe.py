"""A kprobe on kernel_clone(), the classic first one, sees programs fork."""

from kmod_emu.machine.asm import assemble
from kmod_emu.machine.memory import EXEC, READ, WRITE
from tests.user.conftest import needs_busybox


@needs_busybox
def test_a_probe_sees_each_fork_and_its_flags(shell):
    kernel = shell.kernel
    size = kernel.profile.struct("kprobe").size
    data = kernel.vmalloc.allocate(size + 24, READ | WRITE)
    counter, flags, name = data + size, data + size + 8, kernel.vmalloc.allocate(16, READ | WRITE)
    handler = kernel.module_area.allocate(4096, READ | EXEC)
    di = kernel.profile.offset("pt_regs", "di")
    source = (
        f"mov rax, {counter:#x}; inc qword ptr [rax]; mov rdx, [rsi + {di}]; mov rdx, [rdx]; "
        f"mov [rax + 8], rdx; xor eax, eax; ret"
    )
    kernel.memory.write(handler, assemble(source, handler))
    kernel.memory.write(name, b"kernel_clone\0")
    probe = kernel.view("kprobe", data)
    probe.symbol_name, probe.pre_handler = name, handler
    assert kernel.call(kernel.symbol("register_kprobe"), data) == 0
    objects = kernel.held()["heap objects"]
    result = shell.sh("(echo child); (exit 3); echo $?")
    assert result.stdout == b"child\n3\n"
    assert (kernel.memory.read_u64(counter), kernel.memory.read_u64(flags) & 0xFF) == (2, 0)
    assert kernel.held()["heap objects"] == objects
    kernel.call(kernel.symbol("unregister_kprobe"), data)
    assert shell.sh("(echo again)").stdout == b"again\n"
    assert kernel.memory.read_u64(counter) == 2
