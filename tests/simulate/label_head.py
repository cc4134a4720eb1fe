"""A label map as a lab has it: FreeSurfer's numbers, in the axes of FreeSurfer, turned in space."""

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate.poses import rigid
from bids_qsmthal.simulate.templates import stored, templates

TURN = rigid((8.0, -5.0, 12.0), (6.0, -9.0, 14.0))
"""From the head to the world of the labels."""

SCALP, BONE, EYE = 507, 515, 506


def label_head(*, outside: bool = True) -> Image:
    """Return the atlas as labels of 2 mm, inside skull and scalp or without them."""
    atlas = templates()
    deep = stored("desc-deepgray_dseg").data.astype(np.int32)
    tissue = np.argmax([atlas.csf, atlas.gray, atlas.white], axis=0)
    left = (np.arange(deep.shape[0]) + atlas.affine[0, 3] < 0)[:, None, None]
    numbers = np.where(left, np.array([24, 3, 2])[tissue], np.array([24, 42, 41])[tissue])
    labels = np.where(atlas.brain > 0.5, numbers, 0)
    labels[deep > 0] = deep[deep > 0]
    if outside:
        away = ndimage.distance_transform_edt(labels == 0)
        labels[(away > 0) & (away <= 5)] = BONE
        labels[(away > 5) & (away <= 12)] = SCALP
    coarse = labels[::2, ::2, ::2].astype(np.int16)
    # L, I, A: the axes of FreeSurfer's conformed images.
    order = np.flip(np.transpose(coarse, (0, 2, 1)), (0, 1))
    to_world = TURN @ atlas.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    x, _, z = coarse.shape
    swap = np.array([[-1, 0, 0, x - 1], [0, 0, 1, 0], [0, -1, 0, z - 1], [0, 0, 0, 1.0]])
    return Image(np.ascontiguousarray(order), to_world @ swap)
