"""What a gradient-echo scan is made of: tissue on a fine grid, and the field in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import rescaled, starting_at, with_origin
from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.qsm import Grid
from bids_qsmthal.simulate.compositions import compositions, sampled
from bids_qsmthal.simulate.envelope import DURA_MM
from bids_qsmthal.simulate.fields import dipole_field, shimmed, upsampled
from bids_qsmthal.simulate.poses import finer
from bids_qsmthal.simulate.signals import spoiled_gradient_echo
from bids_qsmthal.simulate.tissues import (
    NAMES,
    ROW,
    VEIN_CHI_PPM,
    property_of,
    r2star_at_hz,
    t1_at_s,
    vein_r2star_hz,
)
from bids_qsmthal.simulate.veins import vein_fraction

if TYPE_CHECKING:
    from bids_qsmthal.simulate.compositions import Chunk, Inner
    from bids_qsmthal.simulate.head_model import Head
    from bids_qsmthal.simulate.parameters import Protocol
    from bids_qsmthal.simulate.sources import TissueSources

Float = NDArray[np.float32]

FAT_LEFT: Final = 0.15
"""Fraction of the fat signal that water-selective excitation leaves. Its chemical shift is not
simulated; unsuppressed, a scalp twice as bright as the brain would ring across it."""

BACKGROUND_STEP_MM: Final = 2.0
BACKGROUND_SHAPE: Final = (144, 160, 192)
"""Grid of the background field: the head, air around it, and neck below it."""

# Brain, lesions, plexus and fluid: what lies inside the dura makes the local field.
LOCAL_ROWS: Final = tuple(
    NAMES.index(name)
    for name in NAMES
    if name not in ("dura", "skull", "marrow", "fat", "muscle", "eye", "mucosa", "air")
)


@dataclass(frozen=True, slots=True, eq=False)
class FineModel:
    """Tissue on the fine grid of a gradient-echo scan, raveled masks as bool (x, y, z).

    Attributes
    ----------
    image
        Any array with the fine grid's affine (voxel to world).
    chi_ppm, r2star_hz, spin_density
        Of brain and veins; the spin density holds T1 weighting, white matter is 1.
    brain, ventricle, atria, plexus, lesion
        Where most of a voxel is this.
    plexus_trace
        Where there is any choroid plexus, calcified or not.
    deep
        Labels of ``DEEP_LABELS``.
    vein
        Fraction of veins.
    iron_ppm
        The paramagnetic source alone, where sources are simulated apart.
    """

    affine: Affine
    chi_ppm: Float
    r2star_hz: Float
    spin_density: Float
    brain: NDArray[np.bool_]
    ventricle: NDArray[np.bool_]
    atria: NDArray[np.bool_]
    plexus: NDArray[np.bool_]
    plexus_trace: NDArray[np.bool_]
    lesion: NDArray[np.bool_]
    deep: NDArray[np.uint8]
    vein: Float
    iron_ppm: Float | None = None

    @property
    def grid(self) -> Grid:
        """The fine grid, with B0."""
        return Image(self.chi_ppm, self.affine).grid


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """Frequency offsets on the fine grid, Hz: from brain and veins, and of everything."""

    local_hz: Float
    total_hz: Float


def fine_model(
    head: Head,
    pose: Affine,
    affine: Affine,
    protocol: Protocol,
    sources: TissueSources | None = None,
) -> FineModel:
    """Sample the head on the fine grid of a scan.

    Parameters
    ----------
    head, pose
        The participant, and head to world of the scan.
    affine
        Voxel to world of the images.
    protocol
        Shape, oversampling, repetition time and flip angle.
    sources
        Iron of each tissue, and the R2* that goes with it; those of the plain tissues by default.
    """
    fine = finer(affine, protocol.oversampling)
    x, y, z = (n * f for n, f in zip(protocol.shape, protocol.oversampling, strict=True))
    shape = (x, y, z)
    to_head = np.linalg.inv(pose) @ fine
    floats = {name: np.zeros(shape, np.float32) for name in ("chi", "r2star", "density")}
    masks = {
        name: np.zeros(shape, np.bool_)
        for name in ("brain", "ventricle", "atria", "plexus", "plexus_trace", "lesion")
    }
    deep = np.zeros(shape, np.uint8)
    weights = _tissue_weights(head, protocol, sources)
    iron = None if sources is None else np.zeros(shape, np.float32)
    # Texture belongs to the head and not to the scan: every scan of a person shows the same.
    texture = sampled(head.texture, to_head, shape).reshape(-1)
    for chunk in compositions(head, to_head, shape):
        chi, r2star, density, positive = weights @ chunk.fractions
        # T1 weighting is mixed per voxel of the fine grid, dephasing arises between its voxels when
        # k-space is cut.
        floats["density"].reshape(-1)[chunk.flat] = density
        floats["r2star"].reshape(-1)[chunk.flat] = r2star
        if chunk.inner is None:
            continue
        # Added before the veins: blood is as uniform as the model of its oxygenation.
        variation = _chi_variation_ppm(chunk, chunk.inner, texture[chunk.flat])
        chi += variation
        if iron is not None:
            iron.reshape(-1)[chunk.flat] = positive + variation
        floats["chi"].reshape(-1)[chunk.flat] = chi
        deep.reshape(-1)[chunk.flat] = chunk.inner.labels()
        found = chunk.masks() | {"brain": chunk.fractions[ROW["dura"] :].sum(axis=0) < 0.5}
        for name, mask in masks.items():
            mask.reshape(-1)[chunk.flat] = found[name]
    vein = vein_fraction(head.veins, to_head, shape)
    floats["chi"] += vein * (np.float32(VEIN_CHI_PPM) - floats["chi"])
    if iron is not None:
        iron += vein * (np.float32(VEIN_CHI_PPM) - iron)
    # Blood keeps the density of the tissue around it: inflow is not simulated.
    vein_hz = np.float32(vein_r2star_hz(protocol.acquisition.effective_field_t))
    floats["r2star"] += vein * (vein_hz - floats["r2star"])
    return FineModel(
        affine=fine,
        chi_ppm=floats["chi"],
        r2star_hz=floats["r2star"],
        spin_density=floats["density"],
        deep=deep,
        vein=vein,
        iron_ppm=iron,
        **masks,
    )


def _tissue_weights(head: Head, protocol: Protocol, sources: TissueSources | None) -> Float:
    """Rows: susceptibility of the brain (ppm), R2* (1/s), signal at TE = 0, iron (ppm).

    One column a tissue.
    """
    chi = np.zeros(len(NAMES), np.float32)
    chi[list(LOCAL_ROWS)] = head.chi_ppb[list(LOCAL_ROWS)] / 1000
    field_t = protocol.acquisition.effective_field_t
    signal = property_of("proton_density") * spoiled_gradient_echo(
        t1_at_s(field_t),
        repetition_time_s=protocol.repetition_time_s,
        flip_angle_deg=protocol.flip_angle_deg,
    )
    signal[[ROW["fat"], ROW["marrow"]]] *= FAT_LEFT
    r2star, iron = r2star_at_hz(field_t), np.zeros_like(chi)
    if sources is not None:
        r2star = sources.r2star_at_hz(field_t)
        iron[list(LOCAL_ROWS)] = sources.iron_ppb[list(LOCAL_ROWS)] / 1000
    rows = [chi, r2star, signal / signal[ROW["white"]], iron]
    return np.stack(rows).astype(np.float32)


def _chi_variation_ppm(chunk: Chunk, inner: Inner, texture: Float) -> Float:
    """Return what the nuclei and the unevenness of tissue add: 6 ppb in gray, 4 in white matter."""
    nuclei = chunk.fraction("thalamus", "thalamus_lateral") * inner.thalamus_offset_ppb
    uneven = 6 * chunk.fraction("gray") + 4 * chunk.fraction("white")
    return np.asarray((nuclei + uneven * texture) / 1000, np.float32)


def fields(head: Head, pose: Affine, model: FineModel, centre_frequency_hz: float) -> Fields:
    """Return the field of brain and veins, and that of the whole head after shimming."""
    hz_per_ppm = np.float32(centre_frequency_hz * 1e-6)
    # Zero susceptibility outside the dura: the local field has no other source.
    local = dipole_field(model.chi_ppm, model.grid) * hz_per_ppm
    total = background_field_ppm(head, pose, model) * hz_per_ppm
    total += local
    return Fields(local, shimmed(total, model.brain, model.grid))


def background_field_ppm(head: Head, pose: Affine, model: FineModel) -> Float:
    """Return the field of head against air, with its bones, fat and cavities, on the fine grid.

    Everything is counted from air, which fills the rest of space; the brain enters as water.
    """
    size_mm = np.array(model.grid.voxel_size_mm)
    coarse = rescaled(model.affine, BACKGROUND_STEP_MM / size_mm)
    # The middle of this grid: under the middle of the brain, as there is more head below.
    middle = (pose @ (0.0, -18.0, -60.0, 1.0))[:3]
    # Parallel to the scan's grid, so that B0 has one direction in both and the field can be
    # upsampled axis by axis.
    affine = starting_at(with_origin(coarse, middle), -(np.array(BACKGROUND_SHAPE) - 1) / 2)
    chi = background_susceptibility_ppm(head, np.linalg.inv(pose) @ affine)
    # More padding than for the brain: the head is a hundred times stronger, and so are its periodic
    # images.
    field = dipole_field(chi, Image(chi, affine).grid, padding=1.5)
    start = (np.linalg.inv(affine) @ model.affine[:, 3])[:3]
    return upsampled(field, model.grid.shape, size_mm / BACKGROUND_STEP_MM, start)


def background_susceptibility_ppm(head: Head, to_head: Affine) -> Float:
    """Return bones, fat, cavities and head against air, on a grid that ``to_head`` leads from."""
    chi = np.zeros(BACKGROUND_SHAPE, np.float32)
    excess_ppm = property_of("chi_ppb") / 1000
    # Brain tissue enters as water here; what it differs by makes the local field.
    excess_ppm[list(LOCAL_ROWS)] = 0.0
    excess_ppm -= excess_ppm[ROW["air"]]
    for chunk in compositions(head, to_head, BACKGROUND_SHAPE):
        chi.reshape(-1)[chunk.flat] = excess_ppm @ chunk.fractions
    # One voxel of smoothing ends the ringing of sharp edges in the discrete transform. It smooths
    # the field by as much, which changes nothing where the field is harmonic ...
    chi = ndimage.gaussian_filter(chi, 1.0)
    # ... but no source may reach into the brain: it would be neither background nor brain.
    depth = sampled(head.envelope.depth, to_head, BACKGROUND_SHAPE)
    outside = np.clip((depth - DURA_MM) / BACKGROUND_STEP_MM, 0, 1)
    water_ppm = excess_ppm[ROW["csf"]]
    chi = water_ppm + (chi - water_ppm) * outside
    return np.asarray(chi, dtype=np.float32)
