/* The slots behind imports.h. */
#define DEFINE_IMPORTS
#include "imports.h"
