"""Algorithms and templates of the crypto API, and /proc/crypto (crypto/algapi.c, crypto/proc.c).

An algorithm is known as soon as it is registered: no self-test runs, and none is told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.drivers.families.crypto_tests import TESTED
from kmod_emu.drivers.registration import Family, Registrations, declare
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore

_TYPE_MASK, _CIPHER, _INTERNAL = 0xF, 1, 0x2000
_PRIORITY_MAX = (1 << 31) - 1
_MAX_POINTER = (1 << 64) - 4096  # what is above is an errno

# What Debian's kernel has itself: name, driver; /proc/crypto shows the newest first.
OWN_ALGORITHMS = (
    ("cbc(aes)", "cbc(aes-generic)"), ("pkcs1pad(rsa,sha256)", "pkcs1pad(rsa-generic,sha256)"),
    ("hmac(sha1)", "hmac(sha1-generic)"), ("hmac(sha256)", "hmac(sha256-generic)"),
    ("lzo-rle", "lzo-rle-scomp"), ("lzo-rle", "lzo-rle-generic"), ("lzo", "lzo-scomp"),
    ("lzo", "lzo-generic"), ("zlib-deflate", "zlib-deflate-scomp"), ("deflate", "deflate-scomp"),
    ("deflate", "deflate-generic"), ("aes", "aes-generic"), ("sha224", "sha224-generic"),
    ("sha256", "sha256-generic"), ("sha1", "sha1-generic"), ("md5", "md5-generic"),
    ("ecb(cipher_null)", "ecb-cipher_null"), ("digest_null", "digest_null-generic"),
    ("compress_null", "compress_null-generic"), ("cipher_null", "cipher_null-generic"),
    ("rsa", "rsa-generic"), ("dh", "dh-generic"),
)  # fmt: skip


class Kind(NamedTuple):
    """A type of algorithms.

    Attributes:
        name: As its functions have it.
        struct: Of an algorithm.
        number: In its flags.
        several: The plural in the functions for arrays; "" if there are none.
        base: Where the `struct crypto_alg` is in it, one name inside the other.
        shows: Lines of /proc/crypto: their words, and the members.
    """

    name: str
    struct: str
    number: int
    several: str
    base: tuple[str, ...] = ("base",)
    shows: tuple[tuple[str, str], ...] = ()


_HASH = (("blocksize", "cra_blocksize"), ("digestsize", "digestsize"))
KINDS = (
    Kind("alg", "crypto_alg", 0, "algs", ()),
    Kind("shash", "shash_alg", 0xE, "shashes", shows=_HASH),
    Kind("ahash", "ahash_alg", 0xF, "ahashes", ("halg", "base"), shows=_HASH),
    Kind(
        "skcipher", "skcipher_alg", 5, "skciphers", shows=(
            ("blocksize", "cra_blocksize"), ("min keysize", "min_keysize"), ("max keysize", "max_keysize"),
            ("ivsize", "ivsize"), ("chunksize", "chunksize"), ("walksize", "walksize"),
        ),
    ),
    Kind(
        "aead", "aead_alg", 3, "aeads",
        shows=(("blocksize", "cra_blocksize"), ("ivsize", "ivsize"), ("maxauthsize", "maxauthsize")),
    ),
    Kind("akcipher", "akcipher_alg", 0xD, ""),
    Kind("kpp", "kpp_alg", 8, ""),
    Kind("rng", "rng_alg", 0xC, "rngs", shows=(("seedsize", "seedsize"),)),
    Kind("scomp", "scomp_alg", 0xB, "scomps"),
    Kind("acomp", "acomp_alg", 0xA, "acomps"),
)  # fmt: skip


def _base(kernel: KernelCore, kind: Kind, address: int) -> int:
    """The `struct crypto_alg` in an algorithm."""
    for struct, member in zip((kind.struct, "hash_alg_common"), kind.base, strict=False):
        address += kernel.profile.offset(struct, member)
    return address


def algorithms(kernel: KernelCore) -> Iterator[tuple[Kind, int, int]]:
    """Those of modules, oldest first: what each is, its structure, the `struct crypto_alg` in it."""
    for kind in KINDS:
        for address, _ in kernel[Registrations].of(_title(kind)):
            yield kind, address, _base(kernel, kind, address)


def _title(kind: Kind) -> str:
    return "algorithm" if kind.name == "alg" else f"{kind.name} algorithm"


def _declare(kind: Kind) -> None:
    def check(kernel: KernelCore, address: int) -> int:
        """crypto_check_alg() and what __crypto_register_alg() looks for among those that are there."""
        alg = kernel.view("crypto_alg", _base(kernel, kind, address))
        if kind.number:
            alg.cra_flags = alg.cra_flags & ~_TYPE_MASK | kind.number
        name, driver = alg.text("cra_name"), alg.text("cra_driver_name")
        if not name or not driver or alg.cra_priority > _PRIORITY_MAX:
            return -errno.EINVAL
        taken = list(OWN_ALGORITHMS)
        for _, _, other in algorithms(kernel):
            view = kernel.view("crypto_alg", other)
            taken.append((view.text("cra_name"), view.text("cra_driver_name")))
        if any(driver in (known, its) or name == its for known, its in taken):
            return -errno.EEXIST
        return 0

    def after(kernel: KernelCore, address: int) -> None:
        """The manager has no test for some, and says so; internal ones it does not look at."""
        alg = kernel.view("crypto_alg", _base(kernel, kind, address))
        name, driver = alg.text("cra_name"), alg.text("cra_driver_name")
        shown = f"ecb({name})" if alg.cra_flags & _TYPE_MASK == _CIPHER else name
        if not alg.cra_flags & _INTERNAL and shown not in TESTED and driver not in TESTED:
            kernel.printk.emit(f"alg: No test for {name} ({driver})\n", 6)

    struct, plural = f"struct {kind.struct}", kind.several
    array = f"({struct} *algs, int count)"
    returns = "int" if kind.name == "scomp" else "void"
    declare(
        __name__,
        Family(
            _title(kind),
            f"int crypto_register_{kind.name}({struct} *alg)",
            f"{returns} crypto_unregister_{kind.name}({struct} *alg)",
            check=check,
            after=after,
            many=(
                f"int crypto_register_{plural}{array}" if plural else "",
                f"void crypto_unregister_{plural}{array}" if plural else "",
            ),
            stride=kind.struct,
        ),
    )


for _kind in KINDS:
    _declare(_kind)

_TEMPLATES = "(struct crypto_template *tmpls, int count)"
declare(
    __name__,
    Family(
        "template of algorithms", "int crypto_register_template(struct crypto_template *tmpl)",
        "void crypto_unregister_template(struct crypto_template *tmpl)", "crypto_template.name",
        many=(
            f"int crypto_register_templates{_TEMPLATES}", f"void crypto_unregister_templates{_TEMPLATES}",
        ),
        stride="crypto_template",
    )
)  # fmt: skip


# --- /proc/crypto ---------------------------------------------------------------------------------------


def crypto_text(kernel: KernelCore) -> str:
    """/proc/crypto: a paragraph an algorithm, the newest first; of the kernel's own what is known."""
    paragraphs = [_paragraph(kernel, *found) for found in algorithms(kernel)][::-1]
    for name, driver in OWN_ALGORITHMS:
        paragraphs.append([("name", name), ("driver", driver), ("module", "kernel"), ("selftest", "passed")])
    return "".join("".join(f"{word:<13}: {value}\n" for word, value in lines) + "\n" for lines in paragraphs)


