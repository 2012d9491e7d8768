/* What inode.c needs of the base kernel. */
#ifndef FS_H
#define FS_H

#include "imports.h"

struct timespec64 {
	s64 tv_sec;
	s64 tv_nsec;
};

IMPORT(void, ktime_get_coarse_real_ts64, (struct timespec64 *ts));
IMPORT_VALUE(ulong, offset_i_sb, "offsetof inode.i_sb");
IMPORT_VALUE(ulong, offset_s_time_gran, "offsetof super_block.s_time_gran");

#endif
