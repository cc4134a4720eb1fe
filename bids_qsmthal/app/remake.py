"""A participant once more, with the words of the last run: what a reader's correction asks for."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bids_qsmthal.core.errors import DataError, MissingInputError, at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bids_qsmthal.settings import Settings

WORDS: Final = "command_line"
STARTED_IN: Final = "working_directory"
"""Keys of ``logs/settings.json``: the words of the run, and the folder that relative paths in
them start from."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of the participant level on an output folder.

    Attributes
    ----------
    words
        After the name of the program.
    started_in
        What relative paths in them start from.
    """

    bids_dir: Path
    work_dir: Path
    started_in: Path
    words: tuple[str, ...]


def last_run(output_dir: Path) -> LastRun:
    """Return what ``logs/settings.json`` says about the last run.

    Raises
    ------
    MissingInputError
        There is no such file, or the BIDS folder it names is gone.
    DataError
        It is not one that a run wrote.
    """
    path = output_dir / "logs" / "settings.json"
    try:
        with at(path):
            content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{path}: no such file, so the options of the last run are not known; run the "
            "participant on the command line."
        ) from error
    except ValueError as error:
        raise _not_settings(path) from error
    run = recorded(content, path)
    if not run.bids_dir.is_dir():
        raise MissingInputError(
            f"{run.bids_dir}: the BIDS folder of the last run is not there; mount it under this "
            "path, or run the participant on the command line with its present path."
        )
    return run


def recorded(content: Any, path: Path) -> LastRun:  # noqa: ANN401 - whatever the file holds
    """Return the run whose settings were read from a file.

    Raises
    ------
    DataError
        They are not settings that a run wrote.
    """
    try:
        started_in = Path(content.get(STARTED_IN, "/"))
        return LastRun(
            bids_dir=Path(content["bids_dir"]),
            work_dir=Path(content["work_dir"]),
            # Unknown or gone: whole paths, which most are, do not need it.
            started_in=started_in if started_in.is_dir() else Path("/"),
            words=tuple(map(str, content[WORDS][1:])),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_settings(path) from error


def _not_settings(path: Path) -> DataError:
    return DataError(f"{path}: not the settings of a run; write the options on the command line.")


def settings_of(
    run: LastRun,
    output_dir: Path,
    asked: Namespace,
    parsed: Callable[[Sequence[str]], Namespace],
    settings_from: Callable[[Namespace, Sequence[str]], Settings],
) -> list[Settings]:
    """Return the settings of the levels to run, one after the other.

    Parameters
    ----------
    asked
        ``participant_label``, ``session_label``, ``group``, ``verbose`` and ``quiet``.
    parsed, settings_from
        From words to options, and from these to settings.
    """
    recorded = vars(parsed(run.words)) | {
        "bids_dir": run.bids_dir,
        "output_dir": output_dir,
        "work_dir": run.work_dir,
        "verbose": asked.verbose,
        "quiet": asked.quiet,
    }
    # All runs of the session: those of one session share what is made of T1w. All sessions where
    # visits are compared: a change belongs to two.
    sessions = [] if recorded["longitudinal"] == "auto" else asked.session_label
    one = {
        "analysis_level": ["participant"],
        "participant_label": asked.participant_label,
        "session_label": sessions,
        "run_label": [],
    }
    # The group level is of those that the run selected, not of the one that is remade.
    levels = [recorded | one] + [recorded | {"analysis_level": ["group"]}] * asked.group
    return [settings_from(Namespace(**level), run.words) for level in levels]
