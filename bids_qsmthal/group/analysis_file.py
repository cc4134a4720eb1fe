"""Analysis files: the packaged ones and the user's own."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from bids_qsmthal.core.documents import Document, checked, parse, read_document
from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.group.dictionary import FILES
from bids_qsmthal.statistics import document, schema
from bids_qsmthal.statistics.analysis import Analysis

DEFAULT = "chiang2018"

MOST_VALUES = 100_000
"""Values of a file, with those that an alias repeats: a few lines of YAML can stand for billions.
The packaged analysis has about 400."""


def read(path: Path | None) -> Analysis:
    """Return the analysis of a file, or the packaged one where no file is given.

    Raises
    ------
    MissingInputError
        There is no such file.
    DataError
        It is not YAML (or TOML).
    UsageError
        It is not an analysis; one line with the place.
    """
    if path is None:
        # The packaged file goes through the same checks as a user's.
        return analysed(parse(packaged(), Path(f"{DEFAULT}.yaml")))
    return analysed(read_document(path))


def analysed(content: Document) -> Analysis:
    """Return the analysis of a document that was read."""
    try:
        # Before the schema: checking it would walk through every copy of an alias.
        n_values = _size(content.content, {})
    except RecursionError:
        n_values = MOST_VALUES + 1
    if n_values > MOST_VALUES:
        raise UsageError(
            f"{content.path}: more than {MOST_VALUES} values, or a value that contains itself."
        )
    analysis = document.read(checked(content, schema.AnalysisFile), content)
    _check_names(analysis, content)
    return analysis


def _check_names(analysis: Analysis, content: Document) -> None:
    for place, table in enumerate(analysis.tables):
        # Without regard to capitals, as the file systems of some computers read names.
        if table.name.lower() in FILES:
            raise UsageError(
                f"{content.where(('Tables', place))}: a table '{table.name}' would overwrite the "
                "group level's own file of this name; give it another."
            )


def packaged() -> str:
    """Return the text of the packaged analysis, for users to start from."""
    place = resources.files("bids_qsmthal") / "data" / "analyses" / f"{DEFAULT}.yaml"
    return place.read_text(encoding="utf-8")


def printed() -> str:
    """Return the packaged analysis for a file of the user's own, anywhere."""
    lines = packaged().splitlines(keepends=True)
    # The first line names the schema by its place beside the packaged file.
    return "".join(lines[1:])


def is_packaged(analysis: Analysis) -> bool:
    """Return whether an analysis says what the packaged one does, wherever it was read from."""
    return analysis == read(None)


def schema_text() -> str:
    """Return the JSON schema of an analysis file, for editors."""
    return json.dumps(schema.json_schema(), indent=2) + "\n"


def _size(value: object, sizes: dict[int, int]) -> int:
    """Return how many values a document stands for, each alias counted."""
    if not isinstance(value, dict | list):
        return 1
    # Aliases are one object in memory: each is counted once, and its size is used again. By id,
    # since lists cannot be keys; the document keeps them alive.
    if id(value) not in sizes:
        sizes[id(value)] = MOST_VALUES + 1  # what one finds within itself
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_size(part, sizes) for part in inner)
    return sizes[id(value)]
