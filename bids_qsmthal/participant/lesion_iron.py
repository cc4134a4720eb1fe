"""Iron in each lesion of a participant: its susceptibility, its rim, and who decided on the rim."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal import lesions, roi
from bids_qsmthal.core.scan_warnings import OneEcho
from bids_qsmthal.core.sources import OURS, Source
from bids_qsmthal.participant import external_labels
from bids_qsmthal.participant.pipeline import LESION_IRON
from bids_qsmthal.participant.structural import lesion_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from bids_qsmthal import qsm
    from bids_qsmthal.bids.external import External
    from bids_qsmthal.core.image import Affine, Image
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.settings import Settings


class Rim(StrEnum):
    """Whether a lesion has a paramagnetic rim; the value is what the table of lesions holds."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_ASSESSED = "not assessed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredLesions:
    """Distinct T2 lesions and the iron in them.

    Attributes
    ----------
    distinct
        On the grid of T1w.
    iron
        On the grid of the gradient echo.
    table
        One row per lesion, the columns of ``DICTIONARY``.
    rim_source
        Who decided which lesions have a rim.
    """

    distinct: lesions.DistinctLesions
    iron: roi.LesionIron
    table: pd.DataFrame
    rim_source: Source = OURS

    @property
    def rims(self) -> Image:
        """The lesions with a rim, whole, on the grid of the gradient echo."""
        numbers = self.table["id"][self.table["rim"] == Rim.PRESENT]
        return self.iron.labels.like(np.isin(self.iron.labels.data, numbers))


def measured_lesions(  # noqa: PLR0913 - lesions, maps, regions, and the way between their grids
    structural: Structural,
    maps: qsm.Maps,
    regions: roi.RegionResults | None,
    gre_to_t1w: Affine,
    *,
    acquisition: qsm.Acquisition,
    settings: Settings,
    runner: Runner,
    external: Mapping[str, External],
) -> MeasuredLesions | None:
    """Return the lesions of a participant; ``None`` where the stage is not planned."""
    if not runner.runs(LESION_IRON):
        return None
    # The plan has seen to it: T1w gives tissues and thalami, FLAIR or a mask the lesions.
    assert structural.prepared is not None  # noqa: S101
    assert structural.anatomy is not None  # noqa: S101
    assert structural.lesions is not None  # noqa: S101
    assert regions is not None  # noqa: S101
    context = lesion_context(structural.prepared)
    found = structural.lesions
    distinct = lesions.lesions_apart(found.mask, found.probability, context)
    like = regions.masks["veins"].like
    scan = roi.LesionScan(
        labels=distinct.labels,
        white=structural.anatomy.wm,
        gre_to_t1w=gre_to_t1w,
        chi_ppm=like(maps.chi_ppm),
        field_ppm=like(maps.local_field_ppm(acquisition)),
        noise_ppm=like(_noise_ppm(maps)),
        usable=like(maps.mask),
        veins=regions.masks["veins"],
        reference=regions.csf_reference,
        r2star_hz=like(maps.r2star_hz) if maps.r2star_hz.any() else None,
    )
    iron = runner.run(LESION_IRON, roi.measured_lesions, scan, rule=settings.rims)
    lit = structural.enhancement.mask if structural.enhancement is not None else None
    places = lesions.distinct_table(distinct, context, enhancing=lit)
    # Left: a lesion too thin for a voxel of the gradient echo has a place, and no numbers.
    table = places.merge(iron.table, on="id", how="left")
    table["n_voxels"] = table["n_voxels"].fillna(0).astype("int64")
    drawn = external_labels.mask("rim", external, iron.labels)
    table["rim"] = _rims(table, iron.labels.data, None if drawn is None else drawn.data, settings)
    source = OURS if drawn is None else external["rim"].source
    return MeasuredLesions(
        distinct=distinct, iron=iron, table=table[[*DICTIONARY]], rim_source=source
    )


def _noise_ppm(maps: qsm.Maps) -> qsm.Array:
    """Return the noise of the field; infinite, as where it is not believed, with a single echo.

    The phase offset is then in the field, and can look like a rim or hide one.
    """
    if any(isinstance(warning, OneEcho) for warning in maps.warnings):
        return np.full_like(maps.noise_ppm, np.inf)
    return maps.noise_ppm


def _rims(
    table: pd.DataFrame,
    labels: NDArray[np.int32],
    drawn: NDArray[np.bool_] | None,
    settings: Settings,
) -> NDArray[np.object_]:
    """Return what is said of the rim of each lesion; a reader's mask wins over the score.

    A rim that is found is one, however small the lesion. That a lesion has none is said only where
    one would have been seen.
    """
    score = table["rim_probability"].to_numpy(float)
    would_show = np.isfinite(table["rim_visible_ppb"].to_numpy(float))
    present = (
        score >= settings.rims.threshold
        if drawn is None
        else np.isin(table["id"], roi.marked(labels, drawn))
    )
    # What a reader did not mark and the scan could not show is no lesion without a rim.
    unseen = ~(np.isfinite(score) & would_show) & ~present
    said = np.where(unseen, Rim.NOT_ASSESSED, np.where(present, Rim.PRESENT, Rim.ABSENT))
    return np.asarray(said, dtype=object)


