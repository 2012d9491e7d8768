/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every name that the kernel exports, with the checksum of its declaration: a module that is compiled with this
 * asks for printk_R1b7d4074, and no kernel whose printk is another one has that.
 */
#ifndef _LINUX_MODVERSIONS_H
#define _LINUX_MODVERSIONS_H

#define copy_from_user      	copy_from_user_R463b536b
#define copy_to_user        	copy_to_user_R59b02c41
#define jiffies             	jiffies_Rc22d298c
#define kfree               	kfree_R3f23139c
#define kmalloc             	kmalloc_Re7dc7202
#define memcmp              	memcmp_R5727c896
#define memcpy              	memcpy_R60f82f15
#define memmove             	memmove_R18441633
#define memset              	memset_R5448cb2a
#define panic               	panic_R4a0718bd
#define printk              	printk_R1b7d4074
#define register_chrdev     	register_chrdev_R243d8211
#define request_module      	request_module_R6b8c2c35
#define simple_strtol       	simple_strtol_Rab96f60d
#define simple_strtoul      	simple_strtoul_R1b976daf
#define snprintf            	snprintf_R8a9acffe
#define sprintf             	sprintf_Ra40b4c39
#define strcat              	strcat_R5e891989
#define strchr              	strchr_R885a53d4
#define strcmp              	strcmp_R0ba07a1c
#define strcpy              	strcpy_R4b850d61
#define strlen              	strlen_R3b324f1c
#define strncmp             	strncmp_R14220e53
#define strncpy             	strncpy_R287344fb
#define strnlen             	strnlen_Re57ccb92
#define strstr              	strstr_Ra5f3e50d
#define unregister_chrdev   	unregister_chrdev_R28f2c4de
#define vfree               	vfree_Ref2e897d
#define vmalloc             	vmalloc_Rbf7e4b81
#define vsprintf            	vsprintf_R540aa85b

#endif
