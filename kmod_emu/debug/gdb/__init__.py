"""The remote protocol of gdb, in pure Python: packets, what they ask for, and a server."""
