"""Commands of the documents, as they stand there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.ship.conftest import ROOT

Environment = dict[str, str]


def blocks(page: str, heading: str = "") -> list[str]:
    """Return the blocks of code of a page, from a heading on."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"^```\w*\n(.*?)^```", text[text.index(heading) :], re.DOTALL | re.MULTILINE)


def exchanged(text: str, *pairs: tuple[str, str]) -> str:
    """Return the text with each of these changes, which must apply."""
    for old, new in pairs:
        assert old in text, f"the documents no longer say {old!r}"
        text = text.replace(old, new)
    return text


def shell(script: str, folder: Path, environment: Environment) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
