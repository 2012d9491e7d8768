"""Checkers that watch what modules do with the kernel's interfaces: leaks, memory errors, faults put in."""
