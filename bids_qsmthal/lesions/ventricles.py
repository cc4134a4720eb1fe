"""What lies within the ventricles of a head, whose own may be wider than the template's."""

from __future__ import annotations

import numpy as np

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
    lateral = np.isin(atlas, LATERAL_VENTRICLES)
    parts, _ = components(fluid & box.dilate(lateral, REACH_MM))
    # Fluid of a sulcus beside the ventricle does not touch the template's: closing the gap between
    # both would take the corpus callosum in.
    own = np.unique(parts[lateral & fluid])
    known = lateral | np.isin(parts, own[own > 0])
    wide = box.dilate(known, GAP_MM / 2)
    # A closing by two distances, which are balls in mm and not cubes of voxels.
    return np.asarray(~box.dilate(~wide, GAP_MM / 2) & ~lateral)
