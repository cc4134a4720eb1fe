"""What each pair of visits gives to the table of change, from the files of its sessions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bids_qsmthal.anatomy import read_itk_affine_text
from bids_qsmthal.anatomy.volume_change import thickness_change
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import at
from bids_qsmthal.core.labels import of_thalamus, region
from bids_qsmthal.participant import lesion_changes
from bids_qsmthal.participant.change_rows import (
    chi_rows,
    lesion_volume_row,
    thickness_rows,
    variant_rows,
)
from bids_qsmthal.roi.change import GreVisit, chi_changes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_qsmthal.anatomy.visits import VisitFrame
    from bids_qsmthal.bids.visits import FinishedVisit
    from bids_qsmthal.core.image import Affine, Image
    from bids_qsmthal.participant.change_rows import VisitPair
    from bids_qsmthal.roi.change import Place

log = logging.getLogger(__name__)


def image(visit: FinishedVisit, name: str) -> Image:
    """Return an image of a visit by what its name ends with."""
    return nifti.load(visit.files[f"{name}.nii.gz"])


THICKNESS = "space-T1w_desc-thickness_morph.nii.gz"


def of_thickness(
    pair: VisitPair, found: Sequence[FinishedVisit], frame: VisitFrame, which: tuple[int, int]
) -> list[dict[str, object]]:
    """Return the row of cortical thickness; none where a visit has no map of it."""
    if any(THICKNESS not in found[number].files for number in which):
        return []
    sampled = []
    for number in which:
        thickness = nifti.load(found[number].files[THICKNESS])
        share = thickness.like((thickness.data > 0).astype(np.float32))
        sampled.append(
            (frame.sampled(thickness, number, order=1), frame.sampled(share, number, order=1))
        )
    change = thickness_change(*sampled)
    return [] if change is None else thickness_rows(pair, change)


SENSITIVITY = "desc-qsmthal_sensitivity.tsv"


def of_variants(
    pair: VisitPair, first: FinishedVisit, second: FinishedVisit
) -> list[dict[str, object]]:
    """Return the rows of other background removals; none where a visit has no table of them."""
    if any(SENSITIVITY not in one.files for one in (first, second)):
        return []
    return variant_rows(
        pair,
        *(
            pd.read_csv(one.files[SENSITIVITY], sep="\t", na_values="n/a")
            for one in (first, second)
        ),
    )


def of_lesion_volume(
    pair: VisitPair, first: FinishedVisit, second: FinishedVisit
) -> list[dict[str, object]]:
    """Return the row of the volume of lesions; none where a visit has no mask of them."""
    name = lesion_changes.LESIONS
    if any(name not in one.files for one in (first, second)):
        return []
    masks = [nifti.load(one.files[name], dtype=np.uint8) for one in (first, second)]
    volumes = [float(np.count_nonzero(mask.data)) * mask.voxel_volume_mm3 for mask in masks]
    return [lesion_volume_row(pair, volumes[0], volumes[1])]


CHI = ("Chimap", "space-MEGRE_desc-thalamus_dseg")
REFERENCE = "space-MEGRE_label-CSF_desc-reference_mask"
GRE_TO_T1W = "from-T1w_to-MEGRE_mode-image_xfm.txt"
"""Resamples T1w onto the gradient echo: it takes points of the gradient echo to T1w."""


def of_chi(
    pair: VisitPair, found: Sequence[FinishedVisit], frame: VisitFrame, which: tuple[int, int]
) -> list[dict[str, object]]:
    """Return the rows of susceptibility; none where a visit has no map."""
    needed = (*(f"{name}.nii.gz" for name in (*CHI, REFERENCE)), GRE_TO_T1W, MEASURES)
    for number in which:
        lacking = [name for name in needed if name not in found[number].files]
        if lacking:
            log.info(
                "ses-%s has no %s: no change of susceptibility.", found[number].session, lacking[0]
            )
            return []
    scans = [_gre(found[number], frame.to_visits[number]) for number in which]
    errors = [_errors_ppb(found[number].files[MEASURES]) for number in which]
    both = {
        place: float(np.hypot(errors[0][place], errors[1][place]))
        for place in errors[0].keys() & errors[1].keys()
    }
    return chi_rows(pair, chi_changes(scans[0], scans[1], _nuclei(found[which[0]])), both)


NUCLEI = "space-MEGRE_desc-thalamicnuclei_dseg"


def _nuclei(visit: FinishedVisit) -> dict[Place, tuple[int, ...]]:
    """Return the labels of each thalamic nucleus: of each side, and of both together."""
    path = visit.files.get(f"{NUCLEI}.tsv")
    if path is None:
        return {}
    table = pd.read_csv(path, sep="\t")
    names = {
        int(index): str(name) for index, name in zip(table["index"], table["name"], strict=True)
    }
    places: dict[Place, tuple[int, ...]] = {}
    for index in sorted(names):
        what = region(index, names)
        for side in (what.hemisphere, "LR"):
            place = (of_thalamus(what.name), side)
            places[place] = (*places.get(place, ()), index)
    return places


def _gre(visit: FinishedVisit, frame_to_t1w: Affine) -> GreVisit:
    with at(visit.files[GRE_TO_T1W]):
        gre_to_t1w = read_itk_affine_text(visit.files[GRE_TO_T1W].read_text(encoding="utf-8"))
    chi, thalamus, reference = (image(visit, name) for name in (*CHI, REFERENCE))
    way: Affine = np.linalg.inv(frame_to_t1w) @ gre_to_t1w
    nuclei = image(visit, NUCLEI) if f"{NUCLEI}.nii.gz" in visit.files else None
    return GreVisit(
        chi_ppm=chi, thalamus=thalamus, reference=reference, to_frame=way, nuclei=nuclei
    )


MEASURES = "desc-qsmthal_measures.tsv"


def _errors_ppb(path: Path) -> dict[Place, float]:
    """Return the standard error of each single measurement, by region and hemisphere.

    Both together are taken for that of the change, as if nothing of their errors were shared: on
    the safe side, for slow errors of the field and of the borders recur.
    """
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    wanted = table[table["measure"] == "chi_relative_csf_se"]
    places = zip(wanted["region"], wanted["hemisphere"], strict=True)
    return dict(zip(places, wanted["value"].astype(float), strict=True))
