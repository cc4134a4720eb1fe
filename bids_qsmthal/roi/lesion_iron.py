"""Susceptibility of each lesion against normal-appearing white matter and against CSF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage

from bids_qsmthal.core.crop import around_each, margin_voxels
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.roi import transfer
from bids_qsmthal.roi.rim_field import UNKNOWN, LesionBox, rim_evidence, unexplained_ppb
from bids_qsmthal.roi.rims import RimRule, rim_probability, rim_shape, shells_of
from bids_qsmthal.roi.uncertainty import Mean, mean, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.morphology import VoxelSize

WHITE = 0.9
"""Of a voxel that counts as white matter: a tenth of cortex, some 30 ppb above it, moves it by 3
ppb, the noise of a voxel."""

CLEAR_MM = 3.0
"""Normal-appearing white matter keeps so far from any lesion: its border is uncertain by a voxel of
FLAIR, and susceptibility is blurred."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionImages:
    """What lesions are measured from, all of shape (x, y, z) on the grid of the gradient echo.

    Attributes
    ----------
    labels
        Number of each lesion, 0 for none.
    chi_ppb, r2star_hz
        The maps; ``r2star_hz`` is None for a single echo.
    usable
        Where susceptibility was reconstructed.
    veins, white, reference
        Veins, white matter (lesions in it do not count), and the CSF reference.
    unexplained_ppb
        The local field, relative to B0, less that of the map (``rim_field.unexplained_ppb``).
    noise_ppb
        Standard deviation of the field, infinite where it is not believed.
    b0_direction
        Unit vector of B0 in the frame of the arrays.
    """

    labels: NDArray[np.int32]
    chi_ppb: Array
    usable: Mask
    veins: Mask
    white: Mask
    reference: Mask
    voxel_size_mm: VoxelSize
    unexplained_ppb: Array
    noise_ppb: Array
    b0_direction: tuple[float, float, float]
    r2star_hz: Array | None = None

    @property
    def normal_white(self) -> Mask:
        """White matter away from lesions and veins."""
        near = distance_mm(self.labels != 0, self.voxel_size_mm) < CLEAR_MM
        normal: Mask = self.white & self.usable & ~self.veins & ~near
        return normal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionScan:
    """Lesions and white matter on the grid of T1w, and the maps they are measured in.

    Attributes
    ----------
    labels
        Number of each lesion, on the grid of T1w.
    white
        Probability of white matter, same grid.
    gre_to_t1w
        4x4 matrix from a RAS world point (mm) of the gradient echo to the world of T1w.
    chi_ppm, r2star_hz
        The maps; ``r2star_hz`` is None for a single echo.
    field_ppm, noise_ppm
        Local field relative to B0, and its standard deviation, infinite where it is not believed;
        same grid.
    usable, veins, reference
        Masks on the grid of the maps, any value above 0.
    """

    labels: Image
    white: Image
    gre_to_t1w: Affine
    chi_ppm: Image
    field_ppm: Image
    noise_ppm: Image
    usable: Image
    veins: Image
    reference: Image
    r2star_hz: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionIron:
    """Iron in lesions.

    Attributes
    ----------
    labels
        Number of each lesion on the grid of the gradient echo, int32; one that fills no voxel by
        half is not there.
    table
        See ``lesion_iron``.
    normal_white_ppb
        Susceptibility of normal-appearing white matter, as the map has it.
    csf_ppb
        That of the CSF reference.
    normal_white_r2star_hz
        NaN for a single echo.
    """

    labels: Image
    table: pd.DataFrame
    normal_white_ppb: Mean
    csf_ppb: Mean
    normal_white_r2star_hz: float


