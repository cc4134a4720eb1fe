"""The Boutiques descriptor of the command line, made from the parser: one truth for both."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from bids_qsmthal import __version__
from bids_qsmthal.app import options
from bids_qsmthal.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = ("bids_dir", "bids_filter_file", "analysis", "config")
"""What has to be there before the app runs; other paths may be made by it."""


def describe(parser: argparse.ArgumentParser) -> str:
    """Return the descriptor (Boutiques 0.5, doi 10.1093/gigascience/giy016) as JSON."""
    inputs = [_input(action) for action in _actions(parser)]
    keys = [item["value-key"] for item in inputs]
    descriptor = {
        "name": parser.prog,
        "description": parser.description,
        "tool-version": __version__,
        "schema-version": "0.5",
        # In the form of Boutiques for BIDS Apps: the output folder is there before the app.
        "command-line": f"mkdir -p [OUTPUT_DIR]; {parser.prog} {' '.join(keys)}",
        "container-image": {"type": "docker", "image": f"{parser.prog}:{__version__}"},
        "tags": {"application-type": "bids", "domain": ["neuroinformatics", "mri"]},
        "inputs": inputs,
        "output-files": [
            {
                "id": "output_files",
                "name": "Derivative dataset",
                "path-template": "[OUTPUT_DIR]",
                "optional": False,
            }
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 6},
        "error-codes": [
            {"code": int(code), "description": code.meaning} for code in ExitCode if code
        ],
    }
    return json.dumps(descriptor, indent=2) + "\n"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield what a run can be given, positional arguments first."""
    shown = [
        action
        for action in parser._actions  # noqa: SLF001 - argparse has no other list of them
        if action.dest not in options.PRINTING
        and (action.nargs != 0 or isinstance(action.const, bool))
    ]
    yield from (action for action in shown if not action.option_strings)
    yield from (action for action in shown if action.option_strings)


def _input(action: argparse.Action) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": action.dest,
        "name": action.dest.replace("_", " "),
        "description": action.help or "",
        "value-key": f"[{action.dest.upper()}]",
        "optional": bool(action.option_strings) and not action.required,
        "type": _type(action),
    }
    if described["type"] == "Number":
        # Boutiques has one type for whole and other numbers.
        described["integer"] = action.type is not float
    if action.option_strings:
        described["command-line-flag"] = f"--{action.dest.replace('_', '-')}"
        if described["type"] == "String" and action.nargs is None:
            # A value may begin with a dash itself, as those of --slurm-args do.
            described["command-line-flag-separator"] = "="
    if action.nargs == "+" or (isinstance(action.nargs, int) and action.nargs):
        described["list"] = True
    if isinstance(action.nargs, int) and action.nargs:
        # So many of them: the three components of a direction.
        described |= {"min-list-entries": action.nargs, "max-list-entries": action.nargs}
    if action.choices:
        described["value-choices"] = list(action.choices)
    if action.default and isinstance(action.default, str | int) and action.nargs != 0:
        described["default-value"] = action.default
    return described


def _type(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "Flag"
    if action.dest in FILES:
        return "File"
    return "Number" if action.type in (int, float, options.count) else "String"
