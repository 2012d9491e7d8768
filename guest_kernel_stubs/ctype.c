/* Character classes, Latin-1 (lib/ctype.c). */
#include "stubs.h"

const u8 _ctype[256] = {
	[0 ... 8] = CT_CNTRL,
	[9 ... 13] = CT_CNTRL | CT_SPACE,
	[14 ... 31] = CT_CNTRL,
	[' '] = CT_SPACE | CT_BLANK,
	['!' ... '/'] = CT_PUNCT,
	['0' ... '9'] = CT_DIGIT,
	[':' ... '@'] = CT_PUNCT,
	['A' ... 'F'] = CT_UPPER | CT_HEX,
	['G' ... 'Z'] = CT_UPPER,
	['[' ... '`'] = CT_PUNCT,
	['a' ... 'f'] = CT_LOWER | CT_HEX,
	['g' ... 'z'] = CT_LOWER,
	['{' ... '~'] = CT_PUNCT,
	[127] = CT_CNTRL,
	[160] = CT_SPACE | CT_BLANK, /* no-break space */
	[161 ... 191] = CT_PUNCT,
	[192 ... 214] = CT_UPPER,
	[215] = CT_PUNCT, /* multiplication sign */
	[216 ... 222] = CT_UPPER,
	[223 ... 246] = CT_LOWER,
	[247] = CT_PUNCT, /* division sign */
	[248 ... 255] = CT_LOWER,
};
