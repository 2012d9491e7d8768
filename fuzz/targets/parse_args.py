"""Parameters of a module: split by next_arg(), set by the guest's param_set_*()."""

from kmod_emu import Kernel, KernelError, samples

EXPECTED = (KernelError,)


def seeds():
    return [
        b"n=2 who=bob list=1,2,3",
        b'who="a b" n=-1 flag',
        b"n=0x10 -- rest",
        b"dyndbg=+p async_probe",
        b'params.dyndbg="file a.c line 1-9 +pmf; func x =_"',
    ]


def start():
    kernel = Kernel()
    image, clean = samples.path("params").read_bytes(), kernel.snapshot()

    def run(data):
        kernel.restore(clean)
        kernel.insmod(image, data.replace(b"\0", b" ").decode("utf-8", "surrogateescape"))

    return run