DICTIONARY: Mapping[str, Any] = {
    "id": {
        "Description": (
            "Number of the lesion, as in its voxels of space-T1w_desc-lesions_dseg and "
            "space-MEGRE_desc-lesions_dseg; from foot to head, back to front, left to right."
        )
    },
    "group": {
        "Description": (
            "Number of the group of touching lesions to which it belongs: id in "
            "label-lesion_lesions."
        )
    },
    "location": {
        "Description": "Place, by contact within 2 mm; n/a without an atlas.",
        "Levels": {
            "periventricular": "with a lateral ventricle",
            "juxtacortical": "otherwise with the cortex",
            "infratentorial": "in brainstem or cerebellum",
            "deep white matter": "none of these",
        },
    },
    "x_mm": {
        "Description": "Centre, to the right, in the world coordinates of T1w (RAS+).",
        "Units": "mm",
    },
    "y_mm": {"Description": "Centre, to the front.", "Units": "mm"},
    "z_mm": {"Description": "Centre, upwards.", "Units": "mm"},
    "volume_mm3": {"Description": "Volume on the grid of T1w.", "Units": "mm3"},
    "diameter_mm": {"Description": "Diameter of a sphere of this volume.", "Units": "mm"},
    "ventricle_mm": {
        "Description": "Distance from its nearest voxel to the lateral ventricles.",
        "Units": "mm",
    },
    "thalamus_mm3": {"Description": "How much of it lies in the thalami.", "Units": "mm3"},
    "enhancing_mm3": {
        "Description": "How much of it enhances; n/a without T1w after contrast agent.",
        "Units": "mm3",
    },
    "n_voxels": {
        "Description": "Voxels of the gradient echo that are used; at least half of each is lesion."
    },
    "lost_share": {"Description": "Share outside the susceptibility map.", "Units": "1"},
    "vein_share": {"Description": "Share in veins, which are not used.", "Units": "1"},
    "chi_relative_nawm_ppb": {
        "Description": "Mean susceptibility minus that of normal-appearing white matter (3 mm and "
        "more from any lesion).",
        "Units": "ppb",
    },
    "chi_relative_nawm_ppb_se": {
        "Description": "Standard error from the noise and unevenness of the voxels, without "
        "errors of the reconstruction.",
        "Units": "ppb",
    },
    "chi_relative_csf_ppb": {
        "Description": "Mean susceptibility minus that of the CSF reference.",
        "Units": "ppb",
    },
    "chi_relative_csf_ppb_se": {
        "Description": "Standard error from the noise and unevenness of both, without errors of "
        "the reconstruction.",
        "Units": "ppb",
    },
    "chi_sd_ppb": {"Description": "Standard deviation over its voxels.", "Units": "ppb"},
    "r2star_hz": {"Description": "Mean R2*; n/a for a single echo.", "Units": "1/s"},
    "rim_minus_core_ppb": {
        "Description": "Susceptibility at the brightest depth of the border (median over "
        "directions) minus that inside.",
        "Units": "ppb",
    },
    "rim_surrounded_ppb": {
        "Description": "How far the border rises, in three quarters of all directions, above the "
        "best enclosed point inside and above the surroundings.",
        "Units": "ppb",
    },
    "rim_closed": {
        "Description": "Share of the directions in which the border is brighter than inside and "
        "surroundings.",
        "Units": "1",
    },
    "rim_evidence": {
        "Description": "Natural logarithm of how much better the local field is explained with a "
        "rim than without; from 5 on it is strong.",
        "Units": "1",
    },
    "rim_visible_ppb": {
        "Description": "Susceptibility from which a rim would be seen in a lesion of this shape "
        "and noise, by its local field; n/a where no rim of up to 150 ppb would be.",
        "Units": "ppb",
    },
    "rim_probability": {
        "Description": "Probability that it has a paramagnetic rim, from a model of simulated "
        "lesions (docs/lesion-iron.md).",
        "Units": "1",
    },
    "rim": {
        "Description": "Whether it has a paramagnetic rim: a probability of .5 or more, or the "
        "mask of a reader.",
        "Levels": {
            Rim.PRESENT.value: "has one",
            Rim.ABSENT.value: "none is seen, and one would be (rim_visible_ppb)",
            Rim.NOT_ASSESSED.value: (
                "none is seen, but none would be: too small, too thin, too little of it in the "
                "map, or a single echo"
            ),
        },
    },
}
"""The columns of the table of lesions in their order, as BIDS describes them."""
