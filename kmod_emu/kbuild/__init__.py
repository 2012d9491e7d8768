"""Building modules: the kernel's build system and headers on this computer, and modules to begin with."""
