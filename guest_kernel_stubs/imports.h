/*
 * What guest code needs of the base kernel: functions it calls back, each through a slot that the loader fills with the
 * address at boot, and values, such as where a member lies in this release. The loader finds names and slots in the
 * array __start_imports .. __stop_imports.
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
#define IMPORT_VALUE(type, name, what)                                                         \
	INTERNAL type import_##name;                                                           \
	static const struct import record_##name __attribute__((section(".imports"), used, aligned(8))) = { \
		what, (void **)&import_##name                                                  \
	}
#else
#define IMPORT(type, name, args) extern INTERNAL type(*import_##name) args
#define IMPORT_VALUE(type, name, what) extern INTERNAL type import_##name
#endif

IMPORT(void *, __kmalloc, (size_t size, uint gfp));
IMPORT(void, kfree, (const void *block));
IMPORT(int, _printk, (const char *fmt, ...));
IMPORT(ulong, _copy_from_user, (void *to, const void *from, ulong count));
IMPORT(ulong, _copy_to_user, (void *to, const void *from, ulong count));
IMPORT(void, list_corruption, (int line));

#define GFP_KERNEL 0xcc0u
#define KERN_ERR "\001" "3"

#endif
