"""The direction of the main field in the voxels of a scan, from whatever knows it.

The dipole kernel needs the direction of B0, and only the scanner's own frame has it along z. A
NIfTI header may hold two affines, each with a code of its meaning; only code 1 is the scanner's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import MainFieldAssumed, MainFieldByAlignment

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.core.nifti import Orientation

    Direction = NDArray[np.float64]

MOST_DEGREES = 1.0
"""Two sources of the direction that differ by more than rounding are not both right. A tilt that is
ignored biases susceptibility (Kiersnowski 2023, doi 10.1002/mrm.29550); measured on our phantom: 35
degrees ignored give 14 and 40 ppb for 57 and 106."""

SCANNER, ALIGNED = 1, 2
"""Codes of an affine in NIfTI-1: the scanner's frame, and that of another scan."""

ADVICE = "give the direction of the main field along the voxel axes with --b0-direction X Y Z."


class B0(NamedTuple):
    """The main field: a unit vector in the world of the image's affine, and where it is from.

    Attributes
    ----------
    direction
        In the world that ``nifti.load`` puts the image in.
    source
        ``"user"``, ``"sform"``, ``"qform"`` or ``"ImageOrientationPatientDICOM"``.
    warning
        Where no affine is said to be the scanner's; else None.
    """

    direction: tuple[float, float, float]
    source: str
    warning: MainFieldAssumed | MainFieldByAlignment | None = None


def main_field(
    path: Path, sidecar: dict[str, Any], given: tuple[float, float, float] | None = None
) -> B0:
    """Return the direction of the main field of a scan.

    Parameters
    ----------
    path
        One image of the scan.
    sidecar
        Its metadata; ``ImageOrientationPatientDICOM`` is compared with the header.
    given
        Direction along the voxel axes from the user, of any length; it wins.

    Raises
    ------
    DataError
        The direction is not known, or its sources contradict each other.
    """
    header = nifti.orientation(path)
    if given is not None:
        return B0(_in_world(header, np.asarray(given, np.float64)), "user")
    dicom = _from_dicom(sidecar, header)
    own = {name: z for name, code, z in _known(header) if code == SCANNER}
    # An affine of code 1 is in the voxel axes of this very file; DICOM's key, written before any
    # flip, only checks it.
    if own:
        source, along = _agreed(own, dicom, path)
        return B0(_in_world(header, along), source)
    if dicom is not None:
        doubt = MainFieldAssumed(header.sform_code, header.qform_code)
        return B0(_in_world(header, dicom), "ImageOrientationPatientDICOM", doubt)
    source, along = _assumed(header, path)
    return B0(_in_world(header, along), source, MainFieldByAlignment(source))


def _agreed(
    own: dict[str, Direction], dicom: Direction | None, path: Path
) -> tuple[str, Direction]:
    """Return the one direction that all affines of code 1, and DICOM, agree on."""
    fits = {
        name: along
        for name, along in own.items()
        if dicom is None or _unsigned_degrees(along, dicom) <= MOST_DEGREES
    }
    if not fits:
        raise DataError(
            f"{path.name}: the header and ImageOrientationPatientDICOM in the sidecar give "
            f"different directions of the main field, expected the same within {MOST_DEGREES:g} "
            f"degree: the header was changed after the scan; {ADVICE}"
        )
    (source, along), *others = fits.items()
    for _, other in others:
        if _degrees(along, other) > MOST_DEGREES:
            raise DataError(
                f"{path.name}: sform and qform both claim to be the scanner's (code 1), but their "
                f"main fields differ by {_degrees(along, other):.3g} degrees; {ADVICE}"
            )
    return source, along


def _assumed(header: Orientation, path: Path) -> tuple[str, Direction]:
    """Return the direction by an affine that is aligned to another scan, where that is all."""
    known = _known(header)
    if not known:
        raise DataError(
            f"{path.name}: sform and qform have the code 0, so the direction of the main field is "
            f"not known; export the scan again from DICOM, or {ADVICE}"
        )
    name, code, along = known[0]
    if code != ALIGNED:
        raise DataError(
            f"{path.name}: its {name} has the code {code} (a template's space), and no affine is "
            f"the scanner's (code 1): the direction of the main field is lost; {ADVICE}"
        )
    if any(_degrees(along, other) > MOST_DEGREES for _, _, other in known[1:]):
        raise DataError(
            f"{path.name}: sform and qform differ and neither is marked as the scanner's "
            f"(code 1); {ADVICE}"
        )
    return name, along


def _known(header: Orientation) -> list[tuple[str, int, Direction]]:
    """Return name, code, and the direction of z in voxel axes of each affine with a meaning."""
    both = (
        ("sform", header.sform_code, header.sform),
        ("qform", header.qform_code, header.qform),
    )
    return [(name, code, _along(affine)) for name, code, affine in both if code > 0]


def _along(affine: NDArray[np.float64]) -> Direction:
    """Return the unit vector of the world's z in the voxel axes."""
    # Unit columns: with the voxel sizes left in, anisotropic voxels would tilt the field.
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    along: Direction = np.linalg.solve(axes, (0.0, 0.0, 1.0))
    return along / np.linalg.norm(along)


def _in_world(header: Orientation, along: Direction) -> tuple[float, float, float]:
    """Return a direction of voxel axes in the world of the affine that readers prefer."""
    axes = header.affine[:3, :3] / np.linalg.norm(header.affine[:3, :3], axis=0)
    # In the affine of nifti.load, which may be another than the one that said the direction.
    x, y, z = (axes @ (along / np.linalg.norm(along))).tolist()
    length = float(np.linalg.norm((x, y, z)))
    return x / length, y / length, z / length


def _from_dicom(sidecar: dict[str, Any], header: Orientation) -> Direction | None:
    """Return the field along the voxel axes as dcm2niix stores them; ``None`` without the key.

    DICOM's patient axes have z along the bore. The first axis of the file runs along the rows,
    the second against the columns, the third along the normal of the slices: a left-handed frame
    in RAS. A right-handed affine tells that the slices were stored the other way round.
    """
    stored = sidecar.get("ImageOrientationPatientDICOM")
    if not isinstance(stored, list) or len(stored) != 6:
        return None
    if not all(isinstance(value, int | float) for value in stored):
        return None
    row, column = np.array(stored[:3], np.float64), np.array(stored[3:], np.float64)
    # Direction cosines are orthogonal unit vectors; what is not was written by hand or damaged.
    lengths = np.linalg.norm((row, column), axis=1)
    if not np.allclose(lengths, 1, atol=0.01) or abs(row @ column) > 0.01:
        return None
    coded = header.sform_code > 0 or header.qform_code > 0
    turn = -1 if coded and np.linalg.det(header.affine[:3, :3]) > 0 else 1
    along: Direction = np.array([row[2], -column[2], turn * np.cross(row, column)[2]])
    return along / np.linalg.norm(along)


def _degrees(one: Direction, other: Direction) -> float:
    """Return the angle between two axes; which end is up is no matter to a dipole."""
    return float(np.degrees(np.arccos(min(abs(float(one @ other)), 1.0))))


def _unsigned_degrees(one: Direction, other: Direction) -> float:
    """Return the angle where voxel axes may have been flipped or swapped since DICOM."""
    # Flips and swaps of axes only change the order and signs of the components.
    return _degrees(np.sort(np.abs(one)), np.sort(np.abs(other)))
