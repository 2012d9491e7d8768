"""modinfo tags of real modules (SPEC A2 step 7)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.module.elf import parse_modinfo
from tests.module.linking import checked, module_file


def tags_of(name: str) -> list[tuple[str, str]]:
    image = checked(module_file(name))
    return image.modinfo_tags()


def test_tags_of_a_real_module() -> None:
    tags = dict(tags_of("h_hello"))
    assert tags["name"] == "h_hello"
    assert tags["license"] == "GPL"
    assert tags["vermagic"] == "6.1.0-56-amd64 SMP preempt mod_unload modversions "


def test_a_tag_may_occur_several_times() -> None:
    parameters = [value for tag, value in tags_of("h_params") if tag == "parmtype"]
    assert "p_int:int" in parameters
    assert len(parameters) > 10


def test_string_without_nul_runs_on_to_the_next_one() -> None:
    """The recorded kernel read the X behind the last string (case mi_nonul)."""
    assert ("vermagic", "6.1.0-56-amd64 SMP preempt mod_unload modversions X") in tags_of("mi_nonul")


def test_only_the_first_equals_sign_divides() -> None:
    assert parse_modinfo(b"a=b=c\0\0\0d=\0novalue\0") == [("a", "b=c"), ("d", "")]


@given(st.binary(max_size=80))
def test_every_string_with_an_equals_sign_is_a_tag(data: bytes) -> None:
    pairs = parse_modinfo(data)
    again = [f"{tag}={value}".encode("utf-8", "surrogateescape") for tag, value in pairs]
    assert again == [string for string in data.split(b"\0") if b"=" in string]
