// SPDX-License-Identifier: GPL-2.0-only
/* A cache with a constructor, a pool on top of one, and a reference count that goes wrong. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mempool.h>
#include <linux/module.h>
#include <linux/refcount.h>
#include <linux/slab.h>

struct thing {
	int magic;
	char name[44];
};

static int constructed;

static void construct(void *object)
{
	((struct thing *)object)->magic = 0x1234;
	constructed++;
}

static int __init kmemcache_init(void)
{
	struct kmem_cache *cache = kmem_cache_create("things", sizeof(struct thing), 0, SLAB_HWCACHE_ALIGN, construct);
	struct thing *a, *b;
	mempool_t *pool;
	refcount_t count = REFCOUNT_INIT(1);

	if (!cache)
		return -ENOMEM;
	a = kmem_cache_alloc(cache, GFP_KERNEL);
	b = kmem_cache_alloc(cache, GFP_KERNEL);
	pr_info("kmemcache: %u bytes, constructed: %d, aligned: %d\n", kmem_cache_size(cache), a->magic == b->magic,
		IS_ALIGNED((unsigned long)a, 64));
	kmem_cache_free(cache, a);
	pr_info("kmemcache: the object freed last comes first: %d\n", kmem_cache_alloc(cache, GFP_KERNEL) == a);
	kmem_cache_free(cache, a);
	kmem_cache_free(cache, b);
	kmem_cache_destroy(cache);

	pool = mempool_create_kmalloc_pool(2, 100);
	a = mempool_alloc(pool, GFP_KERNEL);
	pr_info("kmemcache: from the pool: %d, usable %zu\n", !!a, ksize(a));
	mempool_free(a, pool);
	mempool_destroy(pool);

	refcount_dec_and_test(&count);
	refcount_inc(&count);
	return 0;
}

static void __exit kmemcache_exit(void)
{
}

module_init(kmemcache_init);
module_exit(kmemcache_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Caches and pools");
MODULE_LICENSE("GPL");
