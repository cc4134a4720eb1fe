"""Drawing one digital head, which every scan then samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import PARTS
from bids_qsmthal.simulate.compositions import compositions
from bids_qsmthal.simulate.envelope import envelope
from bids_qsmthal.simulate.head_model import NOTHING_GIVEN, Given, Head, HeadAnatomy
from bids_qsmthal.simulate.lesions import EMPTY_MM, Terrain, draw_lesions
from bids_qsmthal.simulate.nuclei import draw_nuclei, over_brainstem
from bids_qsmthal.simulate.templates import templates
from bids_qsmthal.simulate.tissues import ROW, property_of
from bids_qsmthal.simulate.veins import draw_veins
from bids_qsmthal.simulate.warps import random_warp

if TYPE_CHECKING:
    from bids_qsmthal.simulate.parameters import Parameters

TERRAIN_STEP_MM: Final = 1.5
TERRAIN_CORNER_MM: Final = np.array([-84.0, -120.0, -84.0])
TERRAIN_SHAPE: Final = (113, 145, 121)
TEXTURE_STEP_MM: Final = 4.0


def draw_head(
    parameters: Parameters, generator: np.random.Generator, given: Given = NOTHING_GIVEN
) -> Head:
    """Draw one participant's anatomy and susceptibility.

    Parameters
    ----------
    parameters
        Of the person.
    generator
        Source of randomness.
    given
        What is not drawn: an anatomy has its own size, shape and atrophy.
    """
    anatomy = given.anatomy or _draw_anatomy(parameters, generator)
    empty = _terrain_image(np.full(TERRAIN_SHAPE, EMPTY_MM, np.float32))
    head = Head(
        templates=anatomy.templates,
        warp=anatomy.warp,
        envelope=anatomy.envelope,
        lesions=empty,
        enhancing=empty,
        plexus=(),
        calcified_fraction=0.35 if parameters.calcified_plexus else 0.0,
        veins=draw_veins(anatomy.warp, generator),
        texture=_texture(generator),
        chi_ppb=_susceptibilities(parameters, generator),
        thalamus_asymmetry_ppb=float(generator.normal(0, 2.0)),
        # Zero until the thalami are known; ``_with_lesions`` takes the mean of the pattern off.
        nuclei_mean_ppb=0.0,
        cortical_loss=anatomy.cortical_loss,
    )
    return _with_lesions(head, parameters, generator, given.lesion_shapes)


def _draw_anatomy(parameters: Parameters, generator: np.random.Generator) -> HeadAnatomy:
    """Warp the atlas."""
    atlas = templates()
    # Nuclei have a stream of their own: what is drawn after them does not depend on them.
    nuclei = draw_nuclei(atlas.gray.shape, atlas.affine, generator.spawn(1)[0])
    atlas = replace(atlas, structures=over_brainstem(atlas.structures, nuclei))
    warp = random_warp(
        atlas,
        scale=parameters.scale,
        deformation_mm=parameters.deformation_mm,
        atrophy=parameters.atrophy,
        generator=generator,
    )
    return HeadAnatomy(
        name="atlas",
        templates=atlas,
        warp=warp,
        envelope=envelope(atlas, warp),
        cortical_loss=0.12 * parameters.atrophy,
    )


def _with_lesions(
    head: Head,
    parameters: Parameters,
    generator: np.random.Generator,
    shapes: tuple[NDArray[np.float32], ...],
) -> Head:
    """Add what depends on where the tissues are: lesions, plexus, the nuclei's mean."""
    white = np.zeros(TERRAIN_SHAPE, np.float32)
    ventricle = np.zeros(TERRAIN_SHAPE, np.float32)
    atria = np.zeros(TERRAIN_SHAPE, np.float32)
    grid = _terrain_image(white)
    offsets_ppb: list[NDArray[np.float32]] = []
    # The head without lesions is sampled once to learn where they may grow.
    for chunk in compositions(head, grid.affine, grid.shape, brain_only=True):
        if chunk.inner is None:
            continue
        white.reshape(-1)[chunk.flat] = chunk.fraction("white")
        ventricle.reshape(-1)[chunk.flat] = chunk.inner.ventricle
        atria.reshape(-1)[chunk.flat] = chunk.inner.atria
        thalamus = chunk.fraction("thalamus", "thalamus_lateral") > 0.5
        offsets_ppb.append(chunk.inner.thalamus_offset_ppb[thalamus])
    lesions = draw_lesions(
        Terrain(grid.like(white), ventricle),
        lesion_ml=parameters.lesion_ml,
        enhancing=parameters.enhancing,
        enhancing_radius_mm=parameters.enhancing_radius_mm,
        generator=generator,
        shapes=shapes,
    )
    return replace(
        head,
        lesions=lesions.level,
        enhancing=lesions.enhancing,
        plexus=_plexus(atria, grid),
        nuclei_mean_ppb=float(np.concatenate(offsets_ppb).mean()),
    )


def _terrain_image(data: NDArray[np.float32]) -> Image:
    return Image(data, lattice(TERRAIN_STEP_MM, TERRAIN_CORNER_MM))


def _plexus(
    atria: NDArray[np.float32], grid: Image
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
    """Place one glomus in each atrium, towards its middle."""
    x_mm = np.arange(atria.shape[0]) * TERRAIN_STEP_MM + grid.affine[0, 3]
    radii = np.array((2.2, 4.0, 3.0), np.float32)
    found = []
    for side in (x_mm < 0, x_mm > 0):
        index = np.argwhere((atria > 0.5) & side[:, None, None])
        if len(index):
            centre = index.mean(axis=0) * TERRAIN_STEP_MM + grid.affine[:3, 3]
            found.append((centre.astype(np.float32), radii))
    return tuple(found)


def _texture(generator: np.random.Generator) -> Image:
    shape = (52, 66, 56)
    noise = generator.standard_normal(shape, dtype=np.float32)
    # 1.5 voxels of 4 mm: tissue varies over about 6 mm.
    smooth = ndimage.gaussian_filter(noise, 1.5, mode="wrap")
    return Image(smooth / smooth.std(), lattice(TEXTURE_STEP_MM, (-104, -140, -112)))


def _susceptibilities(
    parameters: Parameters, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Draw the nuclei about their means: 10 % between people of one age."""
    chi = property_of("chi_ppb")
    # Both parts of the pallidum together, and some per cent apart.
    apart = generator.spawn(1)[0]
    for names in (
        ("caudate",),
        ("putamen",),
        PARTS,
        ("red_nucleus",),
        ("substantia_nigra",),
        ("dentate",),
    ):
        chi[[ROW[name] for name in names]] *= np.float32(generator.normal(1, 0.1))
    chi[ROW["pallidum_internal"]] *= np.float32(apart.normal(1, 0.05))
    for name in ("accumbens", "subthalamic_nucleus"):
        chi[ROW[name]] *= np.float32(apart.normal(1, 0.1))
    # Not drawn: the thalamus is what is to be measured, and its value is given.
    chi[ROW["thalamus"]] = chi[ROW["thalamus_lateral"]] = parameters.thalamus_chi_ppb
    return chi
