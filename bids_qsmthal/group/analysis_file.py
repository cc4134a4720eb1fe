"""Analysis files: the packaged ones and the user's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import yaml

from bids_qsmthal.core.errors import MissingInputError, UsageError
from bids_qsmthal.group import table_reading
from bids_qsmthal.statistics import document
from bids_qsmthal.statistics.analysis import Analysis

DEFAULT = "chiang2018"


def read(path: Path | None) -> Analysis:
    """Return the analysis of a file, or the packaged one where no file is given.

    Raises
    ------
    MissingInputError
        There is no such file.
    UsageError
        It is not YAML, or not an analysis.
    """
    if path is None:
        return document.read(yaml.safe_load(packaged()), f"{DEFAULT}.yaml")
    if not path.is_file():
        raise MissingInputError(f"{path}: no such analysis file.")
    try:
        content = yaml.safe_load(table_reading.text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: not valid YAML ({reason}).") from error
    return document.read(content, path.name)


def packaged() -> str:
    """Return the text of the packaged analysis, for users to start from."""
    place = resources.files("bids_qsmthal") / "data" / "analyses" / f"{DEFAULT}.yaml"
    return place.read_text(encoding="utf-8")
