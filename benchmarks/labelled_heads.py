"""Heads of real people from label maps, as what the gradient echo of the simulator samples.

The simulator warps one atlas, so its heads share an anatomy. A label map with the numbers of
FreeSurfer inside the brain and those of charm outside (as SynthSeg's training heads, Billot 2023,
doi 10.1016/j.media.2023.102789) has one of its own: folds, ventricles, air cells, bone. Veins are
not labelled there and so are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from scipy import ndimage

from bids_qsmthal import simulate
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate.compositions import DEEP_LABELS, FREESURFER
from bids_qsmthal.simulate.echoes import Scene
from bids_qsmthal.simulate.fields import dipole_field, shimmed
from bids_qsmthal.simulate.gradient_echo import FineModel
from bids_qsmthal.simulate.poses import finer, rigid, scan_affine
from bids_qsmthal.simulate.signals import spoiled_gradient_echo
from bids_qsmthal.simulate.tissues import NAMES, ROW, property_of, r2star_at_hz, t1_at_s

TISSUE_OF: Final = {
    "white": (2, 41, 7, 46, 28, 60, 77, 85),
    "gray": (3, 42, 8, 47, 30, 62),
    "csf": (4, 43, 5, 44, 14, 15, 24),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51, 26, 58),
    "pallidum_external": (13, 52),
    "brainstem": (16, 512),
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "lesion": (25, 57),
    "plexus": (31, 63),
    "eye": (506,),
    "muscle": (502, 507, 508, 511, 514),
    "mucosa": (509,),
    "skull": (515,),
    "marrow": (516,),
    "air": (0,),
}
"""What each label is made of; ventral diencephalon counts as white, accumbens as putamen."""

LATERAL_VENTRICLES: Final = (4, 43)
LAST_OF_BRAIN: Final = 500
"""FreeSurfer's numbers lie below, those of the head above."""

ATRIUM_MM: Final = 22.0
"""So far behind the thalami a lateral ventricle is atrium, farther it is occipital horn."""

BACKGROUND_STEP_MM: Final = 2.0
BACKGROUND_SHAPE: Final = (136, 136, 144)
TEXTURE_STEP_MM: Final = 6.0


def labelled_scene(path: Path, person: simulate.Parameters, seed: int) -> tuple[Scene, np.ndarray]:
    """Return tissue and field of a label map in a scan, and the affine of the scan."""
    labels = nifti.load(path)
    brain_mm = _centre_mm(labels, (labels.data > 0) & (labels.data < LAST_OF_BRAIN))
    chosen = person.protocol
    affine = scan_affine(
        chosen.shape,
        chosen.voxel_size_mm,
        rotation=rigid((person.oblique_deg, person.tilt_deg, 0.0), (0, 0, 0)),
        centre_mm=brain_mm.tolist(),
    )
    fine = finer(affine, chosen.oversampling)
    shape = tuple(n * f for n, f in zip(chosen.shape, chosen.oversampling, strict=True))
    here = sampled_labels(labels, fine, shape)
    model = model_of(here, fine, person, np.random.default_rng(seed))
    hz_per_ppm = np.float32(chosen.acquisition.centre_frequency_hz * 1e-6)
    total_ppm = background_ppm(labels, model) + dipole_field(model.chi_ppm, model.grid)
    total_hz = shimmed(total_ppm * hz_per_ppm, model.brain, model.grid)
    return Scene(model, total_hz, np.eye(4)), affine


