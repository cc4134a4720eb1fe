"""Set the version: python tools/set_version.py 1.0.0.

The tag of a release is this version with a v.

``bids_qsmthal/__init__.py`` has the version; the package, its pages and its results take it from
there. Files that cannot read it (a citation, a Dockerfile, examples in documents) get it from here.
What came since the last release gets its heading in CHANGELOG.md.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = {
    "bids_qsmthal/__init__.py": r'(?<=__version__ = ")[^"]+',
    "CITATION.cff": r"(?<=^version: ).+$",
    "Dockerfile": r"(?<=^ARG VERSION=).+$",
    "docs/clusters.md": r'(?<=\{bids_qsmthal: ")[\d-]+',
    "boutiques.json": r'(?<="tool-version": ")[^"]+|(?<="bids_qsmthal:)[\d.]+',
}
RELEASED = r"(?<=^date-released: ).+$"


def versions() -> dict[str, list[str]]:
    """Return the versions that each place has."""
    return {
        place: [
            found.replace("-", ".") for found in re.findall(pattern, _text(place), re.MULTILINE)
        ]
        for place, pattern in PLACES.items()
    }


def set_version(version: str, date: str) -> None:
    """Write a version to every place, and its date to the citation and the changelog."""
    for place, pattern in PLACES.items():
        written = version.replace(".", "-") if "-]" in pattern else version
        _write(place, re.sub(pattern, written, _text(place), flags=re.MULTILINE))
    _write("CITATION.cff", re.sub(RELEASED, date, _text("CITATION.cff"), flags=re.MULTILINE))
    begin = "## [Unreleased]\n"
    _write(
        "CHANGELOG.md",
        _text("CHANGELOG.md").replace(begin, f"{begin}\n## [{version}] - {date}\n", 1),
    )


def _text(place: str) -> str:
    return (ROOT / place).read_text(encoding="utf-8")


def _write(place: str, text: str) -> None:
    (ROOT / place).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"\d+\.\d+\.\d+", sys.argv[1]):
        sys.exit("usage: python tools/set_version.py MAJOR.MINOR.PATCH")
    set_version(sys.argv[1], f"{datetime.now(UTC):%Y-%m-%d}")
