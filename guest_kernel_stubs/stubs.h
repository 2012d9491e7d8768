/*
 * What all files of the guest image share: types, constants, and the functions they use of each other.
 *
 * Every global symbol of the image is an export of the base kernel, so a helper is `static`, or INTERNAL when
 * several files need it (the Makefile makes hidden symbols local).
 */
#ifndef STUBS_H
#define STUBS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef unsigned long size_t;
typedef long ssize_t;
typedef _Bool bool;

#define true 1
#define false 0
#define NULL ((void *)0)
#define INTERNAL __attribute__((visibility("hidden")))
#define ALIAS(target) __attribute__((alias(#target)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define INT_MAX 0x7fffffff
#define INT_MIN (-INT_MAX - 1)
#define ULONG_MAX (~0ul)
#define U64_MAX (~0ull)
#define S64_MAX 0x7fffffffffffffffll
#define PAGE_SIZE 4096ul
#define BITS_PER_LONG 64u

enum {
	ENOENT = 2, E2BIG = 7, ENOMEM = 12, EFAULT = 14, EBUSY = 16, EINVAL = 22, ENOSPC = 28, EROFS = 30,
	ERANGE = 34, EOVERFLOW = 75,
};

/* A bug in the caller that Linux answers with BUG(): an invalid-opcode oops at this place. */
#define BUG() __builtin_trap()

static inline u64 minimum(u64 a, u64 b) { return a < b ? a : b; }
static inline u64 maximum(u64 a, u64 b) { return a > b ? a : b; }
static inline u32 rol32(u32 word, uint shift) { return (word << (shift & 31)) | (word >> (-shift & 31)); }
static inline u32 ror32(u32 word, uint shift) { return (word >> (shift & 31)) | (word << (-shift & 31)); }
static inline u64 rol64(u64 word, uint shift) { return (word << (shift & 63)) | (word >> (-shift & 63)); }

/* Loads and stores at any alignment, in the machine's little-endian order. */
static inline u16 load16(const void *p) { return *(const u16 *)p; }
static inline u32 load32(const void *p) { return *(const u32 *)p; }
static inline u64 load64(const void *p) { return *(const u64 *)p; }
static inline u32 load_be32(const void *p) { return __builtin_bswap32(load32(p)); }
static inline void store_be32(void *p, u32 value) { *(u32 *)p = __builtin_bswap32(value); }
static inline void store_be64(void *p, u64 value) { *(u64 *)p = __builtin_bswap64(value); }

/* Number of one bits, in registers only: there is no compiler library behind us. */
static inline uint hweight64(u64 word)
{
	word -= (word >> 1) & 0x5555555555555555ull;
	word = (word & 0x3333333333333333ull) + ((word >> 2) & 0x3333333333333333ull);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (word * 0x0101010101010101ull) >> 56;
}

/* Position of the highest one bit counted from 1; 0 for 0. */
static inline uint fls64(u64 word) { return word ? 64 - __builtin_clzll(word) : 0; }

struct list_head { struct list_head *next, *prev; };

/* mem.c, string.c */
void *memcpy(void *dest, const void *src, size_t count);
void *memmove(void *dest, const void *src, size_t count);
void *memset(void *dest, int c, size_t count);
int memcmp(const void *a, const void *b, size_t count);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t count);
char *strcpy(char *dest, const char *src);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t count);
char *strchr(const char *s, int c);
size_t strcspn(const char *s, const char *reject);
char *skip_spaces(const char *s);

/* ctype.c */
enum { CT_UPPER = 1, CT_LOWER = 2, CT_DIGIT = 4, CT_CNTRL = 8, CT_PUNCT = 16, CT_SPACE = 32, CT_HEX = 64, CT_BLANK = 128 };
extern const u8 _ctype[256];
static inline bool isspace(int c) { return _ctype[(u8)c] & CT_SPACE; }
static inline bool isdigit(int c) { return c >= '0' && c <= '9'; }
static inline bool isxdigit(int c) { return _ctype[(u8)c] & (CT_DIGIT | CT_HEX); }
static inline int tolower(int c) { return _ctype[(u8)c] & CT_UPPER ? (u8)c + 32 : (u8)c; }
static inline int toupper(int c) { return _ctype[(u8)c] & CT_LOWER ? (u8)c - 32 : (u8)c; }

/* kstrtox.c, vsprintf.c, hexdump.c */
INTERNAL const char *integer_base(const char *s, uint *base);
INTERNAL const char *integer_digits(const char *s, size_t max, uint base, u64 *value, bool *overflow);
int kstrtoull(const char *s, uint base, u64 *result);
int kstrtoll(const char *s, uint base, s64 *result);
int kstrtouint(const char *s, uint base, uint *result);
int kstrtoint(const char *s, uint base, int *result);
int kstrtou16(const char *s, uint base, u16 *result);
int kstrtos16(const char *s, uint base, s16 *result);
int kstrtou8(const char *s, uint base, u8 *result);
int kstrtobool(const char *s, bool *result);
u64 simple_strtoull(const char *s, char **end, uint base);
long simple_strtol(const char *s, char **end, uint base);
ulong simple_strtoul(const char *s, char **end, uint base);
int hex_to_bin(u8 ch);

/* bitmap.c, find_bit.c */
void __bitmap_set(ulong *map, uint start, int len);
void __bitmap_clear(ulong *map, uint start, int len);
ulong _find_next_bit(const ulong *map, ulong size, ulong start);
ulong _find_next_zero_bit(const ulong *map, ulong size, ulong start);

/* jiffies.c */
ulong __msecs_to_jiffies(uint msec);
uint jiffies_to_msecs(ulong j);
s64 ktime_add_safe(s64 a, s64 b);

/* math.c, crc32.c */
ulong gcd(ulong a, ulong b);
extern const u8 byte_rev_table[256];

/* params.c */
struct kernel_param;
struct kernel_param_ops {
	uint flags;
	int (*set)(const char *val, const struct kernel_param *kp);
	int (*get)(char *buffer, const struct kernel_param *kp);
	void (*free)(void *arg);
};
struct kparam_string { uint maxlen; char *string; };
struct kparam_array {
	uint max, elemsize;
	uint *num;
	const struct kernel_param_ops *ops;
	void *elem;
};
struct kernel_param {
	const char *name;
	void *mod;
	const struct kernel_param_ops *ops;
	u16 perm;
	s8 level;
	u8 flags;
	union {
		void *arg;
		const struct kparam_string *str;
		const struct kparam_array *arr;
	};
};

#endif
