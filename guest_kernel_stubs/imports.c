/* The slots behind imports.h and sched.h, and what the scheduler tells guest code. */
#define DEFINE_IMPORTS
#include "fs.h"
#include "sched.h"
#include "skbuff.h"

struct task_struct *current_pointer;
