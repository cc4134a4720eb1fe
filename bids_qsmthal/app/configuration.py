"""``--config FILE``: any option of a run, by the name it has on the command line.

The model that checks a file is made from the parser, so that a new option needs no second place.
Editors check a file against the JSON schema that is packaged (``data/schemas``).
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from bids_qsmthal.app import options
from bids_qsmthal.core.documents import checked, read_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NOT_HERE = {
    *("bids_dir", "output_dir", "analysis_level", "config"),
    *("help", "version", "list_methods", "bids_exec_spec", "print_analysis"),
}
"""What names the run itself, or prints something instead of running."""

METHODS = ("unwrap", "background", "inversion")

TYPES: dict[object, Any] = {
    int: int,
    float: float,
    options.count: Annotated[int, Field(ge=1)],
    options.size_bytes: Annotated[str, Field(pattern=r"^\d+(\.\d*)?[KMGTkmgt]$")],
}


def read(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return what a file sets, by the names of the parser's results.

    Raises
    ------
    MissingInputError, DataError, UsageError
        The file is not there, not readable, or holds what is no option of the parser.
    """
    document = read_document(path)
    if isinstance(document.content, dict):
        document = document.renamed(_plain)
    found = checked(document, _model(_actions(parser)))
    # What the file does not name keeps the default of the parser.
    return found.model_dump(exclude_unset=True)


def schema() -> str:
    """Return the JSON schema of a configuration file, for editors."""
    from bids_qsmthal import choices  # noqa: PLC0415 - imports the methods

    methods = {name: tuple(choices.CHOICES[f"--{name}"]) for name in METHODS}
    described = _model(_actions(options.main_parser()), methods).model_json_schema()
    properties = described.pop("properties")
    spelled = {
        spelling: {
            key: value for key, value in entry.items() if key != "title" and value is not None
        }
        for name, entry in properties.items()
        # Both spellings of the command line; the same where there is no dash in it.
        for spelling in dict.fromkeys((name.replace("_", "-"), name))
    }
    begin = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(begin | described | {"properties": spelled}, indent=2) + "\n"


def _plain(name: str) -> str:
    """Return a name as the parser's results have it."""
    return name.lstrip("-").replace("-", "_")


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    every = parser._actions  # noqa: SLF001 - argparse has no other list of them
    return [action for action in every if action.dest not in NOT_HERE]


def _model(
    actions: Sequence[argparse.Action], methods: Mapping[str, Sequence[str]] | None = None
) -> type[BaseModel]:
    fields: dict[str, Any] = {
        action.dest: (
            _type(action, (methods or {}).get(action.dest)),
            Field(default=action.default, description=action.help),
        )
        for action in actions
    }
    # Strict: 8 for "8G", or "yes" for a switch, is a mistake to be told, not to be guessed.
    config = ConfigDict(
        extra="forbid", strict=True, title="Configuration of bids_qsmthal (--config)"
    )
    return create_model("Configuration", __config__=config, **fields)


def _type(action: argparse.Action, names: Sequence[str] | None) -> Any:  # noqa: ANN401 - a type
    if action.choices or names:
        return Literal[tuple(action.choices or names or ())]
    if action.nargs == "+":
        return list[str]
    if action.nargs == 0:
        # Without words: a switch, or an option that is counted (-vv).
        return bool if isinstance(action.const, bool) else Annotated[int, Field(ge=0)]
    if isinstance(action.nargs, int):
        # So many words of one kind: the three components of a direction.
        length = Field(min_length=action.nargs, max_length=action.nargs)
        return Annotated[list[float], length]
    return TYPES.get(action.type, str)
