/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_UACCESS_H
#define _ASM_UACCESS_H

/* Both return how many bytes could not be copied. */
unsigned long copy_to_user(void *to, const void *from, unsigned long n);
unsigned long copy_from_user(void *to, const void *from, unsigned long n);

#endif
