"""gdb's packets: the stream that is cut into them, and what each is answered."""

from kmod_emu import Kernel, samples
from kmod_emu.debug.debugger import Debugger
from kmod_emu.debug.gdb.packets import Parser, frame, unescape
from kmod_emu.debug.gdb.stub import Left, Stub

EXPECTED = (Left,)


def seeds():
    return [
        b"qSupported:a+\nQStartNoAckMode\n?\ng\np10\nm%x,8",
        b"Z0,ffffffffc0000000,1\nvCont?\nvCont;r0,10:1\nz0,ffffffffc0000000,1\nqfThreadInfo\nHg1\nT1",
        b"qXfer:features:read:target.xml:0,20\nqXfer:libraries:read::0,1000\nqXfer:threads:read::0,ff",
        b"vFile:setfs:0\nvFile:open:6d,0,0\nvFile:pread:3,10,0\nvFile:fstat:3\nvFile:close:3",
        b"qRcmd,736e6170\nqRcmd,726573746f72652031\nbs\nM0,1:00\nX0,1:a\nP0=0000000000000000\nZ2,0,8",
    ]


def start():
    debugger = Debugger(Kernel())
    debugger.start(samples.path("globals"))

    def run(data):
        Parser().feed(data)
        [packet] = Parser().feed(frame(data))
        assert packet.data == data
        unescape(data)
        debugger.go_to_beginning()
        stub = Stub(debugger)
        try:
            for line in data.split(b"\n")[:12]:
                stub.answer(line)
        finally:
            stub.close()

    return run
