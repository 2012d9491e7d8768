"""Lights and what switches them: LED classes and triggers (drivers/leds/led-class.c, led-triggers.c).

`struct led_classdev` and `struct led_trigger` lie in guest memory; kept here is which are registered. Lights
that blink by themselves (led_blink_set) are not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.drivers import devres
from kmod_emu.drivers.attributes import define_class, define_device_type
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.device import create_device
from kmod_emu.drivers.platform import name_at
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.locking import init_lock
from kmod_emu.kernel.preempt import in_interrupt
from kmod_emu.kernel.workqueue import queue_work_on
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_FULL = 255
_SHOW = "struct device *dev, struct device_attribute *attr, char *buf"
_STORE = "struct device *dev, struct device_attribute *attr, const char *buf, size_t size"


class Leds:
    """The registered lights and triggers, oldest first."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.lights: list[int] = []
        self.triggers: list[int] = []
        kernel[Devices].make_class(kernel.symbol("leds_class"))

    def light(self, address: int) -> StructView:
        """A typed view on a `struct led_classdev`."""
        return self._kernel.view("led_classdev", address)

    def trigger(self, address: int) -> StructView:
        """A typed view on a `struct led_trigger`."""
        return self._kernel.view("led_trigger", address)

    def named(self, name: bytes) -> int:
        """The trigger of that name, 0 for none."""
        names = {name_at(self._kernel, self.trigger(each).get("name")): each for each in self.triggers}
        return names.get(name, 0)

    async def set_brightness(self, light: StructView, brightness: int) -> None:
        """led_set_brightness(): at once, or where the driver may sleep and the caller may not, by a work."""
        kernel = self._kernel
        light.brightness = min(brightness, light.max_brightness)
        if light.brightness_set:
            await kernel.call_guest(light.brightness_set, light.address, light.brightness)
        elif light.brightness_set_blocking and in_interrupt(kernel):
            light.delayed_set_value = light.brightness
            work = light.addressof("set_brightness_work")
            queue_work_on(kernel, 0, kernel.memory.read_u64(kernel.symbol("system_wq")), work)
        elif light.brightness_set_blocking:
            await kernel.call_guest(light.brightness_set_blocking, light.address, light.brightness)

    async def set_trigger(self, light: StructView, trigger: int) -> int:
        """led_trigger_set(): from now on that one, or none, switches a light; 0 or a negative errno."""
        kernel = self._kernel
        if light.trigger:
            old = self.trigger(light.trigger)
            lists.delete_init(kernel.memory, light.addressof("trig_list"))
            if old.deactivate:
                await kernel.call_guest(old.deactivate, light.address)
            light.trigger = light.trigger_data = 0
            await self.set_brightness(light, 0)
        if not trigger:
            return 0
        new = self.trigger(trigger)
        lists.add_tail(kernel.memory, light.addressof("trig_list"), new.addressof("led_cdevs"))
        light.trigger = trigger
        error = await kernel.call_guest_int(new.activate, light.address) if new.activate else 0
        if error:
            lists.delete_init(kernel.memory, light.addressof("trig_list"))
            light.trigger = 0
        return error

    async def register(self, parent: int, address: int) -> int:
        """led_classdev_register_ext(): 0 or a negative errno."""
        kernel, light = self._kernel, self.light(address)
        name = name_at(kernel, light.get("name"))
        if not name:
            return -errno.EINVAL
        cls = kernel.symbol("leds_class")
        dev = await create_device(kernel, cls, parent, 0, address, light.groups, name, "led_device_type")
        if dev not in kernel[Devices].devices:
            return dev - (1 << 64)
        light.dev = dev
        light.max_brightness = light.max_brightness or _FULL
        init_lock(kernel, "mutex", light.addressof("led_access"))
        init_lock(kernel, "rw_semaphore", light.addressof("trigger_lock"))
        lists.init(kernel.memory, light.addressof("trig_list"))
        work = kernel.view("work_struct", light.addressof("set_brightness_work"))
        lists.init(kernel.memory, work.addressof("entry"))
        work.func = kernel.symbol("set_brightness_delayed")
        self.lights.append(address)
        if light.brightness_get:
            light.brightness = max(await kernel.call_guest_int(light.brightness_get, address), 0)
        wanted = self.named(name_at(kernel, light.default_trigger)) if light.default_trigger else 0
        if wanted:
            await self.set_trigger(light, wanted)
        return 0

    async def unregister(self, address: int) -> None:
        """led_classdev_unregister(): it goes dark."""
        kernel, light = self._kernel, self.light(address)
        if address not in self.lights:
            return
        await self.set_trigger(light, 0)
        await self.set_brightness(light, 0)
        self.lights.remove(address)
        await kernel[Devices].delete(light.dev)
        await kernel.kobjects.put(light.dev)

    async def register_trigger(self, address: int) -> int:
        """led_trigger_register(): lights that wait for it get it; EEXIST if there is one of that name."""
        kernel, trigger = self._kernel, self.trigger(address)
        name = name_at(kernel, trigger.get("name"))
        if self.named(name):
            return -errno.EEXIST
        lists.init(kernel.memory, trigger.addressof("led_cdevs"))
        self.triggers.append(address)
        for light in map(self.light, list(self.lights)):
            if not light.trigger and name_at(kernel, light.default_trigger) == name:
                await self.set_trigger(light, address)
        return 0

    async def unregister_trigger(self, address: int) -> None:
        """led_trigger_unregister(): the lights that it switches get none."""
        if address in self.triggers:
            self.triggers.remove(address)
        for light in map(self.light, list(self.lights)):
            if light.trigger == address:
                await self.set_trigger(light, 0)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self.lights), list(self.triggers)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.lights, self.triggers = list(state[0]), list(state[1])


