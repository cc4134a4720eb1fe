"""Compiled region growing, which ROMEO unwrapping is made of.

The weights are the published ones: Dymerska et al. (2021). Magn Reson Med 85(4), 2294-2308.
doi:10.1002/mrm.28563
"""
# The arguments are plain arrays and numbers; numba infers their types.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-any-return"

import numpy as np
from numba import njit

from bids_qsmthal.qsm.echoes import wrap

BINS = 256
"""Quality is sorted into this many bins, as in ROMEO."""

LINEARITY_AT_BORDER = 0.95
"""Linearity on a side of an edge that has no voxel: both sides make the published 0.9."""


@njit(cache=True, error_model="numpy")
def edge_quality(phase, magnitude, mask, second, time_ratio):
    """Return a quality bin (0 no edge, 1 best ... BINS - 1 worst) for the edge to each next voxel.

    Shape (3, x, y, z): the edge from a voxel to the next one along each axis. ``second`` is the
    phase of another echo and ``time_ratio`` the echo time over the other's; an empty array leaves
    the coherence of gradients between echoes out.
    """
    quality = np.zeros((3, *phase.shape), np.uint8)
    nx, ny, nz = phase.shape
    # ROMEO's reference for dark and bright voxels: half the largest magnitude in the mask.
    half = np.float32(0.5) * np.where(mask, magnitude, np.float32(0)).max()
    for axis in range(3):
        step = (int(axis == 0), int(axis == 1), int(axis == 2))
        sx, sy, sz = step
        for x in range(nx - sx):
            for y in range(ny - sy):
                for z in range(nz - sz):
                    if mask[x, y, z] and mask[x + sx, y + sy, z + sz]:
                        place = (x, y, z)
                        weight = _phase_weight(phase, mask, place, step)
                        if second.size:
                            weight *= _between_echoes(phase, second, place, step, time_ratio)
                        here, there = magnitude[x, y, z], magnitude[x + sx, y + sy, z + sz]
                        weight *= _magnitude_weight(min(here, there), max(here, there), half)
                        # Bins of equal width in weight; the highest is BINS - 1, which still fits
                        # in uint8.
                        quality[axis, x, y, z] = 1 + int((BINS - 2) * (1 - weight))
    return quality


@njit(cache=True, error_model="numpy")
def _share(weight):
    """Return a weight that no single doubt can bring to nothing."""
    return 0.1 + 0.9 * max(weight, 0.0)


@njit(cache=True, error_model="numpy")
def _phase_weight(phase, mask, place, step):
    """Return phase coherence times phase linearity on both sides of an edge."""
    (x, y, z), (sx, sy, sz) = place, step
    here, there = phase[x, y, z], phase[x + sx, y + sy, z + sz]
    rise = wrap(there - here)
    linearity = 1.0
    for side in (-1, 2):
        a, b, c = x + side * sx, y + side * sy, z + side * sz
        inside = 0 <= a < phase.shape[0] and 0 <= b < phase.shape[1] and 0 <= c < phase.shape[2]
        if inside and mask[a, b, c]:
            other = phase[a, b, c]
            bend = wrap((here - other if side < 0 else other - there) - rise)
            # Published as 1 - |bend| / 2 with the bend in rad, cut at zero.
            linearity *= max(0.0, 1 - abs(bend) / 2)
        else:
            linearity *= LINEARITY_AT_BORDER
    return _share(1 - abs(rise) / np.pi) * _share(linearity)


@njit(cache=True, error_model="numpy")
def _between_echoes(phase, second, place, step, time_ratio):
    """Return how well the rise along an edge agrees with that of another echo."""
    (x, y, z), (sx, sy, sz) = place, step
    rise = wrap(phase[x + sx, y + sy, z + sz] - phase[x, y, z])
    other = wrap(second[x + sx, y + sy, z + sz] - second[x, y, z])
    return _share(1 - abs(rise - other * time_ratio))


@njit(cache=True, error_model="numpy")
def _magnitude_weight(low, high, half):
    """Return magnitude coherence times the doubts about dark and about bright, flowing voxels."""
    if not high > 0:
        return 0.1**3
    dark, bright = 0.5 + 0.5 * min(1.0, low / half), 0.5 + 0.5 * min(1.0, half / high)
    return _share((low / high) ** 2) * _share(dark) * _share(bright)


@njit(cache=True, error_model="numpy")
def _push(heap_next, heads, edge, level):
    """Put an edge on the stack of its quality bin."""
    heap_next[edge] = heads[level]
    heads[level] = edge


@njit(cache=True, error_model="numpy")
def _push_voxel(voxel, shape, quality, queue):
    """Queue the six edges of a voxel; return the best bin among them."""
    nx, ny, nz = shape
    heap_next, heads, queued = queue
    size = nx * ny * nz
    strides = (ny * nz, nz, 1)
    place = (voxel // (ny * nz), (voxel // nz) % ny, voxel % nz)
    best = BINS
    for axis in range(3):
        for side in range(2):
            if side == 1 and place[axis] == 0:
                continue
            edge = axis * size + voxel - side * strides[axis]
            level = quality[edge]
            if level > 0 and not queued[edge]:
                queued[edge] = True
                _push(heap_next, heads, edge, level)
                best = min(best, level)
    return best


@njit(cache=True, error_model="numpy")
def _grow_from(seed, phase, done, quality, queue):
    """Unwrap the part of the mask that hangs together with a seed, in place."""
    shape, flat_phase, region, label = phase
    nx, ny, nz = shape
    size = nx * ny * nz
    strides = (ny * nz, nz, 1)
    heap_next, heads, _ = queue
    done[seed] = True
    region[seed] = label
    level = _push_voxel(seed, shape, quality, queue)
    while level < BINS:
        edge = heads[level]
        if edge < 0:
            level += 1
            continue
        # A stack for each bin in place of a heap: edges of one bin count as equally good, so none
        # need be sorted.
        heads[level] = heap_next[edge]
        axis, low = edge // size, edge % size
        high = low + strides[axis]
        # Both ends were reached over better edges while this one waited.
        if done[low] and done[high]:
            continue
        old, new = (low, high) if done[low] else (high, low)
        flat_phase[new] = flat_phase[old] + wrap(flat_phase[new] - flat_phase[old])
        done[new] = True
        region[new] = label
        # A new voxel may have brought better edges than those of the present bin.
        level = min(level, _push_voxel(new, shape, quality, queue))


@njit(cache=True, error_model="numpy")
def grow(phase, mask, quality):
    """Grow every part of the mask; return unwrapped phase and the label of each part."""
    shape = phase.shape
    flat = phase.copy().ravel()
    inside = mask.ravel()
    edges = quality.ravel()
    done = np.zeros(flat.size, np.bool_)
    region = np.zeros(flat.size, np.int32)
    queue = (
        # Three edges a voxel: int32 holds the numbers up to 7e8 voxels, beyond what nifti admits.
        np.full(edges.size, -1, np.int32),
        np.full(BINS, -1, np.int64),
        np.zeros(edges.size, np.bool_),
    )
    label = 0
    # The voxel with the best edges of its own is the safest place to begin each part.
    # Judged by its edge along the first axis alone, which is enough to avoid a noisy start.
    for wanted in (3, 16, BINS):
        for voxel in range(flat.size):
            if inside[voxel] and not done[voxel] and (wanted == BINS or 0 < edges[voxel] <= wanted):
                label += 1
                _grow_from(voxel, (shape, flat, region, label), done, edges, queue)
    return flat.reshape(shape), region.reshape(shape)
