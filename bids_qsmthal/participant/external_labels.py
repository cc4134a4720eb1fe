"""External labels, on the grid of T1w, and whether they can be of this participant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import anatomy
from bids_qsmthal.anatomy import atlas, naming
from bids_qsmthal.bids.external import NUCLEI_TABLES
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.core.labels import THALAMUS
from bids_qsmthal.core.scan_warnings import ThalamiElsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.anatomy import Prepared
    from bids_qsmthal.bids.external import External, ExternalFile
    from bids_qsmthal.core.image import Affine

MIN_INSIDE = 0.8
"""Fraction of external labels that must lie in the brain: SynthSeg's widest masks leave some 5 %
out, a head that is shifted by 3 cm a fifth."""

MIN_THALAMUS_DICE = 0.5
"""Two outlines of the thalami of one head, each as big as the other, that are shifted by 6 mm
against each other share half."""


def on(
    key: str,
    external: Mapping[str, External],
    onto: Image,
    *,
    world: Affine | None = None,
) -> Image | None:
    """Return the external labels of a product on a grid, or ``None`` where there are none.

    Parameters
    ----------
    key, external
        Which, of the external results.
    onto
        The image whose grid is wanted.
    world
        4x4 matrix, a point of the world of ``onto`` to that of the labels; the same by default.
    """
    if key not in external:
        return None
    # The nearest voxel: the mean of two labels is a third one.
    return resample(external[key].image, onto, world=world, order=0)


def mask(
    key: str,
    external: Mapping[str, External],
    onto: Image,
    *,
    world: Affine | None = None,
) -> Image | None:
    """Return the same as a boolean mask."""
    given = on(key, external, onto, world=world)
    return None if given is None else given.like(given.data > 0)


def names_of_nuclei(item: ExternalFile) -> dict[int, str]:
    """Return what the numbers of thalamic nuclei mean."""
    if item.table is not None:
        return naming.read_table(item.table)
    return atlas.names(NUCLEI_TABLES.get(item.reading, "desc-thalamicnuclei_dseg"))


def labels(external: Mapping[str, External], prepared: Prepared) -> anatomy.ExternalLabels | None:
    """Gather what takes the place of our labels; ``None`` where nothing does.

    Raises
    ------
    DataError
        Labels lie outside the brain: they are of another head or in another space.
    """
    given = {key: on(key, external, prepared.t1w) for key in ("deepgray", "tissue", "nuclei")}
    for key, image in given.items():
        if image is not None:
            _check_inside(image, prepared.brain, external[key].file)
    if not any(given.values()):
        return None
    nuclei = given["nuclei"]
    named = None if nuclei is None else (nuclei, names_of_nuclei(external["nuclei"].file))
    return anatomy.ExternalLabels(
        deepgray=given["deepgray"],
        tissue=given["tissue"],
        nuclei=named,
    )


def label_warnings(
    external: Mapping[str, External],
    given: anatomy.ExternalLabels | None,
    prepared: Prepared,
) -> tuple[ThalamiElsewhere, ...]:
    """Return a warning where external thalami are not where the registered atlas has them."""
    # Without external thalami there is nothing to compare the atlas with.
    if given is None or given.deepgray is None:
        return ()
    theirs, ours = (np.isin(image.data, THALAMUS) for image in (given.deepgray, prepared.labels))
    # Dice. Neither of both empty masks may divide by zero: 1 stands for no voxel.
    dice = 2 * (theirs & ours).sum() / max(1, theirs.sum() + ours.sum())
    if dice >= MIN_THALAMUS_DICE:
        return ()
    source = str(external["deepgray"].source)
    return (ThalamiElsewhere(source, 100 * float(dice), 100 * MIN_THALAMUS_DICE),)


def _check_inside(image: Image, brain: Image, item: ExternalFile) -> None:
    labelled = image.data > 0
    inside = float((labelled & (brain.data > 0)).sum()) / max(1, int(labelled.sum()))
    if inside < MIN_INSIDE:
        raise DataError(
            f"{item.path}: {100 * inside:.0f} % of its labels lie in the brain of this T1w, "
            f"expected at least {100 * MIN_INSIDE:.0f} %; they belong to another head or another "
            "space: give labels made from this T1w, or in its world coordinates."
        )
