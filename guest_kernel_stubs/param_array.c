/* Parameters that are arrays: "a,b,c" (kernel/params.c). */
#include "imports.h"

static int param_array_set(const char *val, const struct kernel_param *kp)
{
	const struct kparam_array *array = kp->arr;
	struct kernel_param element = { .name = kp->name, .mod = kp->mod, .arg = array->elem, .level = kp->level };
	char *text = (char *)val, separator;
	uint unseen, *num = array->num ? array->num : &unseen;

	*num = 0;
	do {
		size_t len = strcspn(text, ",");
		int err;

		if (*num == array->max) {
			import__printk(KERN_ERR "%s: can only take %i arguments\n", kp->name, array->max);
			return -EINVAL;
		}
		/* The text stays cut here when an element is refused: that is what the caller's message shows. */
		separator = text[len];
		text[len] = '\0';
		err = array->ops->set(text, &element);
		if (err)
			return err;
		element.arg = (u8 *)element.arg + array->elemsize;
		text += len + 1;
		++*num;
	} while (separator == ',');
	return 0;
}

static int param_array_get(char *buffer, const struct kernel_param *kp)
{
	const struct kparam_array *array = kp->arr;
	struct kernel_param element = *kp;
	uint count = array->num ? *array->num : array->max;
	int used = 0;

	for (uint i = 0; i < count; i++) {
		int len;

		if (i) /* over the newline of the element before */
			buffer[used - 1] = ',';
		element.arg = (u8 *)array->elem + (size_t)array->elemsize * i;
		len = array->ops->get(buffer + used, &element);
		if (len < 0)
			return len;
		used += len;
	}
	buffer[used] = '\0';
	return used;
}

static void param_array_free(void *arg)
{
	const struct kparam_array *array = arg;
	uint count = array->num ? *array->num : array->max;

	if (array->ops->free)
		for (uint i = 0; i < count; i++)
			array->ops->free((u8 *)array->elem + (size_t)array->elemsize * i);
}

const struct kernel_param_ops param_array_ops = {
	.set = param_array_set, .get = param_array_get, .free = param_array_free,
};
