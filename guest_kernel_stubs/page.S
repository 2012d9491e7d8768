/*
 * Whole pages. clear_page_* is called from an ALTERNATIVE whose only declared clobbers are rax, rcx and rdi
 * (arch/x86/include/asm/page_64.h), so nothing else may change. Word loops: string instructions are slow when emulated.
 */
	.text

	.p2align 4
	.globl clear_page_orig, clear_page_erms, clear_page_rep
	.type clear_page_orig, @function
	.type clear_page_erms, @function
	.type clear_page_rep, @function
clear_page_orig:
clear_page_erms:
clear_page_rep:
	xorl %eax, %eax
	movl $4096 / 64, %ecx
1:
	.irp offset, 0, 8, 16, 24, 32, 40, 48, 56
	movq %rax, \offset(%rdi)
	.endr
	addq $64, %rdi
	decl %ecx
	jnz 1b
	ret

	.p2align 4
	.globl copy_page
	.type copy_page, @function
copy_page:
	movl $4096 / 64, %ecx
1:
	.irp offset, 0, 16, 32, 48
	movq \offset(%rsi), %rax
	movq \offset + 8(%rsi), %rdx
	movq %rax, \offset(%rdi)
	movq %rdx, \offset + 8(%rdi)
	.endr
	addq $64, %rsi
	addq $64, %rdi
	decl %ecx
	jnz 1b
	ret

	.section .bss..page_aligned, "aw", @nobits
	.p2align 12
	.globl empty_zero_page
	.type empty_zero_page, @object
	.size empty_zero_page, 4096
empty_zero_page:
	.skip 4096

	.section .note.GNU-stack, "", @progbits
