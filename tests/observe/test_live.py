"""The page served: the machine at each step, who may see it, and bad requests."""

import re
import signal
import socket
import struct
import subprocess
import sys
import urllib.request

import pytest
from starlette.testclient import TestClient

from kmod_emu import Kernel, samples
from kmod_emu.observe.live.app import Site
from kmod_emu.observe.live.moments import Moments
from kmod_emu.observe.report.model import collect


def run(name, params=""):
    kernel = Kernel()
    moments = Moments(kernel)
    model = collect(kernel, str(samples.path(name)), params)
    moments.finish()
    return model, moments


@pytest.fixture(scope="module")
def echo():
    return run("echo")


def step_named(model, name):
    return next(number for number, step in enumerate(model["steps"], 1) if step["name"] == name)


@pytest.fixture(scope="module")
def client(echo):
    return TestClient(Site(*echo).app, base_url="http://localhost:8765")


def memory(client, **query):
    answer = client.get("memory", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["lines"]


def raw(lines):
    return bytes.fromhex("".join("".join(line["bytes"]) for line in lines))


# --- the machine at a step ----------------------------------------------------------------------------


def test_each_relocation_is_seen_before_and_after(client, echo):
    model = echo[0]
    applied = step_named(model, "apply_relocations")
    for one in model["relocations"]:
        start, size = one["place"] & -8, len(one["after"])
        at = one["place"] - start
        before = raw(memory(client, step=applied - 1, address=hex(one["place"]), size=size))
        lines = memory(client, step=applied, address=hex(one["place"]), size=size)
        assert before[at : at + size] == one["before"]
        assert raw(lines)[at : at + size] == one["after"]
        changed = [flag for line in lines for flag in line["changed"]][at : at + size]
        assert changed == [a != b for a, b in zip(one["before"], one["after"], strict=True)]


def test_steps_say_what_the_page_says(client, echo):
    for number, step in enumerate(echo[0]["steps"], 1):
        told = client.get("step", params={"step": number}).json()
        assert (told["title"], told["detail"]) == (step["title"], step["detail"])


def test_modules_and_their_states(client, echo):
    def states(name):
        told = client.get("step", params={"step": step_named(echo[0], name)}).json()
        return [(module["name"], module["state"]) for module in told["modules"]]

    assert states("layout_and_allocate") == []
    assert states("add_unformed_module") == [("echo", "Unformed")]
    assert states("do_one_initcall") == [("echo", "Loading")]
    assert states("module_live") == [("echo", "Live")]
    assert states("module_exit") == [("echo", "Unloading")]
    assert states("free_module") == []


def test_registers_while_the_module_runs(client, echo):
    told = client.get("step", params={"step": step_named(echo[0], "register_chrdev")}).json()
    registers = {one["name"]: one["value"] for one in told["registers"]}
    assert registers["rsi"] == "0x0"  # baseminor
    assert registers["rdx"] == "0x100"  # count
    assert told["callers"] == ["echo_init+0x21/0x1000 [echo]"]
    assert client.get("step", params={"step": 2}).json()["registers"] == []


def test_an_oops_shows_the_registers_of_the_fault():
    model, moments = run("oops_null")
    told = moments.step(step_named(model, "oops"))
    (rip,) = (one for one in told["registers"] if one["name"] == "rip")
    assert rip["meaning"].startswith("oops_null_init+0x1a/")


def test_memory_has_symbols_and_what_words_point_at(client, echo):
    live = step_named(echo[0], "module_live")
    (line,) = memory(client, step=live, address="echo_fops", size=8)
    assert line["name"].startswith("echo_fops+0x0/")
    assert line["meaning"].startswith("__this_module+0x0/")  # .owner = THIS_MODULE
    pointers = [line["meaning"] for line in memory(client, step=live, address="echo_fops", size=64)]
    assert any(text.startswith("echo_read+0x0/") for text in pointers)


def test_user_memory_of_the_caller(client):
    address = int(re.search(r"init_module\((0x[0-9a-f]+)", client.get("step?step=1").json()["detail"])[1], 16)
    (line,) = memory(client, step=1, address=hex(address), size=8)
    assert line["text"].startswith(".ELF")


def test_init_memory_is_gone_when_it_is_freed(client, echo):
    freed = step_named(echo[0], "free_init")
    address = next(run["start"] for run in echo[0]["regions"] if run["region"] == "init")
    assert memory(client, step=freed - 1, address=address, size=8)
    answer = client.get("memory", params={"step": freed, "address": address, "size": 8})
    assert answer.status_code == 404
    assert answer.json()["error"] == f"{address:#x} is not mapped at step {freed}"


def test_memory_ends_where_it_is_mapped_no_more(client, echo):
    live = step_named(echo[0], "module_live")
    end = max(run["end"] for run in echo[0]["regions"] if run["region"] == "core")
    assert len(raw(memory(client, step=live, address=hex(end - 16), size=64))) == 16
    assert len(raw(memory(client, step=live, address=hex(end - 4), size=4))) == 8  # whole words


def test_changes_are_what_the_step_wrote(client, echo):
    number = step_named(echo[0], "apply_relocations")
    changes = client.get("step", params={"step": number}).json()["changes"]
    written = [(int(one["address"], 16), one["size"]) for one in changes]
    for one in echo[0]["relocations"]:
        if one["before"] != one["after"]:
            assert any(start <= one["place"] < start + size for start, size in written), hex(one["place"])


def test_list_of_modules_can_be_walked_in_memory(client, echo):
    live = step_named(echo[0], "module_live")
    address = echo[0]["lists"][1]["modules"][0]["address"]
    (head,) = memory(client, step=live, address="modules", size=8)
    (first,) = struct.unpack("<Q", raw([head]))
    assert 0 < first - address < 64
    unloaded = memory(client, step=len(echo[0]["steps"]), address="modules", size=8)
    assert struct.unpack("<Q", raw(unloaded))[0] == int(unloaded[0]["address"], 16)  # points at itself


# --- bad requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("step?step=0", 404, "there is no step 0: steps 1 to 29 are kept"),
        ("step?step=30", 404, "there is no step 30: steps 1 to 29 are kept"),
        ("step", 400, "step must be a number"),
        ("step?step=-1", 400, "step must be a number"),
        ("step?step=%D9%A3", 400, "step must be a number"),
        ("step?step=" + "9" * 5000, 400, "step must be a number"),
        ("memory?step=5&address=0x10", 404, "0x10 is not mapped at step 5"),
        ("memory?step=5&address=0xffffffffffffffff&size=4096", 404, "0xffffffffffffffff is not mapped at"),
        ("memory?step=5&address=0x10000000000000000", 400, "an address is a number below 2 to the 64th"),
        ("memory?step=5&address=-8", 400, "an address is a number below 2 to the 64th"),
        ("memory?step=5&address=<script>", 404, "there is no symbol of that name at this step"),
        ("memory?step=5&address=", 404, "there is no symbol of that name at this step"),
        ("memory?step=5&address=" + "1" * 201, 400, "an address or a symbol's name has at most 200"),
        ("memory?step=5&address=modules&size=0", 400, "the size must be between 1 and 4096 bytes"),
        ("memory?step=5&address=modules&size=999999999", 400, "the size must be between 1 and 4096 bytes"),
        ("memory?step=99&address=modules", 404, "there is no step 99"),
        ("elsewhere", 404, "Not Found"),
        ("now", 404, "Not Found"),
    ],
)
def test_bad_requests_get_a_sentence(client, query, status, sentence):
    answer = client.get(query)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(sentence)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_alone_nothing_can_be_changed(client, method):
    assert client.request(method, "step?step=1").status_code == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", ""])
