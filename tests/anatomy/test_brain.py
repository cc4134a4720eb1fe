"""Where the brain ends, with a network that calls brain whatever is bright."""

from __future__ import annotations

import numpy as np
import pytest

from bids_qsmthal.anatomy import brain
from bids_qsmthal.anatomy.brain import BrainExtraction, brain_mask
from bids_qsmthal.core.image import Image

RADIUS_MM = 50.0


def bright_ball(size_mm: tuple[float, float, float]) -> Image:
    """Return a ball in the middle of a field of view of 140 mm."""
    shape = [round(140 / size) for size in size_mm]
    points = np.meshgrid(
        *[
            (np.arange(number) - (number - 1) / 2) * size
            for number, size in zip(shape, size_mm, strict=True)
        ],
        indexing="ij",
    )
    distance_mm = np.sqrt(sum(axis**2 for axis in points))
    return Image((distance_mm < RADIUS_MM).astype(np.float32), np.diag([*size_mm, 1.0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "size_mm",
    [(1.0, 1.0, 1.0), (0.8, 1.0, 2.5), (2.5, 0.8, 1.0)],
)
def test_the_brain_ends_inside_of_the_networks_outline(
    monkeypatch: pytest.MonkeyPatch, size_mm: tuple[float, float, float]
) -> None:
    monkeypatch.setattr(brain, "_infer", lambda _, head, __: (head > head.mean()).astype("f4"))
    image = bright_ball(size_mm)
    for inset_mm in (0.8, 2.0):
        found = brain_mask(image, settings=BrainExtraction(inset_mm=inset_mm))
        radius_mm = np.cbrt(found.data.sum() * found.voxel_volume_mm3 * 3 / (4 * np.pi))
        assert radius_mm == pytest.approx(RADIUS_MM - inset_mm, abs=0.3)
        for axis, size in enumerate(size_mm):
            along = found.data.any(axis=tuple(other for other in range(3) if other != axis))
            assert along.sum() * size == pytest.approx(2 * radius_mm, abs=1.01 * size)
