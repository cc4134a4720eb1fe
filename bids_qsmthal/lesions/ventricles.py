"""What lies within the ventricles of a head, whose own may be wider than the template's."""

from __future__ import annotations

import numpy as np

from bids_qsmthal.core.labels import THALAMUS
from bids_qsmthal.lesions.context import LATERAL_VENTRICLES, BrainBox, Mask, Volume
from bids_qsmthal.lesions.growth import components

REACH_MM = 4.0
"""How far wide ventricles reach beyond the template's, as anatomy has it."""

GAP_MM = 8.0
"""As far apart may two walls of fluid be that enclose plexus, septum or fornix."""


def enclosed_by_ventricles(atlas: Volume, fluid: Mask, box: BrainBox) -> Mask:
    """Return what lies between the fluid of the lateral ventricles: septum, fornix and plexus.

    The template's ventricles together with the fluid that the image shows in and beside them: wide
    ventricles hold a plexus where the template has white matter.

    Parameters
    ----------
    atlas
        Labels of the template in the box, shape (x, y, z).
    fluid
        What the image shows as fluid there.
    box
        The brain's.

    Returns
    -------
    ndarray
        Without the template's own ventricles.
    """
    known = _lateral_ventricles(atlas, fluid, box)
    return np.asarray(_closed(known, box) & ~np.isin(atlas, LATERAL_VENTRICLES))


def between_ventricle_and_thalamus(
    atlas: Volume, fluid: Mask, sooner_gray: Mask, box: BrainBox
) -> Mask:
    """Return the floor of the ventricles: plexus hangs there from the choroid fissure.

    Above and behind the thalamus no white matter parts it from the ventricle but the fornix and
    the stria terminalis, which are thinner than the plexus. Wide ventricles press a plexus to the
    thalamus, where it has little fluid around it.

    Parameters
    ----------
    atlas, fluid, box
        As for ``enclosed_by_ventricles``.
    sooner_gray
        Where the template shows gray matter sooner than white matter.

    Returns
    -------
    ndarray
        Without the thalami, which may hold lesions.
    """
    thalamus = np.isin(atlas, THALAMUS)
    around = _closed(_lateral_ventricles(atlas, fluid, box) | thalamus, box)
    return np.asarray(around & sooner_gray & ~thalamus)


def lesions_touching(plexus: Mask, place: Mask, white: Mask) -> Mask:
    """Return the lesions that touch plexus and were taken for a part of it.

    Of plexus, what lies in white matter beyond the place of plexus is a lesion: plexus that bulges
    out of its place does so into fluid or gray matter.

    Parameters
    ----------
    plexus
        Parts that were judged to be plexus as a whole, shape (x, y, z).
    place
        Where plexus lies.
    white
        Where white matter is the likeliest tissue.
    """
    return np.asarray(plexus & ~place & white)


def _lateral_ventricles(atlas: Volume, fluid: Mask, box: BrainBox) -> Mask:
    """Return the template's lateral ventricles and the fluid of the image that they are part of."""
    lateral = np.isin(atlas, LATERAL_VENTRICLES)
    parts, _ = components(fluid & box.dilate(lateral, REACH_MM))
    # Fluid of a sulcus beside the ventricle does not touch the template's: closing the gap between
    # both would take the corpus callosum in.
    own = np.unique(parts[lateral & fluid])
    return np.asarray(lateral | np.isin(parts, own[own > 0]))


def _closed(mask: Mask, box: BrainBox) -> Mask:
    """Return a mask with its gaps of up to ``GAP_MM`` closed."""
    # A closing by two distances, which are balls in mm and not cubes of voxels.
    wide = box.dilate(mask, GAP_MM / 2)
    return ~box.dilate(~wide, GAP_MM / 2)
