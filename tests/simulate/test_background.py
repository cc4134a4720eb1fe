from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate.compositions import sampled
from bids_qsmthal.simulate.envelope import DURA_MM, Envelope
from bids_qsmthal.simulate.gradient_echo import (
    BACKGROUND_SHAPE,
    FineModel,
    background_field_ppm,
    background_susceptibility_ppm,
)
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.poses import rigid, scan_affine
from bids_qsmthal.simulate.tissues import TISSUES

pytestmark = pytest.mark.slow

SPHEROID_MM = (60.0, 60.0, 90.0)
CENTRE_MM = np.array([0.0, -18.0, -30.0])
AIR_RADIUS_MM = 12.0


@pytest.fixture(scope="module")
def head(small_parameters):
    return draw_head(small_parameters, np.random.default_rng(0))


@pytest.fixture(scope="module")
def spheroid(head):
    """A head of water in air: a spheroid, with a ball of air in its middle and no brain."""
    grid = head.envelope.depth
    index = np.indices(grid.shape, dtype=np.float32).reshape(3, -1)
    points = (grid.affine[:3, :3] @ index + grid.affine[:3, 3:] - CENTRE_MM[:, None]).T
    scaled = np.linalg.norm(points / SPHEROID_MM, axis=1)
    levels = {
        "depth": np.full(len(points), 50.0),
        "outer": (scaled - 1) * min(SPHEROID_MM),
        "air": np.linalg.norm(points, axis=1) - AIR_RADIUS_MM,
        "eyes": np.full(len(points), 50.0),
    }
    images = {
        name: Image(level.reshape(grid.shape).astype(np.float32), grid.affine)
        for name, level in levels.items()
    }
    return replace(head, envelope=Envelope(**images))


def spheroid_factor():
    """Demagnetising factor along the long axis of a prolate spheroid (Osborn 1945)."""
    ratio = SPHEROID_MM[2] / SPHEROID_MM[0]
    root = np.sqrt(ratio**2 - 1)
    logarithm = np.log((ratio + root) / (ratio - root))
    return (ratio / (2 * root) * logarithm - 1) / root**2


def test_a_spheroid_of_water_around_a_ball_of_air_has_the_closed_form_field(spheroid):
    pose = rigid((15.0, -10.0, 5.0), (3.0, 2.0, 1.0))
    centre = (pose @ (*CENTRE_MM, 1))[:3]
    shape = (26, 24, 25)
    turn = rigid((25.0, 5.0, 0.0), (0, 0, 0))
    affine = scan_affine(shape, (2.5, 2.5, 2.5), rotation=turn, centre_mm=centre.tolist())
    zeros = np.zeros(shape, np.float32)
    nothing = np.zeros(shape, bool)
    model = FineModel(
        affine=affine,
        chi_ppm=zeros,
        r2star_hz=zeros,
        spin_density=zeros,
        brain=nothing,
        ventricle=nothing,
        atria=nothing,
        plexus=nothing,
        plexus_trace=nothing,
        lesion=nothing,
        deep=np.zeros(shape, np.uint8),
        vein=zeros,
    )
    field = background_field_ppm(spheroid, pose, model)

    index = np.indices(shape).reshape(3, -1)
    world = (affine[:3, :3] @ index + affine[:3, 3:] - centre[:, None]).reshape(3, *shape)
    distance = np.linalg.norm(world, axis=0)
    shell = (distance > AIR_RADIUS_MM + 6) & (distance < 30)
    air_ppm = TISSUES["air"].chi_ppb / 1000
    cosine = world[2] / np.maximum(distance, 1)
    ball = air_ppm / 3 * (AIR_RADIUS_MM / np.maximum(distance, 1)) ** 3 * (3 * cosine**2 - 1)
    along = spheroid_factor()
    factors = np.array([(1 - along) / 2, (1 - along) / 2, along])
    b0_in_head = pose[:3, :3].T @ (0.0, 0.0, 1.0)
    uniform = -air_ppm * (1 / 3 - factors @ b0_in_head**2)
    # Beside the periodic images (padding), the surface is as soft as the 2 mm grid needs.
    np.testing.assert_allclose(field[shell] - uniform, ball[shell], atol=0.12)
    slope, offset = np.polyfit(ball[shell], field[shell], 1)
    assert slope == pytest.approx(1.0, abs=0.04)
    assert offset == pytest.approx(uniform, abs=0.08)
    assert abs(uniform) > 0.5


def test_no_source_of_the_background_reaches_into_the_brain(head):
    to_head = np.diag([2.0, 2.0, 2.0, 1.0])
    to_head[:3, 3] = (-143.3, -176.7, -250.1)
    chi = background_susceptibility_ppm(head, to_head)
    depth = sampled(head.envelope.depth, to_head, BACKGROUND_SHAPE)
    water_ppm = -TISSUES["air"].chi_ppb / 1000
    np.testing.assert_allclose(chi[depth <= DURA_MM], water_ppm, atol=1e-5)
    bone = (depth > 3.5) & (depth < 7)
    assert np.median(chi[bone]) < water_ppm - 0.5  # marrow and bone, smoothed
    assert abs(chi[0, 0, -1]) < 1e-3
