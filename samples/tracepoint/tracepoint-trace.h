/* SPDX-License-Identifier: GPL-2.0-only */
/* What the module tells of: an event that is recorded, and a bare tracepoint that others may hang on. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM lift

#if !defined(_TRACEPOINT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACEPOINT_TRACE_H

#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(LIFT_UP);
TRACE_DEFINE_ENUM(LIFT_DOWN);

TRACE_EVENT(lift_moved,
	TP_PROTO(int floor, int direction, const char *who),
	TP_ARGS(floor, direction, who),
	TP_STRUCT__entry(
		__field(int, floor)
		__field(unsigned char, direction)
		__array(char, sign, 4)
		__string(who, who)
	),
	TP_fast_assign(
		__entry->floor = floor;
		__entry->direction = direction;
		strscpy(__entry->sign, floor ? "up" : "eg", sizeof(__entry->sign));
		__assign_str(who, who);
	),
	TP_printk("%s goes %s to %d (%s)", __get_str(who),
		  __print_symbolic(__entry->direction, { LIFT_UP, "up" }, { LIFT_DOWN, "down" }),
		  __entry->floor, __entry->sign)
);

DECLARE_TRACE(lift_full, TP_PROTO(int passengers), TP_ARGS(passengers));

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE tracepoint-trace
#include <trace/define_trace.h>