def _paragraph(kernel: KernelCore, kind: Kind, address: int, base: int) -> list[tuple[str, object]]:
    alg, view = kernel.view("crypto_alg", base), kernel.view(kind.struct, address)
    module = kernel.view("module", alg.cra_module).text("name") if alg.cra_module else "kernel"
    if kind.name == "ahash":
        view = kernel.view("hash_alg_common", base - kernel.profile.offset("hash_alg_common", "base"))
    lines: list[tuple[str, object]] = [
        ("name", alg.text("cra_name")),
        ("driver", alg.text("cra_driver_name")),
        ("module", module),
        ("priority", alg.cra_priority),
        ("refcnt", 1),
        ("selftest", "passed"),
        ("internal", "yes" if alg.cra_flags & _INTERNAL else "no"),
        ("type", {"alg": "cipher"}.get(kind.name, kind.name)),
    ]
    for word, member in kind.shows:
        lines.append((word, (alg if member.startswith("cra_") else view).get(member)))
    return lines


# --- looking for one ------------------------------------------------------------------------------------


async def find_algorithm(kernel: KernelCore, name: str) -> tuple[Kind, int, int] | None:
    """crypto_alg_mod_lookup(): by driver, or the best of a name; a module that has it is asked for."""
    for attempt in range(2):
        best, found = -1, None
        for kind, address, base in algorithms(kernel):
            alg = kernel.view("crypto_alg", base)
            if alg.text("cra_driver_name") == name:
                return kind, address, base
            if alg.text("cra_name") == name and alg.cra_priority > best:
                best, found = alg.cra_priority, (kind, address, base)
        if found or attempt:
            return found
        for wanted in (f"crypto-{name}", f"crypto-{name}-all"):
            await kernel.request_module(wanted)
    return None


@export("int crypto_has_alg(const char *name, u32 type, u32 mask)", Fidelity.APPROXIMATE)
async def crypto_has_alg(kernel: KernelCore, name: str, type: int, mask: int) -> int:
    """Whether there is one (crypto/api.c)."""
    own = any(name in each for each in OWN_ALGORITHMS)
    return int(own or await find_algorithm(kernel, name) is not None)


