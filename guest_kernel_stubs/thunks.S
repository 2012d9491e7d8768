/*
 * Code with register conventions of its own, called by compiler-made code rather than by C
 * (arch/x86/lib/retpoline.S, arch/x86/kernel/ftrace_64.S, static_call.c).
 */
	.text

	.macro FUNCTION name
	.globl \name
	.type \name, @function
\name:
	.endm

/* Sits at the first byte of the image, so that no exported function has the image's own address. */
	.type stub_kernel_head, @function
stub_kernel_head:
	ud2

	.p2align 4
FUNCTION __fentry__
	ret

	.p2align 4
FUNCTION __x86_return_thunk
	ret
	int3

	.p2align 4
FUNCTION __static_call_return0
	xorl %eax, %eax
	ret

	.type static_call_nop, @function
static_call_nop:
	ret

/* Paravirt operations as they are without a hypervisor; of the registers they change only RAX. */
	.macro NATIVE name:req, code:vararg
	.p2align 4
	.hidden pv_native_\name
FUNCTION pv_native_\name
	.byte \code
	ret
	.endm

	NATIVE save_fl, 0x9c, 0x58				/* pushf; pop %rax */
	NATIVE restore_fl, 0x57, 0x9d				/* push %rdi; popf */
	NATIVE irq_disable, 0xfa
	NATIVE irq_enable, 0xfb
	NATIVE queued_spin_unlock, 0xc6, 0x07, 0x00		/* movb $0,(%rdi) */
	NATIVE vcpu_is_preempted, 0x31, 0xc0			/* xor %eax,%eax */
	NATIVE read_cr0, 0x0f, 0x20, 0xc0			/* mov %cr0,%rax */
	NATIVE write_cr0, 0x0f, 0x22, 0xc7			/* mov %rdi,%cr0 */

/* Retpolines: one every 32 bytes, in the order of the processor's register numbers, rsp included. */
	.macro THUNKS prefix
	.irp reg, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	.p2align 5
FUNCTION \prefix\()_\reg
	jmp *%\reg
	int3
	.endr
	.p2align 5
	.endm

	.p2align 5
__x86_indirect_thunk_array:
	THUNKS __x86_indirect_thunk
	THUNKS __x86_indirect_call_thunk
	THUNKS __x86_indirect_jump_thunk

/* Static-call trampolines are known by the three bytes behind the 5-byte jump. */
	.macro STATIC_CALL name, target
	.p2align 3
FUNCTION __SCT__\name
	.byte 0xe9
	.long \target - . - 4
	.byte 0x0f, 0xb9, 0xcc
	.endm

/* A warning with a text: the first argument points to its record, an invalid instruction says so. */
	.p2align 4
FUNCTION __WARN_trap
	.byte 0x67, 0x48, 0x0f, 0xb9, 0x3a
	ret

	STATIC_CALL WARN_trap, __WARN_trap
	STATIC_CALL preempt_schedule, static_call_nop
	STATIC_CALL preempt_schedule_notrace, static_call_nop
	STATIC_CALL might_resched, __static_call_return0
	STATIC_CALL cond_resched, offer_processor

	.section .note.GNU-stack, "", @progbits