# --- lights ---------------------------------------------------------------------------------------------


@export(
    "int led_classdev_register_ext(struct device *parent, struct led_classdev *led_cdev,"
    " struct led_init_data *init_data)",
    Fidelity.APPROXIMATE,
)
async def led_classdev_register_ext(kernel: KernelCore, parent: int, led_cdev: int, init_data: int) -> int:
    """A light in /sys/class/leds, by its own name."""
    return await kernel[Leds].register(parent, led_cdev)


@export("void led_classdev_unregister(struct led_classdev *led_cdev)")
async def led_classdev_unregister(kernel: KernelCore, led_cdev: int) -> None:
    """Remove it."""
    await kernel[Leds].unregister(led_cdev)


@export(
    "int devm_led_classdev_register_ext(struct device *parent, struct led_classdev *led_cdev,"
    " struct led_init_data *init_data)",
    Fidelity.APPROXIMATE,
)
async def devm_led_classdev_register_ext(
    kernel: KernelCore, parent: int, led_cdev: int, init_data: int
) -> int:
    """A light until the driver's end."""
    error = await kernel[Leds].register(parent, led_cdev)
    if not error:
        res = devres.devres_alloc_node(kernel, kernel.symbol("devm_led_classdev_release"), 8, 0, 0)
        kernel.memory.write_u64(res, led_cdev)
        devres.devres_add(kernel, parent, res)
    return error


@export("void devm_led_classdev_release(struct device *dev, void *res)")
async def devm_led_classdev_release(kernel: KernelCore, dev: int, res: int) -> None:
    """That end."""
    await kernel[Leds].unregister(kernel.memory.read_u64(res))


@export("void set_brightness_delayed(struct work_struct *ws)")
async def set_brightness_delayed(kernel: KernelCore, ws: int) -> None:
    """What could not sleep asked for a brightness."""
    light = kernel[Leds].light(ws - kernel.profile.offset("led_classdev", "set_brightness_work"))
    if light.brightness_set_blocking:
        await kernel.call_guest(light.brightness_set_blocking, light.address, light.delayed_set_value)


def _define_setters() -> None:
    for name in ("led_set_brightness", "led_set_brightness_nosleep"):

        @export(f"void {name}(struct led_classdev *led_cdev, unsigned int brightness)")
        async def set_brightness(kernel: KernelCore, led_cdev: StructView, brightness: int) -> None:
            """Switch a light."""
            await kernel[Leds].set_brightness(led_cdev, brightness)


_define_setters()


@export("int led_set_brightness_sync(struct led_classdev *led_cdev, unsigned int value)")
async def led_set_brightness_sync(kernel: KernelCore, led_cdev: StructView, value: int) -> int:
    """Switch a light, and wait until it is."""
    led_cdev.brightness = min(value, led_cdev.max_brightness)
    if not led_cdev.brightness_set_blocking:
        return -errno.EOPNOTSUPP
    method = led_cdev.brightness_set_blocking
    return await kernel.call_guest_int(method, led_cdev.address, led_cdev.brightness)


@export("int led_update_brightness(struct led_classdev *led_cdev)")
async def led_update_brightness(kernel: KernelCore, led_cdev: StructView) -> int:
    """Ask the driver how bright it is."""
    if led_cdev.brightness_get:
        value = await kernel.call_guest_int(led_cdev.brightness_get, led_cdev.address)
        if value < 0:
            return value
        led_cdev.brightness = value
    return 0


# --- triggers -------------------------------------------------------------------------------------------


@export("int led_trigger_register(struct led_trigger *trig)")
async def led_trigger_register(kernel: KernelCore, trig: int) -> int:
    """Something that lights can tell of."""
    return await kernel[Leds].register_trigger(trig)


@export("void led_trigger_unregister(struct led_trigger *trig)")
async def led_trigger_unregister(kernel: KernelCore, trig: int) -> None:
    """No longer."""
    await kernel[Leds].unregister_trigger(trig)


