"""What the stub base kernel has beside its core: the subsystems that modules register with, and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.board import Board
from kmod_emu.drivers.bus import Buses
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.evdev import Evdevs
from kmod_emu.drivers.families.block import majors
from kmod_emu.drivers.families.buses import BUSES
from kmod_emu.drivers.firmware import Firmware
from kmod_emu.drivers.gpio import Gpios
from kmod_emu.drivers.i2c import I2c
from kmod_emu.drivers.i2c_model import I2cModels
from kmod_emu.drivers.input import Inputs
from kmod_emu.drivers.input_sysfs import proc_directory
from kmod_emu.drivers.keyboard import Keyboard
from kmod_emu.drivers.leds import Leds
from kmod_emu.drivers.misc import Misc
from kmod_emu.drivers.netdevice import NetDevices
from kmod_emu.drivers.platform import Platform
from kmod_emu.drivers.registration import Registrations
from kmod_emu.drivers.spi_model import SpiModels
from kmod_emu.fs.mount import mount_all, mount_files
from kmod_emu.fs.open_files import OpenFiles
from kmod_emu.fs.tree import Node, directory
from kmod_emu.kernel.async_schedule import AsyncCalls
from kmod_emu.kernel.cpuhp import CpuStates
from kmod_emu.kernel.umh import UserModeHelpers
from kmod_emu.module.dynamic_debug import control_node
from kmod_emu.module.host import ModuleHost
from kmod_emu.module.modules import Modules
from kmod_emu.module.procfs import ModuleProcfs
from kmod_emu.module.sysfs import ModuleSysfs
from kmod_emu.module.trace_events import TraceEvents
from kmod_emu.module.tracefs import Tracefs
from kmod_emu.net.install import install as install_net
from kmod_emu.user.futex import Futexes
from kmod_emu.user.mmap import DeviceMappings
from kmod_emu.user.proc_machine import machine_files
from kmod_emu.user.proc_pid import Processes
from kmod_emu.user.programs import Programs

if TYPE_CHECKING:
    from kmod_emu.api import Kernel
    from kmod_emu.fs.procfs import Procfs


def install(kernel: Kernel, modules: str | None) -> None:
    """Add them to a machine.

    Args:
        kernel: The machine, whose base kernel is there.
        modules: As `Kernel` takes it.
    """
    kernel.add(Modules(kernel))
    kernel.add(ModuleHost(kernel))
    kernel.install_beside_modules(modules)
    procfs, sysfs = mount_all(kernel)
    install_net(kernel, procfs)
    kernel.add(Devices(kernel))
    kernel.add(Buses(kernel))
    kernel.add(Gpios(kernel))
    kernel.add(UserModeHelpers(kernel))
    kernel.add(Platform(kernel))
    kernel.add(Misc(kernel))
    kernel.add(Leds(kernel))
    kernel.add(I2c(kernel))
    kernel.add(I2cModels(kernel))
    kernel.add(Board(kernel))
    kernel[Devices].make_class(kernel.symbol("bdi_class"))
    for bus in ("spi_bus_type", *(row.symbol for row in BUSES)):
        kernel[Buses].register(kernel.symbol(bus))
    kernel.add(Registrations(kernel))
    kernel.add(AsyncCalls())
    kernel.add(NetDevices(kernel))
    kernel.add(CpuStates(kernel))
    kernel.add(Firmware(kernel))
    procfs.block_majors = lambda: majors(kernel)
    kernel.add(SpiModels(kernel))
    kernel.add(Inputs(kernel))
    kernel.add(Keyboard(kernel))
    kernel.add(Evdevs(kernel))
    procfs.bus["input"] = proc_directory(kernel)
    module_sysfs = ModuleSysfs(kernel)
    kernel.add(module_sysfs)
    symbols = ModuleProcfs(kernel, procfs)
    system_map = Node(0o600, read=symbols.system_map)
    mount_files(kernel, "/boot", {f"System.map-{kernel.profile.release}": system_map})
    sysfs.make("module").computed = module_sysfs.list
    sysfs.debug["dynamic_debug"] = directory({"control": control_node(kernel)})
    kernel.add(TraceEvents(kernel))
    sysfs.debug["tracing"] = sysfs.kernel["tracing"] = Tracefs(kernel).root
    install_programs(kernel, procfs)


def install_programs(kernel: Kernel, procfs: Procfs) -> None:
    """Add what the system calls of programs need."""
    kernel.add(Programs(kernel))
    procfs.processes = Processes(kernel).list
    procfs.files |= machine_files(kernel)
    kernel.add(Futexes(kernel))
    kernel.add(OpenFiles(kernel))
    kernel.add(DeviceMappings(kernel))
