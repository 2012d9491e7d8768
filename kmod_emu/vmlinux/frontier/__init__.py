"""The frontier of the real kernel: the functions of it that Python serves, a file for each subsystem."""
