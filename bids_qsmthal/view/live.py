"""What a drawing would measure, while it is drawn: by the formulas of the table of measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.view import tools, voxels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.view.images import Label, ScanMaps


def numbers(scan: ScanMaps, label: Label, drawing: NDArray[np.uint8]) -> dict[str, Any]:
    """Return what a drawing of one label measures, with the other labels as they count now.

    Returns
    -------
    dict
        ``parts``: voxels and mm3 of each value, and its mean susceptibility (ppb) on the grid of
        the gradient echo. There also ``relative_ppb``: susceptibility of the thalami against the
        CSF reference, L, R and both. Where it is confirmed piece by piece ``pieces``: a point in
        each (mm), its volume, its number and its value in the drawing (0: it is not drawn; the
        largest where a reader drew several), largest piece first.
    """
    # All that is on the grid of the label has the same voxels.
    _, affine = voxels.grid(scan.current(label.key))
    voxel_mm3 = float(abs(np.linalg.det(affine[:3, :3])))
    on_gre = PRODUCTS[label.key].space == "MEGRE"
    chi_ppm = voxels.volume(scan.output("chi")).data if on_gre else None
    own = _sums(drawing, chi_ppm, len(label.values))
    parts = [
        {
            "name": name,
            "voxels": own.voxels[value],
            "volume_mm3": own.voxels[value] * voxel_mm3,
            "mean_ppb": None if chi_ppm is None else own.mean_ppb(value),
        }
        for value, name in enumerate(label.values, 1)
    ]
    found: dict[str, Any] = {"parts": parts}
    if chi_ppm is not None:
        found["relative_ppb"] = _relative(scan, label, drawing, chi_ppm)
    if label.pieces:
        found["pieces"] = _pieces(scan, label, drawing)
    return found


SIDES: Final = {"L": (1,), "R": (2,), "LR": (1, 2)}
"""The numbers of each side in the label of the thalami."""


@dataclass(frozen=True, slots=True)
class _LabelSums:
    """Of each number of a label: its voxels, and the susceptibility of all of them together."""

    voxels: tuple[int, ...]
    chi_ppm: tuple[float, ...]

    def mean_ppb(self, *values: int) -> float | None:
        """Return the mean of some numbers together; ``None`` where they have no voxel."""
        count = sum(self.voxels[value] for value in values)
        return 1e3 * sum(self.chi_ppm[value] for value in values) / count if count else None


def _sums(mask: NDArray[np.uint8], chi_ppm: NDArray[Any] | None, highest: int = 2) -> _LabelSums:
    """Return the sums in double precision, as the table of measures has its means.

    Only the box of the mask is read: of a thalamus it is a hundredth of the head, and a reader
    waits for this with every stroke.
    """
    box = tools.around(mask)
    numbers = mask[box].ravel()
    voxels = np.bincount(numbers, minlength=highest + 1)
    weights = None if chi_ppm is None else chi_ppm[box].ravel()
    sums = np.bincount(numbers, weights, minlength=highest + 1)
    return _LabelSums(tuple(voxels.tolist()), tuple(sums.astype(float).tolist()))


def _pieces(scan: ScanMaps, label: Label, drawing: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Return what is confirmed one by one: pieces of the drawing, or lesions by their numbers."""
    _, affine = voxels.grid(scan.current(label.key))
    voxel_mm3 = float(abs(np.linalg.det(affine[:3, :3])))
    lesions = lesions_among(scan, label)
    values = _values(drawing, lesions)
    return [
        {
            "mm": (affine @ (*piece.voxel, 1.0))[:3].tolist(),
            "volume_mm3": piece.n_voxels * voxel_mm3,
            "number": piece.number,
            "value": values[piece.number] if values else 1,
        }
        for piece in tools.pieces(drawing, lesions)
    ]


def _values(drawing: NDArray[np.uint8], lesions: NDArray[Any] | None) -> list[int]:
    """Return the value of each numbered lesion in a drawing, by its number; none without them."""
    if lesions is None:
        # All pieces that are there are drawn.
        return []
    found = np.zeros(int(lesions.max(initial=0)) + 1, np.uint8)
    # A lesion is drawn where a part of it is.
    inside = drawing > 0
    np.maximum.at(found, lesions[inside], drawing[inside])
    return [int(value) for value in found]


def lesions_among(scan: ScanMaps, label: Label) -> NDArray[Any] | None:
    """Return the numbered lesions that a label is confirmed among, where they are there.

    What the run proposed beside them (lesions that vanished) has the numbers behind them.
    """
    place = scan.current(label.among) if label.among else None
    if place is None or not place.is_file():
        return None
    lesions, own = voxels.labels(place).data, scan.output(label.key)
    return tools.with_others(lesions, voxels.mask(own).data) if own.is_file() else lesions


def _relative(
    scan: ScanMaps, label: Label, drawing: NDArray[np.uint8], chi_ppm: NDArray[Any]
) -> dict[str, float | None]:
    """Return mean chi(thalamus) - mean chi(CSF reference) in ppb for L, R and LR."""
    shown = {key: _label(scan, key) for key in ("thalamus", "csf_reference")}
    shown |= {label.key: drawing} if label.key in shown else {}
    thalamus, reference = shown["thalamus"], shown["csf_reference"]
    if thalamus is None or reference is None:
        return dict.fromkeys(SIDES)
    if label.key == "vein":
        # Veins are no thalamus. What leaves the veins comes back only with the next run, which
        # knows the thalamus below them.
        box = tools.around(thalamus)
        thalamus, chi_of = np.where(drawing[box] > 0, np.uint8(0), thalamus[box]), chi_ppm[box]
    else:
        chi_of = chi_ppm
    zero = _sums((reference > 0).view(np.uint8), chi_ppm).mean_ppb(1)
    inside = _sums(thalamus, chi_of)
    means = {side: inside.mean_ppb(*values) for side, values in SIDES.items()}
    return {
        side: None if mean is None or zero is None else mean - zero for side, mean in means.items()
    }


def _label(scan: ScanMaps, key: str) -> NDArray[Any] | None:
    place = scan.current(key)
    return voxels.mask(place).data if place.is_file() else None
