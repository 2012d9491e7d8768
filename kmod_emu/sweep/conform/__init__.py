"""Two loaders on one kernel: what ours does with a module, beside what the kernel's own does."""
