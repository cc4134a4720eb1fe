"""The demonstration: participants with known truth in, truth beside estimate out."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from bids_qsmthal import __version__, simulate
from bids_qsmthal.app.simulation import NO_FILES, Files
from bids_qsmthal.core.errors import MissingInputError
from bids_qsmthal.core.files import write_json
from bids_qsmthal.report import numbers

log = logging.getLogger(__name__)

Process = Callable[[Path, Path], int]
"""Runs both levels: raw dataset and output folder in, exit status out."""

VENDORS: Final = ("siemens", "ge-chopped", "philips")
OBLIQUE_DEG: Final = (20.0, 0.0, 8.0)
CHI_PPB: Final = (-45.0, 0.0)
LESION_ML: Final = (3.0, 20.0)
ENHANCING: Final = (2, 0, 1)
"""What makes a small cohort worth looking at; the rest is drawn."""

ROWS: Final = (
    # What is printed, where it is in truth.json, which measure it is, and how it is written.
    ("relative susceptibility (ppb)", "chi_relative_csf LR", "chi_relative_csf thalamus", 1, ".1f"),
    ("thalamus (mL)", "volume_mm3 thalamus_LR", "volume thalamus", 1e-3, ".2f"),
    ("gray matter (mL)", "volume_mm3 gray_matter", "volume gray_matter", 1e-3, ".0f"),
    ("lesions (mL)", "volume_mm3 lesion", "volume lesion", 1e-3, ".2f"),
    ("enhancing lesions", "enhancing_count", "enhancing_count", 1, ".0f"),
)


def run(
    folder: Path,
    *,
    process: Process,
    participants: int = 3,
    seed: int = 0,
    files: Files = NO_FILES,
) -> int:
    """Make a cohort, process it, and print truth beside estimate.

    Parameters
    ----------
    folder
        Gets ``bids``, ``truth`` and ``derivatives``. A cohort that is already there, whole and
        from the same plan, is used again.
    process
        Runs participant and group level.
    participants
        How many to make.
    seed
        Of the simulation.
    files
        What of the participants is read and not drawn.

    Returns
    -------
    int
        Exit status of ``process``.
    """
    cohort = plan(participants, seed)
    bids, derivatives = folder / "bids", folder / "derivatives"
    _make(folder, cohort, files)
    # The comparison is printed also after failures: what is missing is n/a in it.
    status = process(bids, derivatives)
    sys.stdout.write(f"\n{comparison(folder / 'truth', derivatives, cohort)}\n")
    for report in (*sorted(derivatives.glob("sub-*.html")), *derivatives.glob("group/group.html")):
        sys.stdout.write(f"report: {report}\n")
    folders = f"{shlex.quote(str(derivatives))} {shlex.quote(str(bids))}"
    sys.stdout.write(f"to look, correct and rate: bids_qsmthal view {folders}\n")
    return status


def plan(participants: int, seed: int) -> tuple[simulate.Planned, ...]:
    """Plan the cohort: every vendor, oblique slabs, iron and lesions spread over their range."""
    drawn = simulate.draw_cohort(participants, seed, vendors=VENDORS)
    return tuple(
        replace(
            person,
            parameters=replace(
                person.parameters,
                oblique_deg=OBLIQUE_DEG[order % 3],
                enhancing=ENHANCING[order % 3],
                thalamus_chi_ppb=float(np.interp(share, (0, 1), CHI_PPB)),
                # Between the logarithms: volumes of lesions differ by factors.
                lesion_ml=float(np.exp(np.interp(share, (0, 1), np.log(LESION_ML)))),
            ),
        )
        for order, (person, share) in enumerate(
            zip(drawn, np.linspace(0.2, 0.9, participants), strict=True)
        )
    )


def comparison(truth: Path, derivatives: Path, cohort: tuple[simulate.Planned, ...]) -> str:
    """Return an aligned table of truth and estimate, one block a participant."""
    lines: list[tuple[str, ...]] = [("participant", "measure", "truth", "estimate", "difference")]
    for person in cohort:
        name = f"sub-{person.label}"
        true = json.loads((truth / name / "truth.json").read_text(encoding="utf-8"))
        found = _estimates(derivatives, name)
        for title, where, measure, factor, form in ROWS:
            value = _within(true, where) * factor
            estimate = found.get(measure, float("nan")) * factor
            cells = [f"{value:{form}}", f"{estimate:{form}}", f"{estimate - value:+{form}}"]
            lines.append((name, title, *("n/a" if "nan" in cell else cell for cell in cells)))
    return "\n".join(numbers.aligned(lines, right=(2, 3, 4)))


def _make(folder: Path, cohort: tuple[simulate.Planned, ...], files: Files) -> None:
    """Simulate the cohort unless it is there."""
    receipt = folder / "truth" / "cohort.json"
    planned: dict[str, object] = {
        "version": __version__,
        "participants": [asdict(person) for person in cohort],
    }
    if files != NO_FILES:
        planned["files"] = [_identity(path) for path in (*files.labels, *files.lesion_masks)]
    # Through JSON, as the receipt went: tuples become lists, and the two can be compared.
    wanted = json.loads(json.dumps(planned))
    if receipt.is_file() and json.loads(receipt.read_text(encoding="utf-8")) == wanted:
        log.info("using the participants simulated earlier in %s", folder / "bids")
        return
    log.info("simulating %d participants in %s", len(cohort), folder / "bids")
    given = simulate.read_given(files.labels, files.lesion_masks)
    simulate.write_dataset(folder / "bids", cohort, given=given)
    # Last: without it a cohort that was half written is made anew.
    write_json(receipt, wanted)


def _identity(path: Path) -> tuple[str, int, int]:
    """Return what tells whether a file is still the one that was read: name, bytes, change."""
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file.")
    state = path.stat()
    return str(path.resolve()), state.st_size, state.st_mtime_ns


def _estimates(derivatives: Path, name: str) -> Mapping[str, float]:
    """Return the measures of both sides together: measure, or measure and region, to value."""
    found: dict[str, float] = {}
    for path in sorted((derivatives / name).rglob(f"{name}*_desc-qsmthal_measures.tsv")):
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        # Both sides together, and what has no side.
        whole = table[~table["hemisphere"].isin(["L", "R"])]
        values = pd.to_numeric(whole["value"], errors="coerce")
        for measure, region, value in zip(whole["measure"], whole["region"], values, strict=True):
            found.setdefault(f"{measure} {region}", float(value))
            found.setdefault(str(measure), float(value))
    return found


def _within(values: Any, where: str) -> float:  # noqa: ANN401 - nested JSON
    for key in where.split():
        values = values[key]
    return float(values)
