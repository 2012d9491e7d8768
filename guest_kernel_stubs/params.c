/* The types of module parameters (kernel/params.c). */
#include "imports.h"

enum { PARAM_NOARG = 1, MAX_CHARP = 1024 };

/* Decimal text of a number and a newline; returns its length, as scnprintf("%lld\n") does. */
static int put_decimal(char *buffer, u64 magnitude, bool negative)
{
	char digits[20];
	int n = 0, len = 0;

	do
		digits[n++] = '0' + magnitude % 10;
	while (magnitude /= 10);
	if (negative)
		buffer[len++] = '-';
	while (n)
		buffer[len++] = digits[--n];
	buffer[len++] = '\n';
	buffer[len] = '\0';
	return len;
}

static int put_unsigned(char *buffer, u64 value)
{
	return put_decimal(buffer, value, false);
}

static int put_signed(char *buffer, s64 value)
{
	return put_decimal(buffer, value < 0 ? -(u64)value : (u64)value, value < 0);
}

/* At least eight characters, the 0x among them ("%#08x\n"). */
static int put_hex(char *buffer, uint value)
{
	int len = 0, digits = maximum(6, (fls64(value) + 3) / 4);

	buffer[len++] = '0';
	buffer[len++] = 'x';
	while (digits--)
		buffer[len++] = "0123456789abcdef"[value >> (4 * digits) & 15];
	buffer[len++] = '\n';
	buffer[len] = '\0';
	return len;
}

/* "%s\n" into one page, with what the kernel prints for pointers that cannot be strings. */
static int put_string(char *buffer, const char *s)
{
	size_t len;

	if (!s)
		s = "(null)";
	else if ((ulong)s < PAGE_SIZE || (ulong)s >= -4095ul)
		s = "(efault)";
	len = strnlen(s, PAGE_SIZE - 1);
	memcpy(buffer, s, len);
	if (len < PAGE_SIZE - 1)
		buffer[len++] = '\n';
	buffer[len] = '\0';
	return len;
}

#define INTEGER_PARAM(name, type, parse, put)                                \
	int param_set_##name(const char *val, const struct kernel_param *kp) \
	{                                                                    \
		return parse(val, 0, kp->arg);                               \
	}                                                                    \
	int param_get_##name(char *buffer, const struct kernel_param *kp)    \
	{                                                                    \
		return put(buffer, *(const type *)kp->arg);                  \
	}                                                                    \
	const struct kernel_param_ops param_ops_##name = {                   \
		.set = param_set_##name,                                     \
		.get = param_get_##name,                                     \
	}

INTEGER_PARAM(byte, u8, kstrtou8, put_unsigned);
INTEGER_PARAM(short, s16, kstrtos16, put_signed);
INTEGER_PARAM(ushort, u16, kstrtou16, put_unsigned);
INTEGER_PARAM(int, int, kstrtoint, put_signed);
INTEGER_PARAM(uint, uint, kstrtouint, put_unsigned);
INTEGER_PARAM(long, s64, kstrtoll, put_signed);
INTEGER_PARAM(ulong, u64, kstrtoull, put_unsigned);
INTEGER_PARAM(ullong, u64, kstrtoull, put_unsigned);
INTEGER_PARAM(hexint, uint, kstrtouint, put_hex);

int param_set_uint_minmax(const char *val, const struct kernel_param *kp, uint min, uint max)
{
	uint value;
	int err;

	if (!val)
		return -EINVAL;
	err = kstrtouint(val, 0, &value);
	if (err)
		return err;
	if (value < min || value > max)
		return -EINVAL;
	*(uint *)kp->arg = value;
	return 0;
}

/* A bool named without a value is true. */
int param_set_bool(const char *val, const struct kernel_param *kp)
{
	return kstrtobool(val ? val : "1", kp->arg);
}

static int put_bool(char *buffer, bool value)
{
	buffer[0] = value ? 'Y' : 'N';
	buffer[1] = '\n';
	buffer[2] = '\0';
	return 2;
}

