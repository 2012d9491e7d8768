/* Copies from and to device memory (arch/x86/lib/iomem.c): 1 and 2 bytes up to alignment, then 4 at a time. */
#include "stubs.h"

/* The device decides the alignment, and sees each access once. */
static void copy_io(volatile u8 *dest, const volatile u8 *src, size_t count, ulong device)
{
	if (count && device & 1) {
		*dest++ = *src++;
		device++;
		count--;
	}
	if (count > 1 && device & 2) {
		*(volatile u16 *)dest = *(const volatile u16 *)src;
		dest += 2;
		src += 2;
		count -= 2;
	}
	for (; count >= 4; count -= 4, dest += 4, src += 4)
		*(volatile u32 *)dest = *(const volatile u32 *)src;
	if (count & 2) {
		*(volatile u16 *)dest = *(const volatile u16 *)src;
		dest += 2;
		src += 2;
	}
	if (count & 1)
		*dest = *src;
}

void memcpy_fromio(void *dest, const volatile void *src, size_t count)
{
	copy_io(dest, src, count, (ulong)src);
}

void memcpy_toio(volatile void *dest, const void *src, size_t count)
{
	copy_io(dest, src, count, (ulong)dest);
}

void memset_io(volatile void *dest, int c, size_t count)
{
	memset((void *)dest, c, count);
}

/* lib/check_signature.c */
int check_signature(const volatile void *device, const u8 *signature, int length)
{
	const volatile u8 *p = device;

	while (length-- > 0)
		if (*p++ != *signature++)
			return 0;
	return 1;
}