def measured_lesions(scan: LesionScan, *, rule: RimRule) -> LesionIron:
    """Carry lesions to the gradient echo and measure them there."""
    chi, echo = scan.chi_ppm, scan.r2star_hz
    white = resample(scan.white, chi, world=scan.gre_to_t1w).data
    finite = np.isfinite(chi.data) & (np.isfinite(echo.data) if echo is not None else True)
    usable = (scan.usable.data > 0) & finite
    chi_ppb = np.where(usable, 1e3 * chi.data, 0).astype(np.float32)
    images = LesionImages(
        labels=carried(scan.labels, chi, scan.gre_to_t1w),
        chi_ppb=chi_ppb,
        usable=usable,
        veins=scan.veins.data > 0,
        white=white > WHITE,
        reference=scan.reference.data > 0,
        voxel_size_mm=chi.grid.voxel_size_mm,
        unexplained_ppb=unexplained_ppb(chi_ppb, 1e3 * scan.field_ppm.data, usable, chi.grid),
        noise_ppb=1e3 * scan.noise_ppm.data,
        b0_direction=chi.grid.b0_direction,
        r2star_hz=None if echo is None else echo.data,
    )
    normal = images.normal_white
    return LesionIron(
        labels=chi.like(images.labels),
        table=lesion_iron(images, rule=rule),
        normal_white_ppb=plain(images.chi_ppb, normal),
        csf_ppb=plain(images.chi_ppb, images.reference & usable),
        normal_white_r2star_hz=float("nan") if echo is None else plain(echo.data, normal).value,
    )


def carried(labels: Image, onto: Image, world: Affine) -> NDArray[np.int32]:
    """Return the number of each lesion on another grid.

    A voxel is lesion where half of it is, which keeps the volume of lesions in thick slices, and
    has the number that its centre is nearest to.
    """
    share = transfer.fraction(labels.like(labels.data > 0), onto, world=world)
    numbers: NDArray[np.int32] = resample(labels, onto, world=world, order=0).data
    if share is None or not numbers.any():
        return np.zeros(onto.shape, np.int32)
    places = ndimage.distance_transform_edt(
        numbers == 0, onto.grid.voxel_size_mm, return_distances=False, return_indices=True
    )
    return np.where(share.on(onto) >= 0.5, numbers[tuple(places)], 0).astype(np.int32)


MARKED_SHARE = 0.1
"""Of a lesion that a reader's mask of rims must cover: a shell of one voxel is a fifth of a large
lesion and more of a small one; less is a stroke that went over the border of a neighbour."""


def marked(labels: NDArray[np.int32], mask: Mask) -> NDArray[np.int_]:
    """Return the numbers of the lesions that a mask covers by a tenth or more."""
    whole = np.bincount(labels.ravel())
    covered = np.bincount(labels[mask], minlength=whole.size)
    # Number 0 is no lesion.
    return np.flatnonzero(covered[1:] > MARKED_SHARE * np.maximum(whole[1:], 1)) + 1


def lesion_iron(images: LesionImages, *, rule: RimRule) -> pd.DataFrame:
    """Return one row per lesion, by its number.

    Columns: ``id``; ``n_voxels`` that count; ``lost_share`` outside the map and ``vein_share`` of
    veins in it; ``chi_sd_ppb``; ``chi_relative_nawm_ppb`` and ``chi_relative_csf_ppb`` with
    ``_se``; ``r2star_hz``; ``rim_minus_core_ppb``; ``rim_surrounded_ppb``, ``rim_closed`` and
    ``rim_evidence``, from which ``rim_probability`` is made (missing in lesions too small for a
    rim); ``rim_visible_ppb``, the strength from which the field would show one. Standard errors
    hold noise and unevenness inside the lesion and in what it is compared with; what the chain
    itself errs is not in them. A number that cannot be known is missing.
    """
    compared = images.normal_white
    normal = plain(images.chi_ppb, compared)
    csf = mean(images.chi_ppb, images.reference & images.usable, images.voxel_size_mm)
    tissue = images.white & (images.labels == 0)
    margin = margin_voxels(rule.field.margin_mm, images.voxel_size_mm)
    rows = []
    for number, crop in around_each(images.labels, margin=margin):
        box = crop.slices
        part = LesionImages(
            labels=np.where(images.labels[box] == number, number, 0).astype(np.int32),
            chi_ppb=images.chi_ppb[box],
            usable=images.usable[box],
            veins=images.veins[box],
            white=tissue[box],
            reference=images.reference[box],
            voxel_size_mm=images.voxel_size_mm,
            unexplained_ppb=images.unexplained_ppb[box],
            noise_ppb=images.noise_ppb[box],
            b0_direction=images.b0_direction,
            r2star_hz=None if images.r2star_hz is None else images.r2star_hz[box],
        )
        rows.append({"id": number} | _numbers(part, normal, csf) | _rim(part, rule))
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = [
    *("id", "n_voxels", "lost_share", "vein_share", "chi_sd_ppb"),
    *("chi_relative_nawm_ppb", "chi_relative_nawm_ppb_se"),
    *("chi_relative_csf_ppb", "chi_relative_csf_ppb_se"),
    *("r2star_hz", "rim_minus_core_ppb"),
    *("rim_surrounded_ppb", "rim_closed", "rim_evidence", "rim_visible_ppb", "rim_probability"),
]


