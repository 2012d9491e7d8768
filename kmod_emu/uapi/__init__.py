"""Constants that user programs and the kernel share, whatever system the emulator runs on."""