int param_get_bool(char *buffer, const struct kernel_param *kp)
{
	return put_bool(buffer, *(const bool *)kp->arg);
}

int param_set_bool_enable_only(const char *val, const struct kernel_param *kp)
{
	bool value;
	int err = kstrtobool(val ? val : "1", &value);

	if (err)
		return err;
	if (!value && *(bool *)kp->arg)
		return -EROFS;
	if (value)
		*(bool *)kp->arg = true;
	return 0;
}

int param_set_invbool(const char *val, const struct kernel_param *kp)
{
	bool value;
	int err = kstrtobool(val ? val : "1", &value);

	if (!err)
		*(bool *)kp->arg = !value;
	return err;
}

int param_get_invbool(char *buffer, const struct kernel_param *kp)
{
	return put_bool(buffer, !*(const bool *)kp->arg);
}

int param_set_bint(const char *val, const struct kernel_param *kp)
{
	bool value;
	int err = kstrtobool(val ? val : "1", &value);

	if (!err)
		*(int *)kp->arg = value;
	return err;
}

const struct kernel_param_ops param_ops_bool = {
	.flags = PARAM_NOARG, .set = param_set_bool, .get = param_get_bool,
};
const struct kernel_param_ops param_ops_bool_enable_only = {
	.flags = PARAM_NOARG, .set = param_set_bool_enable_only, .get = param_get_bool,
};
const struct kernel_param_ops param_ops_invbool = {
	.set = param_set_invbool, .get = param_get_invbool,
};
const struct kernel_param_ops param_ops_bint = {
	.flags = PARAM_NOARG, .set = param_set_bint, .get = param_get_int,
};

/*
 * The texts that charp parameters own. A parameter's default is a literal of its module, so a pointer is freed only
 * when it is found here.
 */
struct owned_text {
	struct owned_text *next;
	char text[];
};

static struct owned_text *owned_texts;

static char *new_text(const char *val, size_t size)
{
	struct owned_text *owned = import___kmalloc(sizeof(*owned) + size, GFP_KERNEL);

	if (!owned)
		return NULL;
	memcpy(owned->text, val, size);
	owned->next = owned_texts;
	owned_texts = owned;
	return owned->text;
}

static void free_text(const char *text)
{
	for (struct owned_text **link = &owned_texts; *link; link = &(*link)->next) {
		struct owned_text *owned = *link;

		if (owned->text == text) {
			*link = owned->next;
			import_kfree(owned);
			return;
		}
	}
}

int param_set_charp(const char *val, const struct kernel_param *kp)
{
	char **arg = kp->arg;
	size_t len = strnlen(val, MAX_CHARP + 1);

	if (len > MAX_CHARP) {
		import__printk(KERN_ERR "%s: string parameter too long\n", kp->name);
		return -ENOSPC;
	}
	free_text(*arg);
	*arg = new_text(val, len + 1);
	return *arg ? 0 : -ENOMEM;
}

int param_get_charp(char *buffer, const struct kernel_param *kp)
{
	return put_string(buffer, *(char *const *)kp->arg);
}

void param_free_charp(void *arg)
{
	free_text(*(char **)arg);
}

const struct kernel_param_ops param_ops_charp = {
	.set = param_set_charp, .get = param_get_charp, .free = param_free_charp,
};

int param_set_copystring(const char *val, const struct kernel_param *kp)
{
	const struct kparam_string *string = kp->str;

	if (strlen(val) + 1 > string->maxlen) {
		import__printk(KERN_ERR "%s: string doesn't fit in %u chars.\n", kp->name, string->maxlen - 1);
		return -ENOSPC;
	}
	strcpy(string->string, val);
	return 0;
}

int param_get_string(char *buffer, const struct kernel_param *kp)
{
	return put_string(buffer, kp->str->string);
}

const struct kernel_param_ops param_ops_string = {
	.set = param_set_copystring, .get = param_get_string,
};
