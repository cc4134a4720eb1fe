"""Digital shapes whose truth is known."""

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.image import Image


def shares(inside, shape, *, parts=4, voxel_mm=(1.0, 1.0, 1.0)):
    """Share of each voxel in which ``inside(x, y, z)`` (mm) is true, by subdivision."""
    axes = [
        (np.arange(size * parts) + 0.5) / parts * mm - size * mm / 2
        for size, mm in zip(shape, voxel_mm, strict=True)
    ]
    result = np.empty(shape, dtype=np.float32)
    for k in range(shape[2]):
        z = axes[2][k * parts : (k + 1) * parts]
        fine = inside(axes[0][:, None, None], axes[1][None, :, None], z[None, None, :])
        fine = np.broadcast_to(fine, (shape[0] * parts, shape[1] * parts, parts))
        blocks = fine.reshape(shape[0], parts, shape[1], parts, parts)
        result[:, :, k] = blocks.mean(axis=(1, 3, 4))
    return result


def radius(x, y, z, centre=(0.0, 0.0, 0.0)):
    return np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)


def folded_cortex(thickness_mm, *, size=64, fold_mm=6.0, folds=5):
    """White matter with lobes and a cortex of even thickness on it: gray and white shares.

    The border is r = R + A cos(folds phi) sin^2(theta); the cortex is grown from it by distance.
    """
    parts = 4  # thirds of a millimetre would themselves err by half the tolerance of the tests
    axis = (np.arange(size * parts) + 0.5) / parts - size / 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    r = np.sqrt(x**2 + y**2 + z**2)
    wave = np.cos(folds * np.arctan2(y, x)) * (1 - (z / np.maximum(r, 1e-6)) ** 2)
    white = r < 20.0 + fold_mm * wave
    outside_mm = ndimage.distance_transform_edt(~white) / parts - 0.5 / parts
    gray = ~white & (outside_mm < thickness_mm)
    blocks = (size, parts, size, parts, size, parts)
    return tuple(
        part.reshape(blocks).mean(axis=(1, 3, 5)).astype(np.float32) for part in (gray, white)
    )


def oriented(data, affine, order, flips):
    """The same image stored with its axes swapped and flipped."""
    moved = np.transpose(data, order)
    swap = np.zeros((4, 4))
    swap[3, 3] = 1
    for new, old in enumerate(order):
        swap[old, new] = 1
    affine = affine @ swap
    for axis in flips:
        moved = np.flip(moved, axis)
        affine = affine.copy()
        affine[:3, 3] += affine[:3, axis] * (moved.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Image(np.ascontiguousarray(moved), affine)
