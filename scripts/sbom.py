"""Write what the package is made of, from the lock, as a CycloneDX bill of materials.

    python -m scripts.sbom FILE

It is the same each time; SOURCE_DATE_EPOCH, where that is set, is its date.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from datetime import UTC, datetime
from importlib.metadata import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from kmod_emu import __version__

ROOT = Path(__file__).parent.parent
_PINNED = re.compile(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")


def bom() -> Bom:
    """The program, and each package of requirements.txt with the hashes that pip accepts."""
    program = _component("kmod-emu", __version__, "GPL-2.0-only", ComponentType.APPLICATION)
    locked = (ROOT / "requirements.txt").read_text()
    parts = [
        _component(name, version, _licence(name), ComponentType.LIBRARY, _SHA256.findall(hashes))
        for name, version, hashes in _PINNED.findall(locked)
    ]
    made = Bom(components=parts, serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{__version__} {locked}"))
    made.metadata.component = program
    made.metadata.timestamp = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    made.register_dependency(program, parts)
    return made


def _component(
    name: str, version: str, licence: str, kind: ComponentType, hashes: list[str] | None = None
) -> Component:
    purl = PackageURL("pypi", name=name, version=version)
    return Component(
        name=name,
        version=version,
        type=kind,
        bom_ref=str(purl),
        purl=purl,
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in hashes or ()],
    )


def _licence(name: str) -> str:
    """What the package that is installed says."""
    own = metadata(name)
    classes = (text.rpartition(":: ")[2] for text in own.get_all("Classifier") or () if "License" in text)
    return own.get("License-Expression") or next(classes, "") or own.get("License") or ""


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        make_outputter(bom(), OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"
    )
