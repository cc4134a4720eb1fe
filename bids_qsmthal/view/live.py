"""What a drawing would measure, while it is drawn: by the formulas of the table of measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.view import images, tools

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
        each (mm), its volume, its number and whether it is drawn, largest first.
    """
    # All that is on the grid of the label has the same voxels.
    _, affine = images.grid(scan.current(label.key))
    voxel_mm3 = float(abs(np.linalg.det(affine[:3, :3])))
    on_gre = PRODUCTS[label.key].space == "MEGRE"
    chi_ppm = images.volume(scan.output("chi")).data if on_gre else None
    parts = [
        {
            "name": name,
            "voxels": int((drawing == value).sum()),
            "volume_mm3": float((drawing == value).sum() * voxel_mm3),
            "mean_ppb": None if chi_ppm is None else _mean_ppb(chi_ppm, drawing == value),
        }
        for value, name in enumerate(label.values, 1)
    ]
    found: dict[str, Any] = {"parts": parts}
    if chi_ppm is not None:
        found["relative_ppb"] = _relative(scan, label, drawing, chi_ppm)
    if label.pieces:
        found["pieces"] = _pieces(scan, label, drawing)
    return found


def _pieces(scan: ScanMaps, label: Label, drawing: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Return what is confirmed one by one: pieces of the drawing, or lesions by their numbers."""
    _, affine = images.grid(scan.current(label.key))
    voxel_mm3 = float(abs(np.linalg.det(affine[:3, :3])))
    lesions = _label(scan, label.among) if label.among else None
    # All pieces that are there are drawn; a lesion is, where a part of it is.
    marked = set(np.unique(lesions[drawing > 0]).tolist()) if lesions is not None else None
    return [
        {
            "mm": (affine @ (*piece.voxel, 1.0))[:3].tolist(),
            "volume_mm3": piece.n_voxels * voxel_mm3,
            "number": piece.number,
            "drawn": marked is None or piece.number in marked,
        }
        for piece in tools.pieces(drawing, lesions)
    ]


def _relative(
    scan: ScanMaps, label: Label, drawing: NDArray[np.uint8], chi_ppm: NDArray[Any]
) -> dict[str, float | None]:
    """Return mean chi(thalamus) - mean chi(CSF reference) in ppb for L, R and LR."""
    shown = {key: _label(scan, key) for key in ("thalamus", "csf_reference")}
    shown |= {label.key: drawing} if label.key in shown else {}
    thalamus, reference = shown["thalamus"], shown["csf_reference"]
    if label.key == "vein" and thalamus is not None:
        # Veins are no thalamus. What leaves the veins comes back only with the next run, which
        # knows the thalamus below them.
        thalamus = np.where(drawing > 0, 0, thalamus)
    if thalamus is None or reference is None:
        return {"L": None, "R": None, "LR": None}
    zero = _mean_ppb(chi_ppm, reference > 0)
    sides = {"L": thalamus == 1, "R": thalamus == 2, "LR": thalamus > 0}
    means = {side: _mean_ppb(chi_ppm, mask) for side, mask in sides.items()}
    return {
        side: None if mean is None or zero is None else mean - zero for side, mean in means.items()
    }


def _label(scan: ScanMaps, key: str) -> NDArray[Any] | None:
    place = scan.current(key)
    return images.labels(place).data if place.is_file() else None


def _mean_ppb(values: NDArray[Any], mask: NDArray[np.bool_]) -> float | None:
    """Return the mean in double precision, as the table of measures has it, times 1000."""
    return 1e3 * float(values[mask].mean(dtype=np.float64)) if mask.any() else None
