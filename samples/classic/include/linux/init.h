/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_INIT_H
#define _LINUX_INIT_H

/* Modules of 2.4 keep their init code for ever: these mean something in the kernel itself only. */
#define __init
#define __exit

/* The object's entry points have fixed names; a module that calls its own otherwise gives them a second one. */
#define module_init(x) int init_module(void) __attribute__((alias(#x)))
#define module_exit(x) void cleanup_module(void) __attribute__((alias(#x)))

#endif
