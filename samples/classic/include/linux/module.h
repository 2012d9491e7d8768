/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a module of Linux 2.4 tells insmod about itself, and how it counts its users. Written for the samples
 * beside it: only what they need, laid out as 2.4.32 has it on x86-64.
 */
#ifndef _LINUX_MODULE_H
#define _LINUX_MODULE_H

#include <linux/version.h>

struct module_symbol {
	unsigned long value;
	const char *name;
};

struct module_ref {
	struct module *dep;		/* the module that is used */
	struct module *ref;		/* the one that uses it */
	struct module_ref *next_ref;
};

struct module {
	unsigned long size_of_struct;
	struct module *next;
	const char *name;
	unsigned long size;
	union {
		int usecount;
		long pad;
	} uc;
	unsigned long flags;
	unsigned int nsyms;
	unsigned int ndeps;
	struct module_symbol *syms;
	struct module_ref *deps;
	struct module_ref *refs;
	int (*init)(void);
	void (*cleanup)(void);
	const void *ex_table_start;
	const void *ex_table_end;
	const void *persist_start;
	const void *persist_end;
	int (*can_unload)(void);
	int runsize;
	const char *kallsyms_start;
	const char *kallsyms_end;
	const char *archdata_start;
	const char *archdata_end;
	const char *kernel_data;
};

#define MOD_VISITED	8
#define MOD_USED_ONCE	16

/* insmod makes it: a section .this at the start of the module. */
extern struct module __this_module;
#define THIS_MODULE	(&__this_module)

#define MOD_INC_USE_COUNT do { \
		__sync_fetch_and_add(&__this_module.uc.usecount, 1); \
		__this_module.flags |= MOD_VISITED | MOD_USED_ONCE; \
	} while (0)
#define MOD_DEC_USE_COUNT do { \
		__sync_fetch_and_sub(&__this_module.uc.usecount, 1); \
		__this_module.flags |= MOD_VISITED; \
	} while (0)
#define MOD_IN_USE	(__this_module.uc.usecount != 0)

#define SET_MODULE_OWNER(some_struct) do { (some_struct)->owner = THIS_MODULE; } while (0)

/* Strings for insmod and modinfo, in a section that does not become part of the module's memory. */
#define __MODULE_INFO(tag, text) __asm__(".pushsection .modinfo\n\t.asciz \"" tag "=" text "\"\n\t.popsection")
#define __MODULE_STRING(x) #x

#define MODULE_LICENSE(text)		__MODULE_INFO("license", text)
#define MODULE_AUTHOR(text)		__MODULE_INFO("author", text)
#define MODULE_DESCRIPTION(text)	__MODULE_INFO("description", text)
#define MODULE_PARM(var, type)		__MODULE_INFO("parm_" __MODULE_STRING(var), type)
#define MODULE_PARM_DESC(var, text)	__MODULE_INFO("parm_desc_" __MODULE_STRING(var), text)

__MODULE_INFO("kernel_version", UTS_RELEASE);
#ifdef MODVERSIONS
__MODULE_INFO("using_checksums", "1");
#endif

/* What a module exports: an entry of __ksymtab each, whose name is in .kstrtab. */
#define __EXPORT_SYMBOL(sym, prefix) \
	static const char __kstrtab_##sym[] __attribute__((section(".kstrtab"), used)) = prefix #sym; \
	static const struct module_symbol __ksymtab_##sym __attribute__((section("__ksymtab"), used)) = \
		{ (unsigned long)&sym, __kstrtab_##sym }
#define EXPORT_SYMBOL(sym)	__EXPORT_SYMBOL(sym, "")
#define EXPORT_SYMBOL_GPL(sym)	__EXPORT_SYMBOL(sym, "GPLONLY_")
#define EXPORT_NO_SYMBOLS	__asm__(".section __ksymtab\n\t.previous")

#endif
