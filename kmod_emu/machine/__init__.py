"""The hardware: processor, guest memory, traps. Knows nothing of Linux."""
