/* The time of an inode (fs/inode.c). */
#include "fs.h"

/* In steps of the file system's: s_time_gran nanoseconds. */
struct timespec64 current_time(void *inode)
{
	char *sb = *(char **)((char *)inode + import_offset_i_sb);
	uint step = *(uint *)(sb + import_offset_s_time_gran);
	struct timespec64 now;

	import_ktime_get_coarse_real_ts64(&now);
	if (step > 1)
		now.tv_nsec -= now.tv_nsec % step;
	return now;
}