def _declare_question(kind: str) -> None:
    @export(f"int crypto_has_{kind}(const char *alg_name, u32 type, u32 mask)", Fidelity.APPROXIMATE)
    async def has(kernel: KernelCore, alg_name: str, type: int, mask: int) -> int:
        """Whether there is one of a kind (crypto/ahash.c and others)."""
        return await crypto_has_alg(kernel, alg_name, type, mask)


for _question in ("ahash", "shash", "skcipher", "aead"):
    _declare_question(_question)


@export("void crypto_init_queue(struct crypto_queue *queue, unsigned int max_qlen)")
def crypto_init_queue(kernel: KernelCore, queue: int, max_qlen: int) -> None:
    """An empty queue of requests (crypto/algapi.c)."""
    view = kernel.view("crypto_queue", queue)
    for pointer in (queue, queue + 8, view.addressof("backlog")):
        kernel.memory.write_u64(pointer, queue)
    view.qlen, view.max_qlen = 0, max_qlen


# --- hashes in use --------------------------------------------------------------------------------------


@export(
    "struct crypto_shash *crypto_alloc_shash(const char *alg_name, u32 type, u32 mask)", Fidelity.APPROXIMATE
)
async def crypto_alloc_shash(kernel: KernelCore, alg_name: str, type: int, mask: int) -> int:
    """A hash of a module's, which it pins; ENOENT if nobody has it (crypto/shash.c)."""
    found = await find_algorithm(kernel, alg_name)
    if found is None:
        if any(alg_name in each for each in OWN_ALGORITHMS):
            text = f"{alg_name} is a hash of the kernel's own, which this base kernel does not compute"
            kernel.faults.lacks("crypto_alloc_shash", text)
        return -errno.ENOENT
    kind, address, base = found
    alg = kernel.view("crypto_alg", base)
    if kind.name != "shash" or not kernel.try_module_get(alg.cra_module):
        return -errno.ENOENT
    layout = kernel.profile.struct("crypto_shash")
    tfm = kernel.view("crypto_shash", kernel.heap.kmalloc(layout.size + alg.cra_ctxsize))
    kernel.view("crypto_tfm", tfm.addressof("base")).__crt_alg = base
    hash_alg = kernel.view(kind.struct, address)
    tfm.descsize = hash_alg.descsize
    for method, argument in ((alg.cra_init, tfm.addressof("base")), (hash_alg.init_tfm, tfm.address)):
        error = to_int(await kernel.call_guest(method, argument)) if method else 0
        if error:
            kernel.heap.kfree(tfm.address)
            kernel.module_put(alg.cra_module)
            return error
    return tfm.address


@export("void crypto_destroy_tfm(void *mem, struct crypto_tfm *tfm)", Fidelity.APPROXIMATE)
async def crypto_destroy_tfm(kernel: KernelCore, mem: int, tfm: int) -> None:
    """Its end: the algorithm's module is free again (crypto/api.c)."""
    if not mem or mem > _MAX_POINTER:
        return
    alg = kernel.view("crypto_alg", kernel.view("crypto_tfm", tfm).__crt_alg)
    if alg.cra_exit:
        await kernel.call_guest(alg.cra_exit, tfm)
    kernel.heap.kfree(mem)
    kernel.module_put(alg.cra_module)


def _declare_step(name: str, parameters: str) -> None:
    @export(f"int crypto_shash_{name}(struct shash_desc *desc{parameters})", Fidelity.APPROXIMATE)
    async def step(kernel: KernelCore, desc: int, *arguments: int) -> int:
        """The algorithm's own function (crypto/shash.c)."""
        tfm = kernel.view("crypto_shash", kernel.view("shash_desc", desc).tfm)
        base = kernel.view("crypto_tfm", tfm.addressof("base")).__crt_alg
        alg = kernel.view("shash_alg", base - kernel.profile.offset("shash_alg", "base"))
        return await kernel.call_guest_int(alg.get(name), desc, *arguments)


for _name, _parameters in (
    ("update", ", const u8 *data, unsigned int len"),
    ("final", ", u8 *out"),
    ("finup", ", const u8 *data, unsigned int len, u8 *out"),
    ("digest", ", const u8 *data, unsigned int len, u8 *out"),
):
    _declare_step(_name, _parameters)


def _declare_maker(returns: str, name: str) -> None:
    @export(f"struct {returns} *{name}(const char *alg_name, u32 type, u32 mask)", Fidelity.APPROXIMATE)
    async def make(kernel: KernelCore, alg_name: str, type: int, mask: int) -> int:
        """ENOENT if nobody has it; others are not there to be used (crypto/api.c)."""
        if await crypto_has_alg(kernel, alg_name, type, mask):
            kernel.faults.lacks(name, f"{alg_name} is there, but this base kernel does not use it")
        return -errno.ENOENT


_declare_maker("crypto_sync_skcipher", "crypto_alloc_sync_skcipher")
_declare_maker("crypto_tfm", "crypto_alloc_base")
