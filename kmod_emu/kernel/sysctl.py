"""Values of the kernel's sysctls, which /proc/sys/kernel shows and changes (kernel/sysctl.c)."""

from __future__ import annotations

from typing import Any

HOSTNAME = "kmod-emu"
PERF_EVENT_PARANOID = 3  # Debian's default


class Sysctls:
    """Numbers, lists of numbers and texts by name, as a Debian machine boots with them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {
            "dmesg_restrict": 1,
            "domainname": "(none)",
            "hostname": HOSTNAME,
            "hung_task_timeout_secs": 120,
            "kptr_restrict": 0,
            "modprobe": "/sbin/modprobe",
            "oops_limit": 10000,
            "panic": 0,
            "panic_on_oops": 0,
            "panic_on_warn": 0,
            "perf_event_paranoid": PERF_EVENT_PARANOID,
            "printk": [4, 1, 7],  # in front of these, the file has the level of the console
            "printk_delay": 0,
            "printk_devkmsg": "on",
            "printk_ratelimit": 5,
            "printk_ratelimit_burst": 10,
            "randomize_va_space": 2,
            "sysrq": 0x1B6,
            "warn_limit": 0,
        }

    def __getitem__(self, name: str) -> Any:
        """The value of a sysctl."""
        return self.values[name]

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {name: list(v) if isinstance(v, list) else v for name, v in self.values.items()}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.values = {name: list(v) if isinstance(v, list) else v for name, v in state.items()}