def _numbers(images: LesionImages, normal: Mean, csf: Mean) -> dict[str, float]:
    lesion = images.labels > 0
    counted = lesion & images.usable & ~images.veins
    own = mean(images.chi_ppb, counted, images.voxel_size_mm)
    own_error = _standard_error(own, normal)
    decay = images.r2star_hz
    return {
        "n_voxels": own.count,
        "lost_share": float(np.mean(~images.usable[lesion])),
        "vein_share": float(np.mean((images.veins & images.usable)[lesion])),
        "chi_sd_ppb": own.sd,
        "chi_relative_nawm_ppb": own.value - normal.value,
        # White matter of a whole head: its mean errs by far less than that of a lesion.
        "chi_relative_nawm_ppb_se": own_error,
        "chi_relative_csf_ppb": own.value - csf.value,
        "chi_relative_csf_ppb_se": float(np.hypot(own_error, csf.standard_error)),
        "r2star_hz": np.nan
        if decay is None or not counted.any()
        else float(decay[counted].mean(dtype=np.float64)),
    }


def _standard_error(own: Mean, normal: Mean) -> float:
    """Return the standard error of a lesion's mean in ppb.

    The few voxels of a small lesion may agree by chance, so they are taken to spread at least as
    much as those of normal-appearing white matter.
    """
    if own.count < 1:
        return float("nan")
    if not own.sd > 0:
        return normal.sd / float(np.sqrt(own.count))
    return own.standard_error * max(1.0, normal.sd / own.sd)


def _rim(images: LesionImages, rule: RimRule) -> dict[str, float]:
    clear = images.usable & ~images.veins
    shells = shells_of(
        images.labels > 0, images.chi_ppb, clear, images.white, images.voxel_size_mm, rule=rule
    )
    shape = None if shells is None else rim_shape(shells, rule=rule)
    field = UNKNOWN if shape is None else rim_evidence(_field_box(images), rule=rule.field)
    return {
        "rim_minus_core_ppb": np.nan if shape is None else shape.above_core_ppb,
        "rim_surrounded_ppb": np.nan if shape is None else shape.surrounded_ppb,
        "rim_closed": np.nan if shape is None else shape.closed,
        "rim_evidence": field.log_ratio,
        "rim_visible_ppb": field.visible_ppb,
        "rim_probability": rim_probability(shape, field.log_ratio, rule=rule),
    }


def _field_box(images: LesionImages) -> LesionBox:
    x, y, z = images.labels.shape
    return LesionBox(
        lesion=images.labels > 0,
        tissue=images.white,
        chi_ppb=images.chi_ppb,
        # Veins are explained, not left out: their field reaches into the lesion.
        usable=images.usable,
        unexplained_ppb=images.unexplained_ppb,
        noise_ppb=images.noise_ppb,
        grid=Grid((x, y, z), images.voxel_size_mm, images.b0_direction),
    )
