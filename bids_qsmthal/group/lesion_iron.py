"""Susceptibility of single lesions: enhancing ones and others, those with a rim and those without.

Enhancement is the one sign of a young lesion that a single visit shows: it lasts weeks. Lesions of
one participant resemble each other, so participants and not lesions are counted: what is compared
are means of participants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from bids_qsmthal.core.digits import count
from bids_qsmthal.group import finished, participant_tables, plots, table_reading
from bids_qsmthal.report.drawing import Drawing

COLUMNS_OF_LESIONS = [
    *("id", "group", "location", "x_mm", "y_mm", "z_mm", "volume_mm3", "diameter_mm"),
    *("ventricle_mm", "thalamus_mm3", "enhancing_mm3", "n_voxels", "lost_share", "vein_share"),
    *("chi_relative_nawm_ppb", "chi_relative_nawm_ppb_se"),
    *("chi_relative_csf_ppb", "chi_relative_csf_ppb_se", "chi_sd_ppb", "r2star_hz"),
    *("rim_minus_core_ppb", "rim_surrounded_ppb", "rim_closed", "rim_evidence"),
    *("rim_visible_ppb", "rim_probability", "rim"),
]
"""Those of the table of a participant."""

COLUMNS_OF_ROWS = ("participant_id", "chi_ppb", "enhances", "has_rim")
"""Of what ``of_participants`` returns."""

COLUMNS = ("lesions", "n_lesions", "n_participants", "mean_ppb", "sd_ppb", "ci_low", "ci_high")

LEAST_MM = 5.0
"""Smaller lesions share their voxels with the white matter around them. In twelve simulated people
(2 mm voxels), all lesions alike, those of 5 mm and more lay 25 to 27 ppb above it, those of 4 to 5
mm 21, of 3 to 4 mm 17. Lesions that enhance are larger, and looked 6 ppb higher for that alone."""

FEWEST = 2
"""Participants from whom a standard deviation, and so an interval, can be made."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two kinds of lesions that are told apart by one column: 1 the first, 0 the second."""

    column: str
    kinds: tuple[str, str]
    title: str


CONTRASTS = (
    Contrast("enhances", ("enhancing lesions", "lesions that do not enhance"), "By enhancement"),
    Contrast("has_rim", ("lesions with a rim", "lesions without a rim"), "By paramagnetic rim"),
)


