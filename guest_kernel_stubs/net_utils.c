/* Hardware addresses as text (lib/net_utils.c). */
#include "stubs.h"

enum { ETH_ALEN = 6 };

/* "00:11:22:33:44:55", with anything behind it; mac is untouched when it is not. */
bool mac_pton(const char *s, u8 *mac)
{
	const size_t len = 3 * ETH_ALEN - 1;

	if (strnlen(s, len) < len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (i % 3 == 2 ? s[i] != ':' : !isxdigit(s[i]))
			return false;
	for (int i = 0; i < ETH_ALEN; i++)
		mac[i] = hex_to_bin(s[3 * i]) << 4 | hex_to_bin(s[3 * i + 1]);
	return true;
}
