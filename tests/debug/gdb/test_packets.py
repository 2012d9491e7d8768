"""Packets survive any cutting of the stream and any rubbish between them."""

from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.debug.gdb.packets import Parser, Received, escape, frame, unescape


@given(st.binary())
def test_escapes_are_undone(data):
    assert unescape(escape(data)) == data
    assert not set(escape(data)) & set(b"$#*")


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(1, 7))
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(packets, size):
    stream, parser, found = b"".join(map(frame, packets)), Parser(), []
    for start in range(0, len(stream), size):
        found += parser.feed(stream[start : start + size])
    assert found == [Received("packet", data) for data in packets]


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_behind_rubbish_a_packet_is_understood(pieces):
    parser = Parser()
    for piece in pieces:
        parser.feed(piece)
    parser.feed(b"#00")  # ends what the rubbish may have begun
    assert parser.feed(frame(b"qC"))[-1] == Received("packet", b"qC")


def test_what_stands_between_packets():
    kinds = [received.kind for received in Parser().feed(b"+-\x03 $qC#00$a$b#62")]
    assert kinds == ["ack", "nack", "break", "damaged", "damaged", "packet"]
