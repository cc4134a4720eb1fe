"""Lesions whose mask is known already: of another program, grown from seeds, or corrected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.lesions.enhancing import Enhancement
from bids_qsmthal.lesions.flair import Lesions, on_flair
from bids_qsmthal.lesions.table import lesion_table

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Affine, Image
    from bids_qsmthal.lesions.context import Context


def lesions_of_mask(
    mask: Image,
    context: Context,
    *,
    found: Lesions | None = None,
    flair: Image | None = None,
    flair_to_t1w: Affine | None = None,
) -> Lesions:
    """Return lesions with this mask, counted and placed anew.

    Parameters
    ----------
    mask
        Any value above 0, on the grid of ``context``.
    context
        Brain, and labels if known.
    found
        What was segmented before the mask was corrected; its probability and quality are kept.
    flair, flair_to_t1w
        The scan to whose grid the mask is carried as well, and the way to it.
    """
    inside = mask.like(mask.data > 0)
    world = np.eye(4) if flair_to_t1w is None else flair_to_t1w
    own = inside if flair is None else on_flair(inside, flair, world)
    table = lesion_table(inside, context)
    if found is not None:
        return replace(found, mask=inside, mask_flair=own, table=table)
    # Who brings a mask gives no probability: inside it is one.
    certain = inside.like(inside.data.astype(np.float32))
    return Lesions(inside, certain, own, table, quality={}, warnings=())


def enhancement_of(mask: Image, context: Context) -> Enhancement:
    """Return enhancing lesions that somebody else outlined."""
    inside = mask.like(mask.data > 0)
    table = lesion_table(inside, context)
    return Enhancement(inside, table, confidence=float("nan"), quality={}, warnings=())
