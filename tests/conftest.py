"""What all tests share: the recordings of a real kernel."""

import json
from pathlib import Path

RECORDINGS = Path(__file__).parent / "recordings"


def recording(name: str) -> list[dict]:
    """A recording of a real Debian 6.1 kernel (see recordings/README.md)."""
    return json.loads((RECORDINGS / name).read_text())
