"""``--config FILE``: any option of a run, by the name it has on the command line.

``logs/settings.json`` of an earlier run is such a file, too.
The model that checks a file is made from the parser, so that a new option needs no second place.
Editors check a file against the JSON schema that is packaged (``data/schemas``).
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from bids_qsmthal.app import options, remake
from bids_qsmthal.core.documents import checked, read_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_qsmthal.app.remake import LastRun

NOT_HERE = {
    *("bids_dir", "output_dir", "analysis_level", "config"),
    *("help", "version", *options.PRINTING),
}
"""What names the run itself, or prints something instead of running."""

METHODS = ("unwrap", "background", "inversion")

TYPES: dict[object, Any] = {
    int: int,
    float: float,
    options.count: Annotated[int, Field(ge=1)],
    options.size_bytes: Annotated[str, Field(pattern=f"^{options.SIZE.pattern}$")],
}


def read(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return what a file sets, by the names of the parser's results.

    Raises
    ------
    MissingInputError, DataError, UsageError
        The file is not there, not readable, or holds what is no option of the parser.
    """
    document = read_document(path)
    if document.content is None and path.stat().st_size:  # every line is still a comment
        return {}
    if isinstance(document.content, dict):
        if {remake.WORDS, remake.STARTED_IN} <= document.content.keys():
            return _of_run(remake.recorded(document.content, path), parser)
        document = document.renamed(_plain)
    found = checked(document, _model(_actions(parser)))
    # What the file does not name keeps the default of the parser.
    return found.model_dump(exclude_unset=True)


def _of_run(run: LastRun, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the options of an earlier run, whose relative paths start where it was started."""
    chosen = vars(parser.parse_args(run.words))
    # The file that the run itself was given may have changed since; what it says now is taken.
    before = {} if chosen["config"] is None else read(run.started_in / chosen["config"], parser)
    return before | {
        action.dest: _rooted(chosen[action.dest], run.started_in)
        for action in _actions(parser)
        if chosen[action.dest] != action.default
    }


def _rooted(value: Any, folder: Path) -> Any:  # noqa: ANN401 - whatever an option may be
    """Return a value of an option with paths that start from a folder."""
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, list):
        return [_rooted(one, folder) for one in value]
    name, is_pair, path = str(value).partition("=")
    # NAME=PATH, as --derivatives and --atlas take it.
    if isinstance(value, str) and is_pair and not name.startswith("-"):
        return f"{name}={folder / path}"
    return value


def template() -> str:
    """Return a configuration file in which every option stands with its default, commented out."""
    blocks = [
        "# Options of bids_qsmthal, for --config FILE. Remove the # from each line that you "
        "change;\n# the command line takes precedence."
    ]
    for group in options.main_parser()._action_groups:  # noqa: SLF001 - no other list of them
        actions = [one for one in group._group_actions if one.dest not in NOT_HERE]  # noqa: SLF001
        if actions:
            blocks += [f"# {group.title}", *map(_block, actions)]
    return "\n\n".join(blocks) + "\n"


def _block(action: argparse.Action) -> str:
    said = textwrap.wrap(f"{action.help}", 96, initial_indent="## ", subsequent_indent="## ")
    name = action.dest.replace("_", "-")
    return "\n".join([*said, f"# {name}: {_default(action)}"])


def _default(action: argparse.Action) -> str:
    """Return a default as YAML has it; where there is none, what may stand there in brackets."""
    if action.default is None or (action.choices and action.default not in action.choices):
        what = " | ".join(map(str, action.choices or ())) or action.metavar
        return f"<{' '.join(what) if isinstance(what, tuple) else what}>"
    return json.dumps(action.default)


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
