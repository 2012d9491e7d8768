"""Credentials that a module changes."""


def test_commit_creds_makes_the_caller_root(kernel, guest):
    task = guest.user_task(uid=1000)
    new = guest.as_task(task, "prepare_creds")
    cred = kernel.view("cred", new)
    assert cred.euid == 1000
    cred.euid = cred.uid = 0
    assert guest.as_task(task, "commit_creds", new) == 0
    assert (task.uid, kernel.view("task_struct", task.address).cred) == (0, new)


def test_ids_and_names(kernel, guest):
    assert guest.export("from_kuid", kernel.symbol("init_user_ns"), 1000) == 1000
    names = kernel.memory.read(kernel.symbol("init_uts_ns"), 6 * 65)
    assert [names[i : i + 65].rstrip(b"\0") for i in (0, 130)] == [b"Linux", b"6.1.0-56-amd64"]
