"""How well readers agree who corrected or rated the same scans on their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_qsmthal.bids import reader_versions
from bids_qsmthal.bids.external import EDITS
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.bids.reader_versions import ReaderVersion
from bids_qsmthal.core import nifti
from bids_qsmthal.core.decision import SEVERITY
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.group import table_reading
from bids_qsmthal.group.ratings import KEY, SAVED
from bids_qsmthal.statistics import agreement
from bids_qsmthal.statistics.agreement import Agreement

COLUMNS = (
    *("about", "quantity", "first", "second", "n_scans"),
    *("value", "ci_low", "ci_high", "lowest", "lowest_scan"),
)

NAMES = {
    "thalamus": "thalamus",
    "csf_reference": "CSF reference",
    "vein": "veins",
    "lesion": "T2 lesions",
    "enhancing": "enhancing lesions",
    "rim": "lesions with a rim",
    "lesion_change": "lesion changes",
    "brain": "brain (T1w)",
    "brain_gre": "brain (gradient echo)",
}
"""Masks that readers correct, as a reader calls them."""

RATING = "rating"


@dataclass(frozen=True, slots=True)
class _Pair:
    """What two readers made of one scan: Dice, and numbers of the first and of the second."""

    scan: str
    overlap: float
    volume_mm3: tuple[float, float]
    chi_ppb: tuple[float, float] | None


def table(output_dir: Path) -> pd.DataFrame:
    """Return the agreement of every two readers who did the same scans; empty where none did.

    Their last corrections and ratings count, whichever of them the next run takes.

    Returns
    -------
    pandas.DataFrame
        Columns ``COLUMNS``, as ``dictionary.READERS`` says.

    Raises
    ------
    DataError
        A mask or a rating cannot be read, or masks of one scan lie on different grids.
    """
    rows = [*_of_masks(output_dir), *_of_ratings(output_dir)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_masks(output_dir: Path) -> Iterator[tuple[Any, ...]]:
    by_scan: defaultdict[tuple[str, str], list[ReaderVersion]] = defaultdict(list)
    for one in reader_versions.last_of_each(output_dir):
        by_scan[one.key, one.scan].append(one)
    for key, name in NAMES.items():
        pairs: defaultdict[tuple[str, str], list[_Pair]] = defaultdict(list)
        for versions in (found for (of, _), found in by_scan.items() if of == key):
            for who, pair in _compared(output_dir, versions):
                pairs[who].append(pair)
        for (first, second), of_two in sorted(pairs.items()):
            yield from _rows(name, first, second, of_two)


def _compared(
    output_dir: Path, versions: Sequence[ReaderVersion]
) -> Iterator[tuple[tuple[str, str], _Pair]]:
    """Give the readers of one mask of one scan two by two, with what they made of it."""
    if len(versions) < 2:
        return
    # By name, so that the first of a pair is the same one in every scan.
    ordered = sorted(versions, key=lambda one: one.reader)
    images = [nifti.load(one.path, dtype=np.uint8) for one in ordered]
    if len({image.shape for image in images}) > 1:
        raise DataError(
            f"{versions[0].path.parent}: the readers' masks are on different grids; move those on "
            "another grid out of this folder."
        )
    chi = _relative_chi_ppb(output_dir, versions[0])
    for (one, a), (other, b) in combinations(zip(ordered, images, strict=True), 2):
        masks = (a.data > 0, b.data > 0)
        means = None
        if chi is not None and masks[0].any() and masks[1].any():
            means = (float(chi[masks[0]].mean()), float(chi[masks[1]].mean()))
        yield (
            (one.reader, other.reader),
            _Pair(
                one.scan,
                agreement.dice(a.data, b.data),
                (_volume_mm3(a), _volume_mm3(b)),
                means,
            ),
        )


def _volume_mm3(image: Image) -> float:
    return float(np.count_nonzero(image.data) * image.voxel_volume_mm3)


def _relative_chi_ppb(output_dir: Path, one: ReaderVersion) -> NDArray[np.float64] | None:
    """Return susceptibility in ppb, for the thalamus against the CSF reference of the run."""
    if PRODUCTS[one.key].space != "MEGRE":
        return None
    chi, reference = (
        output_dir / one.folder / f"{one.scan}_{PRODUCTS[key].ending}.nii.gz"
        for key in ("chi", "csf_reference")
    )
    if not chi.is_file():
        return None
    chi_ppb = 1e3 * nifti.load(chi).data.astype(np.float64)
    if one.key == "thalamus" and reference.is_file():
        # The same zero for both readers: what differs is their thalamus.
        chi_ppb -= chi_ppb[nifti.load(reference).data > 0].mean()
    return chi_ppb


def _rows(about: str, first: str, second: str, pairs: Sequence[_Pair]) -> Iterator[tuple[Any, ...]]:
    overlaps = [pair.overlap for pair in pairs]
    worst = int(np.argmin(overlaps))
    who = (first, second)
    mean = (float(np.mean(overlaps)), np.nan, np.nan, overlaps[worst], pairs[worst].scan)
    yield (about, "dice", *who, len(pairs), *mean)
    volumes = np.array([pair.volume_mm3 for pair in pairs])
    yield _row(about, "icc_volume", who, agreement.icc_2_1(volumes))
    chi = np.array([pair.chi_ppb for pair in pairs if pair.chi_ppb is not None])
    if len(chi):
        yield _row(about, "icc_susceptibility", who, agreement.icc_2_1(chi))


def _row(about: str, quantity: str, who: tuple[str, str], found: Agreement) -> tuple[Any, ...]:
    limits = (found.value, found.ci_low, found.ci_high)
    return (about, quantity, *who, found.n, *limits, np.nan, "n/a")


def _of_ratings(output_dir: Path) -> Iterator[tuple[Any, ...]]:
    decided = _decisions(output_dir)
    readers = sorted({reader for _, reader in decided})
    for who in combinations(readers, 2):
        scans = sorted({scan for scan, _ in decided})
        both = [scan for scan in scans if all((scan, one) in decided for one in who)]
        if both:
            first, second = ([decided[scan, one] for scan in both] for one in who)
            yield _row(RATING, "kappa", who, agreement.cohen_kappa(first, second))


def _decisions(output_dir: Path) -> dict[tuple[tuple[str, ...], str], str]:
    """Return the newest decision of each named reader about each scan."""
    paths = sorted((output_dir / EDITS).rglob(SAVED))
    every = [row for path in paths for row in table_reading.read(path).to_dict("records")]
    every.sort(key=lambda row: str(row.get("rated_at", "")))
    decided = {}
    for row in every:
        reader = str(row.get("rater", "")).strip()
        decision = str(row.get("decision", "")).strip().lower()
        # What is no decision is said by ``ratings.read``, which every group run asks first.
        if reader not in {"", "n/a", "nan"} and decision in SEVERITY:
            scan = tuple(str(row.get(name, "n/a")) for name in KEY)
            decided[scan, reader] = decision
    return decided