def test_other_names_for_this_computer_are_refused(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "localhost" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "[::1]:8765"])
def test_names_of_localhost_are_fine(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


def test_page_allows_requests_to_its_own_server_only(client):
    answer = client.get("/")
    assert "default-src 'none'" in answer.text
    assert "connect-src 'self'" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


# --- sharing ------------------------------------------------------------------------------------------


@pytest.fixture
def shared(echo):
    site = Site(*echo, shared=True)
    return site, TestClient(site.app, base_url="http://192.0.2.7:8765")


def test_class_follows_the_presenter(shared):
    site, client = shared
    assert client.get(site.viewer + "now").json()["step"] == 1
    moved = client.post(site.presenter + "now", params={"step": 11, "address": "echo_init", "size": 64})
    assert moved.status_code == 200
    assert client.get(site.viewer + "now").json() == {"step": 11, "address": "echo_init", "size": 64}
    assert "Forward" in client.get(site.presenter).text
    assert "Forward" not in client.get(site.viewer).text
    assert client.get(site.viewer + "step?step=11").json()["step"] == 11


def test_class_moves_nothing(shared):
    site, client = shared
    answer = client.post(site.viewer + "now", params={"step": 5})
    assert answer.status_code == 403
    assert answer.json()["error"] == "only the presenter moves the step"
    assert client.get(site.presenter + "now", params={"step": 5}).json()["step"] == 1  # a GET changes nothing


@pytest.mark.parametrize("query", ["step=0", "step=99", "step=x", "", "step=1&address=" + "a" * 201])
def test_presenter_cannot_go_nowhere(shared, query):
    site, client = shared
    assert client.post(site.presenter + "now?" + query).status_code in (400, 404)
    assert client.get(site.viewer + "now").json() == {"step": 1, "address": "", "size": 128}


@pytest.mark.parametrize("path", ["/", "/wrong/", "/wrong/step?step=1", "/wrong/now", "/%C3%A9/"])
def test_without_the_secret_nothing_is_shown(shared, path):
    answer = shared[1].get(path)
    assert answer.status_code == 403
    assert "secret" in answer.json()["error"]


def test_each_run_has_other_secrets(echo):
    first, second = Site(*echo, shared=True), Site(*echo, shared=True)
    assert len({first.presenter, first.viewer, second.presenter, second.viewer}) == 4


# --- the command --------------------------------------------------------------------------------------


def send(port, data):
    """What the server answers to bytes, of a client that then goes away."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(data)
        client.settimeout(10)
        return client.recv(100)


def test_command_serves_until_ctrl_c():
    command = [sys.executable, "-m", "kmod_emu.cli.main", "serve", "hello", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            url, port = re.match(r"(http://127\.0\.0\.1:(\d+)/)", said).groups()
            assert send(int(port), b"\0\1\2\r\n\r\n").startswith(b"HTTP/1.1 400 ")
            assert send(int(port), b"GET /?" + b"a" * 100_000).startswith(b"HTTP/1.1 400 ")
            with socket.create_connection(("127.0.0.1", int(port))) as client:
                client.sendall(b"GET /memory?step=1")  # and leaves
            with urllib.request.urlopen(url) as answer:
                assert b"module_init() executed" in answer.read()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""


def test_taken_port_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "kmod_emu.cli.main", "serve", "hello", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("kmod-emu: ")
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr
