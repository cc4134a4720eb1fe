"""The planes of the head: a scan turned and shifted to lie as the template's head does."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from bids_qsmthal.anatomy.atlas import SPACE
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.view import images

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.view.images import ScanMaps

STEP: Final = 4
"""Every fourth point of the field along each axis: some 10,000 places for six numbers."""


def is_known(scan: ScanMaps) -> bool:
    """Return whether the way to the template was kept."""
    return _field(scan).is_file()


def to_head(scan: ScanMaps, space: str) -> NDArray[np.float64]:
    """Return the 4x4 matrix of a scan's world (mm) to that of the head: a turn and a shift.

    Raises
    ------
    MissingInputError
        Nothing relates the scan to the template.
    DataError
        The file is not one that the run wrote.
    """
    place = _field(scan)
    if not place.is_file():
        raise MissingInputError(
            f"{scan.row.name}: no transform to the template; only planes of the scan can be shown."
        )
    found = place.stat()
    to_t1w = _nearest_motion(place, found.st_mtime_ns, found.st_size)
    matrix: NDArray[np.float64] = np.linalg.inv(to_t1w) @ images.between(scan, "T1w", space)
    return matrix


def _field(scan: ScanMaps) -> Path:
    return scan.transform("T1w", SPACE).with_suffix(".nii.gz")


@lru_cache(maxsize=16)
def _nearest_motion(place: Path, *_state: int) -> NDArray[np.float64]:
    """Return the motion of template points that comes nearest to the way to T1w."""
    field = nifti.load(place)
    if field.data.ndim != 4 or field.data.shape[-1] != 3:
        raise DataError(
            f"{place.name}: not a deformation field that the run wrote; run the participant again."
        )
    # Its vectors are in LPS, as ITK has them.
    vectors = field.data[::STEP, ::STEP, ::STEP].astype(np.float64) * (-1, -1, 1)
    voxels = STEP * np.indices(vectors.shape[:3]).reshape(3, -1).T
    points = apply(field.affine, voxels)
    return motion(points, points + vectors.reshape(-1, 3))


def motion(points: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 4x4 turn and shift that takes points (n, 3) nearest to where they went.

    Least squares by singular values: Kabsch (1976), doi:10.1107/S0567739476001873.
    """
    middles = points.mean(axis=0), moved.mean(axis=0)
    u, _, v = np.linalg.svd((points - middles[0]).T @ (moved - middles[1]))
    # No mirror image.
    turn = v.T @ np.diag([1.0, 1.0, np.linalg.det(v.T @ u.T)]) @ u.T
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, middles[1] - turn @ middles[0]
    return matrix
