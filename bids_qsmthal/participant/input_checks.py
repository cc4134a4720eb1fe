"""The inputs of a participant, each looked at before hours are spent on any of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.bids import external, gre_series
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply, directions
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.participant import gre_signal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.external import ExternalFile
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

MAPS = frozenset({"chi", "r2star"})
"""External images that hold values; the others hold labels."""

SEEDS = frozenset({"lesion_seeds", "lesion_points"})
"""What lesions are grown from."""

MAY_BE_EMPTY = frozenset({"lesion", "lesion_add", "lesion_remove", "enhancing", "vein"})
"""What a healthy participant has none of."""

HEAD_MM = (80.0, 1000.0)
"""Least and largest extent of a scan of a head, along its two longest axes."""

MAX_SHEAR = 1e-3
"""Largest cosine between two axes of a scan: what rounding of a header leaves."""

SLAB_MM = 8.0
"""Least extent along the shortest axis: a slab through the thalami is a scan of use."""


def check(session: Session, settings: Settings, external_files: Mapping[str, ExternalFile]) -> None:
    """Read the gradient echo and what was brought once, one file after the other.

    T1w and FLAIR need no check of their own: they are read before the first stage.

    Raises
    ------
    MissingInputError
        A file, an echo, or a piece of metadata is missing.
    DataError
        A file is damaged, or holds what cannot be a scan of a head or a label image.
    """
    if session.gre is not None:
        _check_gre(gre_series.describe(session.gre, session.root), settings)
    for key, item in external_files.items():
        _check_brought(key, item, session)


def structural(path: Path) -> Image:
    """Read one T1w or FLAIR; voxels that hold no number become zero.

    Raises
    ------
    DataError
        It is damaged, constant, not one volume, or not of the size of a head.
    """
    image = nifti.load(path)
    if image.data.ndim != 3:
        raise DataError(
            f"{path}: shape {image.data.shape}, expected one volume; give the volume to use."
        )
    _check_size(image, path)
    _check_axes(image, path)
    missing = ~np.isfinite(image.data)
    if missing.all():
        raise DataError(f"{path}: no voxel holds a number, expected a signal; export it again.")
    data = np.where(missing, np.float32(0), image.data)
    if data.min() == data.max():
        raise DataError(
            f"{path}: every voxel is {data.flat[0]:g}, expected a signal; export the image again."
        )
    if missing.any():
        log.warning("%s: %d voxels hold no number and are taken for 0", path.name, missing.sum())
    return image.like(data)


def _check_gre(series: gre_series.GreSeries, settings: Settings) -> None:
    is_phase = series.parts == ("mag", "phase")
    for path in series.paths:
        image = nifti.load(path)
        _check_size(image, path)
        for echo in series.first:
            if echo.path == path:
                gre_series.volume(image.data, echo)
        for echo in series.second:
            if echo.path == path:
                values = gre_series.volume(image.data, echo)
                if is_phase:
                    gre_signal.radians(values, echo, series, settings)


def _check_size(image: Image, path: Path) -> None:
    extent_mm = np.array(image.shape) * image.grid.voxel_size_mm
    shortest, middle, longest = np.sort(extent_mm)
    if min(image.shape) < 2 or shortest < SLAB_MM or middle < HEAD_MM[0] or longest > HEAD_MM[1]:
        size = " x ".join(f"{length:.3g}" for length in extent_mm)
        raise DataError(
            f"{path}: {image.shape} voxels over {size} mm, expected a volume of a head; "
            "check the header's voxel size, or give a 3-D scan."
        )


def _check_axes(image: Image, path: Path) -> None:
    """Raise where the axes are not at right angles: no registration can hold such a grid."""
    axes = directions(image.affine)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > MAX_SHEAR:
        raise DataError(
            f"{path}: the axes of its header are sheared (cosine {cosine:.3f} between two of them, "
            "expected 0: right angles); resample it to a grid with right angles."
        )


def _check_brought(key: str, item: ExternalFile, session: Session) -> None:
    if key in SEEDS and session.flair is None:
        raise MissingInputError(
            f"{item.path}: seeds are grown on FLAIR, but {session.name} has none; add the FLAIR "
            "image, or bring the whole lesion mask."
        )
    if key == external.NUMBERS:
        external.measured(item, session)
    elif key == "lesion_points":
        _check_points(item, session)
    else:
        _check_image(key, item, session)


def _check_points(item: ExternalFile, session: Session) -> None:
    grid = _grid_of(item, session)
    points = external.points_mm(item)
    voxels = np.rint(apply(np.linalg.inv(grid.affine), points))
    outside = ((voxels < 0) | (voxels >= grid.shape)).any(axis=1)
    if outside.any():
        raise DataError(
            f"{item.path}: the seed {points[outside][0].tolist()} lies outside the scan it was set "
            "on; expected x, y, z in millimetres of its world (RAS+), not voxels; mend the row."
        )


def _check_image(key: str, item: ExternalFile, session: Session) -> None:
    path = item.path
    image = nifti.load(path)
    if image.data.ndim != 3 or not np.isfinite(image.data).all():
        raise DataError(
            f"{path}: shape {image.data.shape} or values that are not numbers; expected one "
            f"volume that can be the {key}; mend the file."
        )
    if key in MAPS:
        return
    found = np.unique(image.data)
    if (found != np.rint(found)).any() or found[0] < 0 or found[-1] > np.iinfo(np.int16).max:
        raise DataError(
            f"{path}: values from {found[0]:g} to {found[-1]:g}, expected whole numbers from 0 as "
            f"the labels of {key}; give a label image (a probability must be thresholded)."
        )
    unknown = external.nameless(item, found)
    if unknown:
        log.warning(
            "%s: left out, as these names in %s are none that is known: %s.",
            *(path, item.table, ", ".join(unknown)),
        )
    grid = _grid_of(item, session)
    labels = external.load(item)
    if key not in MAY_BE_EMPTY and not resample(labels, grid, order=0).data.any():
        raise DataError(
            f"{path}: no label lies on the scan of {session.name} it belongs to; check that it is "
            "not empty and shares the scan's world."
        )


def _grid_of(item: ExternalFile, session: Session) -> Image:
    """Return the grid a brought image must overlap; its values are not read."""
    gre_first = session.gre.paths[0] if session.gre else None
    own = {"MEGRE": gre_first, "T1w": session.t1w, "FLAIR": session.flair}[item.space]
    scan = own or gre_first or session.t1w or session.flair or session.t1w_gad
    if scan is None:
        raise MissingInputError(f"{item.path}: {session.name} has no scan it could belong to.")
    shape, affine = nifti.shape_and_affine(scan)
    return Image(np.broadcast_to(np.int8(0), shape[:3]), affine)
