/*
 * The few functions of the base kernel that guest code calls back: each call goes through a slot that the loader
 * fills with the export's address at boot. It finds name and slot in the array __start_imports .. __stop_imports.
 */
#ifndef IMPORTS_H
#define IMPORTS_H

#include "stubs.h"

struct import {
	const char *name;
	void **slot;
};

#ifdef DEFINE_IMPORTS
#define IMPORT(type, name, args)                                                               \
	INTERNAL type(*import_##name) args;                                                    \
	static const struct import record_##name __attribute__((section(".imports"), used, aligned(8))) = { \
		#name, (void **)&import_##name                                                 \
	}
#else
#define IMPORT(type, name, args) extern INTERNAL type(*import_##name) args
#endif

IMPORT(void *, __kmalloc, (size_t size, uint gfp));
IMPORT(void, kfree, (const void *block));
IMPORT(int, _printk, (const char *fmt, ...));
IMPORT(ulong, _copy_from_user, (void *to, const void *from, ulong count));
IMPORT(ulong, _copy_to_user, (void *to, const void *from, ulong count));

#define GFP_KERNEL 0xcc0u
#define KERN_ERR "\001" "3"

#endif
