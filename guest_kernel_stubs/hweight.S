/* Bit counts for callers that expect every register but rax to survive (arch/x86/lib/hweight.S). */
	.text

	.p2align 4
	.globl __sw_hweight32
	.type __sw_hweight32, @function
__sw_hweight32:
	pushq %rdx
	movl %edi, %edx
	shrl %edx
	andl $0x55555555, %edx
	movl %edi, %eax
	subl %edx, %eax			/* sums of 2 bits */
	movl %eax, %edx
	shrl $2, %edx
	andl $0x33333333, %edx
	andl $0x33333333, %eax
	addl %edx, %eax			/* of 4 */
	movl %eax, %edx
	shrl $4, %edx
	addl %edx, %eax
	andl $0x0f0f0f0f, %eax		/* of 8 */
	imull $0x01010101, %eax, %eax
	shrl $24, %eax
	popq %rdx
	ret

	.p2align 4
	.globl __sw_hweight64
	.type __sw_hweight64, @function
__sw_hweight64:
	pushq %rdx
	pushq %rcx
	movabsq $0x5555555555555555, %rcx
	movq %rdi, %rdx
	shrq %rdx
	andq %rcx, %rdx
	movq %rdi, %rax
	subq %rdx, %rax
	movabsq $0x3333333333333333, %rcx
	movq %rax, %rdx
	shrq $2, %rdx
	andq %rcx, %rdx
	andq %rcx, %rax
	addq %rdx, %rax
	movabsq $0x0f0f0f0f0f0f0f0f, %rcx
	movq %rax, %rdx
	shrq $4, %rdx
	addq %rdx, %rax
	andq %rcx, %rax
	movabsq $0x0101010101010101, %rcx
	imulq %rcx, %rax
	shrq $56, %rax
	popq %rcx
	popq %rdx
	ret

	.section .note.GNU-stack, "", @progbits