def of_participants(paths: Sequence[Path], scans: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each lesion of ``LEAST_MM`` and more whose susceptibility is known.

    Parameters
    ----------
    paths
        Tables of lesions.
    scans
        ``participant_id`` and ``scan`` of those that are analysed. Of several runs the first
        counts, for its lesions are those of the others.

    Returns
    -------
    pandas.DataFrame
        ``participant_id``, ``chi_ppb`` (against normal-appearing white matter), and for each
        contrast 1, 0 or NaN where it is not known.

    Raises
    ------
    DataError
        A table is malformed.
    """
    if not paths:
        return pd.DataFrame(columns=list(COLUMNS_OF_ROWS))
    known_scans = scans.sort_values("scan").drop_duplicates("participant_id")
    # Part by part: the text of all columns of a large cohort's lesions would take a gigabyte.
    parts = participant_tables.batches(paths, finished.LESIONS, COLUMNS_OF_LESIONS)
    # Where nobody has a lesion, the column of names has no type of its own.
    named = (part.astype({"scan": "str"}) for part in parts)
    return pd.concat([_of_part(part.merge(known_scans, on="scan")) for part in named])


def _of_part(own: pd.DataFrame) -> pd.DataFrame:
    """Return the lesions that count among rows of text."""
    where = f"*{finished.LESIONS}"
    enhancing_mm3, chi_ppb, diameter_mm = (
        table_reading.numbers(own[name], where, own["scan"])
        for name in ("enhancing_mm3", "chi_relative_nawm_ppb", "diameter_mm")
    )
    rows = pd.DataFrame(
        {
            "participant_id": own["participant_id"],
            "chi_ppb": chi_ppb,
            "enhances": (enhancing_mm3 > 0).astype(float).where(enhancing_mm3.notna()),
            "has_rim": own["rim"].map({"present": 1.0, "absent": 0.0}),
        }
    )
    return rows[chi_ppb.notna() & (diameter_mm >= LEAST_MM)]


def table(lesions: pd.DataFrame) -> pd.DataFrame:
    """Return means over participants for each kind of lesion, and differences within participants.

    Empty where no contrast is known of any lesion.
    """
    rows = [row for contrast in known(lesions) for row in _rows(lesions, contrast)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def known(lesions: pd.DataFrame) -> list[Contrast]:
    """Return the contrasts of which both kinds were seen."""
    return [one for one in CONTRASTS if {0.0, 1.0} <= {*lesions[one.column]}]


def _rows(lesions: pd.DataFrame, contrast: Contrast) -> Iterator[tuple[object, ...]]:
    means = lesions.pivot_table(
        index="participant_id", columns=contrast.column, values="chi_ppb", aggfunc="mean"
    )
    of_kind = lesions[contrast.column].value_counts()
    for level, kind in zip((1.0, 0.0), contrast.kinds, strict=True):
        yield (kind, int(of_kind[level]), *_summary(means[level].dropna()))
    # Only who has both kinds tells whether they differ: others differ as people do.
    both = means.dropna()
    theirs = lesions["participant_id"].isin(both.index) & lesions[contrast.column].notna()
    name = f"{contrast.kinds[0]} minus {contrast.kinds[1]}, within participants"
    yield (name, int(theirs.sum()), *_summary(both[1.0] - both[0.0]))


def _summary(values: pd.Series[float]) -> tuple[int, float, float, float, float]:
    """Return number, mean, SD and 95% interval of the mean (Student's t)."""
    n = len(values)
    mean = float(values.mean()) if n else np.nan
    if n < FEWEST:
        return n, mean, np.nan, np.nan, np.nan
    sd = float(values.std())
    reach = float(stats.t.ppf(0.975, n - 1)) * sd / np.sqrt(n)
    return n, mean, sd, mean - reach, mean + reach


def read(summary: pd.DataFrame) -> str:
    """Return the differences within participants in words."""
    said = []
    for row in summary[summary["lesions"].str.contains(" minus ")].to_dict("records"):
        first, _, second = str(row["lesions"]).partition(" minus ")
        second = second.removesuffix(", within participants")
        n = int(row["n_participants"])
        if n < FEWEST:
            people = "participant" if n == 1 else "participants"
            said.append(f"Only {count(n)} {people} had both {first} and {second}: no interval.")
            continue
        higher = "higher" if row["mean_ppb"] > 0 else "lower"
        said.append(
            f"In the {count(n)} participants who have both, the susceptibility of {first} is "
            f"{abs(row['mean_ppb']):.1f} ppb {higher} than that of {second} (95% CI of the "
            f"difference {_number(row['ci_low'])} to {_number(row['ci_high'])} ppb)."
        )
    return " ".join(said)


def _number(value: float) -> str:
    return f"{value + 0.0:.1f}".replace("-", "\N{MINUS SIGN}")


def draw(lesions: pd.DataFrame) -> Drawing:
    """Draw each lesion, one panel for each contrast."""
    contrasts = known(lesions)
    canvas, panels = plots.grid(len(contrasts), columns=max(len(contrasts), 1), height_inches=3.4)
    for axes, contrast in zip(panels, contrasts, strict=True):
        those = lesions.dropna(subset=[contrast.column])
        words: Mapping[float, str] = dict(zip((1.0, 0.0), contrast.kinds, strict=True))
        level, chi_ppb = (those[name].to_numpy(float) for name in (contrast.column, "chi_ppb"))
        axes.axhline(0, color=plots.GRAY, linewidth=0.8)
        plots.strips(axes, level, chi_ppb, words)
        axes.set_title(contrast.title, fontsize=8, loc="left")
        axes.set_ylabel(
            plots.folded("susceptibility minus that of normal-appearing white matter (ppb)"),
            fontsize=8,
        )
    return plots.finished(canvas, panels)
