"""Set the address of the repository: python tools/set_repository.py https://host/owner/name.

The sources name none, so that no copy of them points to a place that is not its own. The workflow
of a release sets that of the repository it runs in, before anything is built: the package's
metadata have it then, from which results take their ``CodeURL``, and so has the citation.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"https://[\w.-]+(/[\w.-]+)+")

PLACES = {
    "pyproject.toml": (r'^license = "', 'urls = {{ Source = "{}" }}\n', r"^urls = .*\n"),
    "CITATION.cff": (r"^license: ", 'repository-code: "{}"\n', r"^repository-code: .*\n"),
}
"""For each file the line that it is written above, how, and what an earlier one looks like."""


def set_repository(address: str) -> None:
    """Write an address to every place, in the place of an earlier one.

    Raises
    ------
    SystemExit
        It is no address.
    """
    if not ADDRESS.fullmatch(address):
        raise SystemExit(f"{address!r} is no address such as https://host/owner/name.")
    for name, (above, written, earlier) in PLACES.items():
        path = ROOT / name
        text = re.sub(earlier, "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        # The address holds nothing that a replacement would take for a group.
        line = written.format(address)
        path.write_text(
            re.sub(f"({above})", rf"{line}\1", text, count=1, flags=re.MULTILINE), "utf-8"
        )


if __name__ == "__main__":
    set_repository(sys.argv[1])