def sampled_labels(labels: Image, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the nearest label at each voxel of another grid; air beyond the map."""
    way = np.linalg.inv(labels.affine) @ affine
    data = np.asarray(labels.data, np.int16)
    return ndimage.affine_transform(data, way[:3, :3], way[:3, 3], shape, order=0, cval=0)


def model_of(
    labels: np.ndarray, affine: np.ndarray, person: simulate.Parameters, rng: np.random.Generator
) -> FineModel:
    """Return what each voxel of the fine grid is made of."""
    row, brain = rows_of(labels), (labels > 0) & (labels < LAST_OF_BRAIN)
    field_t = person.protocol.acquisition.effective_field_t
    signal = property_of("proton_density") * spoiled_gradient_echo(
        t1_at_s(field_t),
        repetition_time_s=person.protocol.repetition_time_s,
        flip_angle_deg=person.protocol.flip_angle_deg,
    )
    chi_ppb = susceptibilities_ppb(person, rng)[row]
    chi_ppb += texture_ppb(row, affine, rng)
    deep = np.zeros(labels.shape, np.uint8)
    for name, index in FREESURFER.items():
        # The whole pallidum counts as its external part: both have one susceptibility here.
        if not name.startswith("pallidum_internal"):
            deep[labels == index] = DEEP_LABELS.index(name) + 1
    ventricle = np.isin(labels, LATERAL_VENTRICLES)
    plexus = row == ROW["plexus"]
    return FineModel(
        affine=affine,
        chi_ppm=np.where(brain, chi_ppb / 1000, 0).astype(np.float32),
        r2star_hz=r2star_at_hz(field_t)[row].astype(np.float32),
        spin_density=(signal / signal[ROW["white"]])[row].astype(np.float32),
        brain=brain,
        ventricle=ventricle,
        atria=ventricle & behind_thalami(deep, affine),
        plexus=plexus,
        plexus_trace=plexus,
        lesion=row == ROW["lesion"],
        deep=deep,
        vein=np.zeros(labels.shape, np.float32),
    )


def rows_of(labels: np.ndarray) -> np.ndarray:
    """Return the tissue of each label; what is not named counts as muscle."""
    table = np.full(int(labels.max()) + 1, ROW["muscle"], np.uint8)
    for name, numbers in TISSUE_OF.items():
        table[[number for number in numbers if number < len(table)]] = ROW[name]
    return table[labels]


def susceptibilities_ppb(person: simulate.Parameters, rng: np.random.Generator) -> np.ndarray:
    """Draw the nuclei about their means, 10 % between people; the thalamus is given."""
    chi = property_of("chi_ppb")
    for name in ("caudate", "putamen", "pallidum_external"):
        chi[ROW[name]] *= np.float32(rng.normal(1, 0.1))
    chi[ROW["thalamus"]] = person.thalamus_chi_ppb
    return chi


def texture_ppb(row: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what unevenness adds: 6 ppb in gray, 4 in white matter, as in the simulator."""
    steps = np.linalg.norm(affine[:3, :3], axis=0) / TEXTURE_STEP_MM
    coarse = rng.standard_normal([int(n * s) + 3 for n, s in zip(row.shape, steps, strict=True)])
    texture = ndimage.affine_transform(coarse, np.diag(steps), output_shape=row.shape, order=1)
    strength_ppb = np.zeros(len(NAMES))
    strength_ppb[[ROW["gray"], ROW["thalamus"], ROW["white"]]] = 6, 6, 4
    return (strength_ppb[row] * texture / texture.std()).astype(np.float32)


def behind_thalami(deep: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return what lies behind the thalami, to the depth of an atrium."""
    x, y, z = (np.arange(n) for n in deep.shape)
    along = affine[1]
    y_mm = along[0] * x[:, None, None] + along[1] * y[:, None] + along[2] * z + along[3]
    thalami = np.isin(deep, [1 + DEEP_LABELS.index(f"thalamus_{side}") for side in "LR"])
    rear_mm = np.quantile(y_mm[thalami], 0.02)
    return (y_mm < rear_mm) & (y_mm > rear_mm - ATRIUM_MM)


def background_ppm(labels: Image, model: FineModel) -> np.ndarray:
    """Return the field of head against air on the fine grid; the brain counts as water."""
    centre_mm = _centre_mm(labels, (labels.data > 0) & (labels.data < LAST_OF_BRAIN))
    half_mm = BACKGROUND_STEP_MM * np.array(BACKGROUND_SHAPE) / 2
    # More of the neck than of the air above: the head reaches farther down.
    corner_mm = centre_mm - half_mm + (0, 0, -30)
    coarse = lattice(BACKGROUND_STEP_MM, corner_mm)
    here = sampled_labels(labels, coarse, BACKGROUND_SHAPE)
    excess_ppm = property_of("chi_ppb") / 1000
    inside = (here > 0) & (here < LAST_OF_BRAIN)
    water_ppm = -excess_ppm[ROW["air"]]
    chi = np.where(inside, 0.0, excess_ppm[rows_of(here)]) + water_ppm
    # Smoothing ends the ringing of sharp edges; no source may reach into the brain by it.
    smooth = ndimage.gaussian_filter(chi, 0.7)
    # A coarse voxel beside the brain holds some of it: a source there would lie inside the brain,
    # where no background removal may take its field away. Dura is as thick as that.
    outside = np.clip(distance_mm(inside, (BACKGROUND_STEP_MM,) * 3) / BACKGROUND_STEP_MM - 1, 0, 1)
    chi = (water_ppm + (smooth - water_ppm) * outside).astype(np.float32)
    field = dipole_field(chi, Image(chi, coarse).grid, padding=1.5)
    way = np.linalg.inv(coarse) @ model.affine
    shape = model.chi_ppm.shape
    # Linear, which damps what is left of the ringing; cubic splines make it larger.
    return ndimage.affine_transform(field, way[:3, :3], way[:3, 3], shape, np.float32, order=1)


def _centre_mm(image: Image, mask: np.ndarray) -> np.ndarray:
    return image.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + image.affine[:3, 3]
