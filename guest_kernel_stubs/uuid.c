/* UUIDs as text (lib/uuid.c). */
#include "stubs.h"

enum { UUID_BYTES = 16, UUID_LENGTH = 36 };

const u8 uuid_null[UUID_BYTES];
const u8 guid_null[UUID_BYTES];

bool uuid_is_valid(const char *s)
{
	for (int i = 0; i < UUID_LENGTH; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (s[i] != '-')
				return false;
		} else if (!isxdigit(s[i])) {
			return false;
		}
	}
	return true;
}

/* order[i]: where the i-th pair of digits goes. */
static int parse(const char *s, u8 *out, const u8 order[UUID_BYTES])
{
	if (!uuid_is_valid(s))
		return -EINVAL;
	for (int i = 0; i < UUID_BYTES; i++, s += 2) {
		if (*s == '-')
			s++;
		out[order[i]] = hex_to_bin(s[0]) << 4 | hex_to_bin(s[1]);
	}
	return 0;
}

int uuid_parse(const char *s, u8 *uuid)
{
	static const u8 order[UUID_BYTES] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

	return parse(s, uuid, order);
}

/* The first three groups of a GUID are little-endian numbers. */
int guid_parse(const char *s, u8 *guid)
{
	static const u8 order[UUID_BYTES] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	return parse(s, guid, order);
}
