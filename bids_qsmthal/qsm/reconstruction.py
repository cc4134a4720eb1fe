"""The chain from the complex signal to susceptibility."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import (
    BrainLostToBackground,
    InversionNotConverged,
    NoVentricularCsf,
    OneEcho,
    ScanWarning,
)
from bids_qsmthal.qsm.background import Background, JointDipoleFields, outliers
from bids_qsmthal.qsm.csf import CsfReference, GlobalCsf, deeper
from bids_qsmthal.qsm.device import moved
from bids_qsmthal.qsm.field import ComplexFit
from bids_qsmthal.qsm.fluid import Fluid, SlowDecay
from bids_qsmthal.qsm.inversion import Inversion, Medi, SusceptibilityMap
from bids_qsmthal.qsm.measurement import Measurement
from bids_qsmthal.qsm.operators import transforms_on_all_threads
from bids_qsmthal.qsm.relaxation import Relaxation, WeightedExponential

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.acquisition import Acquisition
    from bids_qsmthal.qsm.background import LocalField
    from bids_qsmthal.qsm.device import Device
    from bids_qsmthal.qsm.field import FieldMap

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """Every choice of the chain.

    Attributes
    ----------
    fitting
        Complex signal to total field, with its unwrapping.
    relaxation
        Magnitude to R2*.
    background
        Total to local field.
    fluid
        Echoes to the voxels that decay as slowly as fluid.
    csf
        Of these the CSF that is the zero reference.
    inversion
        Local field to susceptibility.
    most_residual_rad
        Voxels whose phase misfits the line over the echoes by more than this lose their weight.
    most_excess
        So do voxels whose misfit is this many times what noise explains.
    """

    fitting: ComplexFit = field(default_factory=ComplexFit)
    relaxation: Relaxation = field(default_factory=WeightedExponential)
    background: Background = field(default_factory=JointDipoleFields)
    fluid: SlowDecay = field(default_factory=SlowDecay)
    csf: CsfReference = field(default_factory=GlobalCsf)
    inversion: Inversion = field(default_factory=Medi)
    most_residual_rad: float = 0.3
    most_excess: float = 3.0

    def on(self, device: Device) -> Reconstruction:
        """Return the same choices with background removal and inversion on a device."""
        return moved(self, device)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """What comes out, all on the grid of the scan, shape (x, y, z), never NaN.

    Attributes
    ----------
    chi_ppm
        Susceptibility; zero outside ``mask``. Its own zero is about the mean of the mask, also
        with MEDI+0, which keeps CSF uniform but moves nothing.
    local_field_hz, total_field_hz
        Field of the sources inside the mask, and of everything; the local field is zero also
        where the echoes do not agree with one frequency.
    noise
        Standard deviation of ``total_field_hz`` in Hz; zero outside the mask and where unknown.
    r2star_hz
        R2* in 1/s; all zero for a single echo.
    mask
        Where susceptibility was reconstructed.
    csf_mask
        The zero reference of MEDI+0; empty where it was not used.
    quality
        Figures for the measures table and the report.
    converged
        Whether every iterative step did.
    warnings
        What the user must know.
    offset
        How the phase at echo time zero was modelled; see ``field.FieldMap``.
    noise_ppm
        Standard deviation of the total field where it is believed, infinite elsewhere.
    sound
        The mask that background removal was given.
    """

    chi_ppm: Array
    local_field_hz: Array
    total_field_hz: Array
    noise: Array
    r2star_hz: Array
    mask: Mask
    csf_mask: Mask
    quality: dict[str, float]
    converged: bool
    warnings: tuple[ScanWarning, ...]
    offset: str
    noise_ppm: Array
    sound: Mask

    def local_field_ppm(self, acquisition: Acquisition) -> Array:
        """Return the local field relative to B0."""
        field: Array = self.local_field_hz * _ppm_per_hz(acquisition)
        return field

    def measurement(self, magnitude: Array, acquisition: Acquisition) -> Measurement:
        """Return the total field as it was before any background was removed.

        With it ``variants`` need no second fit. ``magnitude`` of the echoes, finite, shape
        (x, y, z, echo).
        """
        return Measurement(
            field_ppm=self.total_field_hz * _ppm_per_hz(acquisition),
            noise_ppm=self.noise_ppm,
            magnitude=_combined(magnitude),
            mask=self.sound,
            csf=self.csf_mask,
        )


def reconstruct(  # noqa: PLR0913 - a scan, where it is, and what else is known
    magnitude: Array,
    phase_rad: Array,
    mask: Mask,
    grid: Grid,
    acquisition: Acquisition,
    *,
    settings: Reconstruction | None = None,
    fluid_probability: Array | None = None,
) -> Maps:
    """Return susceptibility and everything on the way to it.

    Parameters
    ----------
    magnitude, phase_rad
        Signal of each echo, shape (x, y, z, echo); phase grows with a positive frequency offset
        (see ``phase.corrected``). Voxels that are not finite count as not measured.
    mask
        The brain, shape (x, y, z).
    grid
        Sampling and direction of B0.
    acquisition
        Echo times and field strength.
    settings
        The choices; the defaults are the ones that were measured best.
    fluid_probability
        Of each voxel by T1w, 0 to 1, shape (x, y, z): the CSF of the reference must be fluid there
        as well.

    Raises
    ------
    DataError
        If shapes disagree or the mask is empty.
    """
    chosen = settings or Reconstruction()
    seen = observe(
        *(magnitude, phase_rad, mask, grid, acquisition),
        settings=chosen,
        fluid_probability=fluid_probability,
    )
    total, ppm_per_hz = seen.total, seen.ppm_per_hz
    local, found, wild = solved(seen.field, grid, chosen)
    trusted = seen.field.believed & ~wild
    return Maps(
        chi_ppm=found.chi_ppm,
        local_field_hz=np.where(trusted, local.field_ppm / ppm_per_hz, 0).astype(np.float32),
        total_field_hz=total.frequency_hz,
        noise=np.where(np.isfinite(total.noise_hz), total.noise_hz, 0).astype(np.float32),
        r2star_hz=seen.r2star_hz,
        mask=local.mask,
        csf_mask=seen.field.csf,
        quality=_quality(total, trusted, mask, local.mask)
        | _noise_in_ppb(total, trusted, ppm_per_hz)
        | _fluid_figures(seen, grid)
        | bone_at_rim(found.chi_ppm, local.mask, grid)
        | {"medi_iterations": float(found.iterations)},
        converged=local.converged and found.converged,
        warnings=_warnings(mask, local.mask, acquisition, found, seen.field.csf),
        offset=total.offset,
        noise_ppm=seen.field.noise_ppm,
        sound=seen.field.mask,
    )


class Observed(NamedTuple):
    """What a scan says before anything is taken away from its field."""

    total: FieldMap
    r2star_hz: Array
    field: Measurement
    ppm_per_hz: np.float32
    fluid: Fluid


def observe(  # noqa: PLR0913 - a scan, where it is, and what else is known
    magnitude: Array,
    phase_rad: Array,
    mask: Mask,
    grid: Grid,
    acquisition: Acquisition,
    *,
    settings: Reconstruction,
    fluid_probability: Array | None = None,
) -> Observed:
    """Return the total field with what is known of it; see ``reconstruct`` for the arguments."""
    _check(magnitude, phase_rad, mask, grid, acquisition)
    magnitude, phase_rad = finite(magnitude, phase_rad)
    # Scanners write zero where they masked: such an echo has no phase.
    measured = mask & (magnitude > 0).all(axis=-1)
    if not measured.any():
        raise DataError("No voxel of the mask has signal in every echo; check magnitude and mask.")
    total = settings.fitting(magnitude, phase_rad, measured, grid, acquisition)
    r2star = settings.relaxation(magnitude, measured, acquisition.echo_times_s)
    trusted = _trusted(total, measured, settings)
    if not trusted.any():
        raise DataError(
            "In no voxel does the phase follow one frequency over the echoes: check the echo "
            "times, and that magnitude and phase are from one scan; leave the scan out if the "
            "head moved."
        )
    fluid = Fluid(np.zeros_like(trusted), 0.0, 0.0, 0.0)
    # One echo has no R2*, and without a noise level the rate of mistakes is unknown.
    if len(acquisition.echo_times_s) > 1 and trusted.any() and total.snr > 0:
        fluid = settings.fluid(
            *(magnitude, trusted, grid, acquisition.echo_times_s),
            noise=_noise(magnitude, measured, total),
            relaxation=settings.relaxation,
            r2star_hz=r2star,
            fluid_probability=fluid_probability,
        )
    # Only where the phase is believed: an outlier in the reference would shift the zero.
    csf = settings.csf(fluid.mask, trusted, grid)
    # Field in ppm is free of the field strength: lambda and limits mean the same at 1.5, 3 and 7 T.
    ppm_per_hz = _ppm_per_hz(acquisition)
    # A misfit beyond the noise is noise, too: the model does not hold in that voxel.
    noise_hz = np.where(trusted, total.noise_hz * np.maximum(total.reduced_residual, 1), np.inf)
    seen = Measurement(
        field_ppm=total.frequency_hz * ppm_per_hz,
        noise_ppm=(noise_hz * ppm_per_hz).astype(np.float32),
        magnitude=_combined(magnitude),
        mask=_sound(trusted, measured),
        csf=csf,
    )
    return Observed(total, r2star, seen, ppm_per_hz, fluid)


def _ppm_per_hz(acquisition: Acquisition) -> np.float32:
    return np.float32(1e6 / acquisition.centre_frequency_hz)


def _combined(magnitude: Array) -> Array:
    # Root sum of squares over the echoes: edges of short and of long T2* both show in it.
    combined: Array = np.sqrt(np.einsum("xyze,xyze->xyz", magnitude, magnitude))
    return combined


def _noise(magnitude: Array, measured: Mask, total: FieldMap) -> float:
    """Return the standard deviation of one channel of the complex signal, as the fit found it.

    ``total.snr`` is the median strength of these voxels over that noise: the same voxels undo it.
    """
    strength = np.sqrt(np.einsum("ve,ve->v", magnitude[measured], magnitude[measured]))
    return float(np.median(strength)) / total.snr


def solved(
    total: Measurement, grid: Grid, chosen: Reconstruction
) -> tuple[LocalField, SusceptibilityMap, Mask]:
    """Return local field, susceptibility, and the voxels whose local field was too strong."""
    with transforms_on_all_threads():
        local = chosen.background(total, grid)
        seen = total._replace(field_ppm=local.field_ppm, mask=local.mask)
        # Once more: removing the background shows errors that were hidden in a strong field.
        wild = outliers(local.field_ppm, seen)
        return local, chosen.inversion(seen.without(wild), grid), wild


def _check(
    magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, acquisition: Acquisition
) -> None:
    """Refuse arrays that do not belong together."""
    wanted = (*grid.shape, len(acquisition.echo_times_s))
    for name, found in (("magnitude", magnitude.shape), ("phase", phase_rad.shape)):
        if found != wanted:
            raise DataError(
                f"The {name} has shape {found}, but the grid and the {wanted[3]} echo times "
                f"require {wanted}; check that every echo was given."
            )
    if mask.shape != grid.shape or not mask.any():
        raise DataError(
            f"The brain mask has shape {mask.shape} and {int(mask.sum())} voxels, but the scan "
            f"has shape {grid.shape}; check the mask."
        )


def finite(magnitude: Array, phase_rad: Array) -> tuple[Array, Array]:
    """Return contiguous float32 arrays; voxels that are not finite get no signal."""
    good = np.isfinite(magnitude) & np.isfinite(phase_rad)
    if good.all():
        return (
            np.ascontiguousarray(magnitude, np.float32),
            np.ascontiguousarray(phase_rad, np.float32),
        )
    return (
        np.where(good, magnitude, 0).astype(np.float32),
        np.where(good, phase_rad, 0).astype(np.float32),
    )


def _trusted(total: FieldMap, mask: Mask, chosen: Reconstruction) -> Mask:
    """Return the voxels whose echoes agree with one frequency."""
    misfit = total.residual > chosen.most_residual_rad
    # Many times the noise is nothing at high SNR: 0.1 rad must be exceeded as well.
    misfit |= (total.reduced_residual > chosen.most_excess) & (total.residual > 0.1)
    trusted: Mask = mask & ~misfit & np.isfinite(total.noise_hz)
    return trusted


def _sound(trusted: Mask, measured: Mask) -> Mask:
    """Return the mask without the rim whose echoes disagree; holes inside stay.

    At the rim the field of such voxels is anybody's guess: it spoils every ball of the SHARP family
    and LBV's boundary. A hole has measured neighbours all round.
    """
    if not trusted.any():
        return measured
    # Holes in three dimensions: an outlier that touches the outside is a part of the rim.
    sound: Mask = measured & ndimage.binary_fill_holes(trusted)
    return sound


def _quality(total: FieldMap, trusted: Mask, brain: Mask, kept: Mask) -> dict[str, float]:
    """Return figures of merit."""
    inside = brain & (total.residual > 0)
    voxels = float(brain.sum())
    noise = total.noise_hz[trusted]
    # Two voxels: what dura and partial volume take first.
    rim = brain & ~ndimage.binary_erosion(brain, iterations=2)
    lost = brain & ~(kept & trusted)
    return {
        "snr": total.snr,
        "field_noise_hz": float(np.median(noise)) if noise.size else float("inf"),
        "residual_rad": float(np.median(total.residual[inside])) if inside.any() else 0.0,
        "outlier_fraction": float((brain & ~trusted).sum()) / voxels,
        "mask_lost_fraction": float((brain & ~kept).sum()) / voxels,
        "rim_lost_fraction": float((lost & rim).sum()) / max(float(rim.sum()), 1.0),
    }


def _noise_in_ppb(total: FieldMap, trusted: Mask, ppm_per_hz: np.float32) -> dict[str, float]:
    """Return the noise of the field as a shift in ppb, which compares at all field strengths."""
    noise = total.noise_hz[trusted]
    if not noise.size:
        return {}
    return {"field_noise_ppb": 1e3 * float(ppm_per_hz) * float(np.median(noise))}


def _fluid_figures(seen: Observed, grid: Grid) -> dict[str, float]:
    """Return how much CSF the zero reference holds, and how pure it is; see ``fluid``."""
    voxels = float(seen.field.csf.sum())
    found = {"csf_voxels": voxels, "csf_mm3": voxels * grid.voxel_volume_mm3}
    # What is empty is neither pure nor impure.
    return found | ({"csf_purity": seen.fluid.purity} if voxels else {})


LEAST_OF_BRAIN_PPM = -0.2
"""Against the median of the brain: myelin reaches -0.05, and only bone (-2) and calcification lie
below."""

RIM_MM = 2.0


def bone_at_rim(chi_ppm: Array, mask: Mask, grid: Grid) -> dict[str, float]:
    """Return the share of the outermost 2 mm, or voxel, that is too diamagnetic for brain.

    A mask that holds bone has strong sources inside, whose field no background removal may take
    away: the inversion finds bone there, and what it makes of the rest bends all of the map.
    """
    rim = mask & ~deeper(mask, grid, max(RIM_MM, *grid.voxel_size_mm))
    if not rim.any():
        return {}
    bone = chi_ppm[rim] < np.float32(np.median(chi_ppm[mask]) + LEAST_OF_BRAIN_PPM)
    return {"rim_bone_share": float(bone.mean())}


def _warnings(
    brain: Mask, kept: Mask, acquisition: Acquisition, found: SusceptibilityMap, csf: Mask
) -> tuple[ScanWarning, ...]:
    """Return what the user must know."""
    warnings: list[ScanWarning] = []
    if len(acquisition.echo_times_s) == 1:
        warnings.append(OneEcho())
    elif not csf.any():
        warnings.append(NoVentricularCsf())
    lost = 1 - float(kept.sum()) / float(brain.sum())
    if lost > 0.1:
        warnings.append(BrainLostToBackground(lost))
    if not found.converged:
        warnings.append(InversionNotConverged())
    return tuple(warnings)
