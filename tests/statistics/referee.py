"""Asks R the same questions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[1] / "r" / "referee.R"


def ask(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return R's answer to each case; a case may hold a table under ``data``."""
    program = shutil.which("Rscript")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Rscript is not installed (Debian: see tests/r/referee.R)")
        pytest.skip("Rscript is not installed")
    asked = []
    for place, case in enumerate(cases):
        plain = dict(case)
        if isinstance(case.get("data"), pd.DataFrame):
            plain["data"] = str(folder / f"{place}.csv")
            case["data"].to_csv(plain["data"], index=False, float_format="%.17g", na_rep="NA")
        asked.append(plain)
    (folder / "cases.json").write_text(json.dumps(asked))
    answer = folder / "answers.json"
    done = subprocess.run(
        [program, "--vanilla", SCRIPT, folder / "cases.json", answer],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(answer.read_text())
