"""Programs that modules want started are recorded (kernel/umh.c)."""

from kmod_emu.kernel.umh import UserModeHelpers


def array(guest, *texts):
    return guest.data(b"".join(guest.text(text).to_bytes(8, "little") for text in texts) + bytes(8))


def test_a_call_is_recorded_and_told(kernel, guest):
    events = []
    kernel.events.listen(lambda event: events.append(event))
    argv, envp = array(guest, "/bin/sh", "-c", "id"), array(guest, "HOME=/")
    assert guest.export("call_usermodehelper", guest.text("/bin/sh"), argv, envp, 2) == 0
    call = {"path": "/bin/sh", "argv": ["/bin/sh", "-c", "id"], "envp": ["HOME=/"]}
    assert kernel[UserModeHelpers].calls == [call]
    assert [event.detail for event in events if event.name == "usermodehelper"] == [call]


def test_a_prepared_call_is_freed(kernel, guest):
    argv = array(guest, "/bin/true")
    before = kernel.held()["heap objects"]
    info = guest.export("call_usermodehelper_setup", guest.text("/bin/true"), argv, 0, 0xCC0, 0, 0, 0)
    assert guest.export("call_usermodehelper_exec", info, 1) == 0
    assert kernel.held()["heap objects"] == before
    assert kernel[UserModeHelpers].calls == [{"path": "/bin/true", "argv": ["/bin/true"], "envp": []}]


def test_no_path_is_no_program(kernel, guest):
    assert guest.export("call_usermodehelper", guest.text(""), 0, 0, 0) == 0
    assert kernel[UserModeHelpers].calls == []