@export("void led_trigger_register_simple(const char *name, struct led_trigger **trigger)")
async def led_trigger_register_simple(kernel: KernelCore, name: int, trigger: int) -> None:
    """A trigger on the heap; NULL, and a message, if there is one of that name."""
    trig = kernel.heap.kmalloc(kernel.profile.struct("led_trigger").size)
    kernel[Leds].trigger(trig).set("name", name)
    error = await kernel[Leds].register_trigger(trig)
    if error:
        kernel.heap.kfree(trig)
        text = f"LED trigger {kernel.memory.read_text(name)} failed to register ({error})"
        kernel.printk.emit(f"{text}\n", 4)
    kernel.memory.write_u64(trigger, 0 if error else trig)


@export("void led_trigger_unregister_simple(struct led_trigger *trig)")
async def led_trigger_unregister_simple(kernel: KernelCore, trig: int) -> None:
    """The end of one."""
    if trig:
        await kernel[Leds].unregister_trigger(trig)
        kernel.heap.kfree(trig)


@export("void led_trigger_event(struct led_trigger *trig, enum led_brightness brightness)")
async def led_trigger_event(kernel: KernelCore, trig: int, brightness: int) -> None:
    """It happens: all its lights get a brightness."""
    if trig:
        head = kernel[Leds].trigger(trig).addressof("led_cdevs")
        offset = kernel.profile.offset("led_classdev", "trig_list")
        for entry in list(lists.walk(kernel.memory, head)):
            await kernel[Leds].set_brightness(kernel[Leds].light(entry - offset), brightness)


@export("int led_trigger_set(struct led_classdev *led_cdev, struct led_trigger *trig)")
async def led_trigger_set(kernel: KernelCore, led_cdev: StructView, trig: int) -> int:
    """Give a light to a trigger."""
    return await kernel[Leds].set_trigger(led_cdev, trig)


@export("void led_trigger_remove(struct led_classdev *led_cdev)")
async def led_trigger_remove(kernel: KernelCore, led_cdev: StructView) -> None:
    """Take it away."""
    await kernel[Leds].set_trigger(led_cdev, 0)


# --- /sys/class/leds ------------------------------------------------------------------------------------

define_class("leds")
define_device_type(
    "led_device_type",
    "",
    "",
    {
        "brightness": (0o644, "led_brightness_show", "led_brightness_store"),
        "max_brightness": (0o444, "led_max_brightness_show", ""),
        "trigger": (0o644, "led_trigger_show", "led_trigger_store"),
    },
)


def _light(kernel: KernelCore, dev: int) -> StructView:
    return kernel[Leds].light(kernel.view("device", dev).driver_data)


def _put(kernel: KernelCore, buf: int, raw: bytes) -> int:
    kernel.memory.write(buf, raw + b"\n\0")
    return len(raw) + 1


@export(f"ssize_t led_brightness_show({_SHOW})")
async def led_brightness_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`brightness`."""
    light = _light(kernel, dev)
    await led_update_brightness(kernel, light)
    return _put(kernel, buf, b"%d" % light.brightness)


@export(f"ssize_t led_brightness_store({_STORE})")
async def led_brightness_store(kernel: KernelCore, dev: int, attr: int, buf: int, size: int) -> int:
    """Switch it; 0 takes it from its trigger."""
    text, light = kernel.memory.read_text(buf).strip(), _light(kernel, dev)
    if not text.isdigit():
        return -errno.EINVAL
    if not int(text):
        await kernel[Leds].set_trigger(light, 0)
    await kernel[Leds].set_brightness(light, int(text))
    return size


@export(f"ssize_t led_max_brightness_show({_SHOW})")
def led_max_brightness_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`max_brightness`."""
    return _put(kernel, buf, b"%d" % _light(kernel, dev).max_brightness)


@export(f"ssize_t led_trigger_show({_SHOW})")
def led_trigger_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`trigger`: all there are, its own in brackets."""
    leds, own = kernel[Leds], _light(kernel, dev).trigger
    names = [b"none" if own else b"[none]"]
    for trigger in leds.triggers:
        name = name_at(kernel, leds.trigger(trigger).get("name"))
        names.append(b"[%s]" % name if trigger == own else name)
    return _put(kernel, buf, b" ".join(names))


@export(f"ssize_t led_trigger_store({_STORE})")
async def led_trigger_store(kernel: KernelCore, dev: int, attr: int, buf: int, size: int) -> int:
    """Give it to a trigger by its name, or to none."""
    name = kernel.memory.read_cstring(buf).strip()
    trigger = kernel[Leds].named(name)
    if not trigger and name != b"none":
        return -errno.EINVAL
    return await kernel[Leds].set_trigger(_light(kernel, dev), trigger) or size
