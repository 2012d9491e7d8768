"""Which source lines were executed, as lcov's tracefiles have it (geninfo(1)), for genhtml and editors."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kmod_emu.debug.lines import LineTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kmod_emu.observe.trace.flow import Flow


def line_counts(flow: Flow) -> dict[str, dict[int, int]]:
    """File -> line -> how often its code was entered; 0 for lines with code that never ran."""
    files: dict[str, dict[int, int]] = defaultdict(dict)
    for image, sections in flow.modules.values():
        starts = {name: address for name, address, _ in sections}
        for section, offset, file, line in LineTable(image).rows() if image else ():
            if section in starts:
                count = flow.counts.get(starts[section] + offset, 0)
                files[file][line] = max(files[file].get(line, 0), count)
    return dict(files)


def tracefile(counts: Mapping[str, Mapping[int, int]], test: str) -> Iterator[str]:
    """The lines of a tracefile.

    >>> list(tracefile({"hello.c": {8: 1, 9: 0}}, "hello"))
    ['TN:hello', 'SF:hello.c', 'DA:8,1', 'DA:9,0', 'LF:2', 'LH:1', 'end_of_record']
    """
    for file, lines in sorted(counts.items()):
        yield f"TN:{test}"
        yield f"SF:{file}"
        for line, count in sorted(lines.items()):
            yield f"DA:{line},{count}"
        yield f"LF:{len(lines)}"
        yield f"LH:{sum(1 for count in lines.values() if count)}"
        yield "end_of_record"
