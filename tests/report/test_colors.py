"""Colours that stand beside each other are told apart by readers of every colour vision."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest

from bids_qsmthal.core import colors

# Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), severity 1, linear RGB.
VISION = {
    "usual": np.eye(3),
    "no long cones": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no middle cones": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no short cones": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
PICTURES = (
    (*colors.THALAMI.values(), colors.VEINS, colors.CSF_REFERENCE, colors.LESIONS),
    (colors.LESIONS, colors.RIMS),
    (colors.LESIONS, colors.ENHANCING),
    tuple(colors.TISSUES.values()),
)
"""The colours that are in one picture together."""


def seen(color: str, vision: str) -> np.ndarray:
    """Return a colour as CIELAB (D65) as it is seen."""
    rgb = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_overlays_of_one_picture_differ(vision: str) -> None:
    for picture in PICTURES:
        for one, other in itertools.combinations(picture, 2):
            assert np.linalg.norm(seen(one, vision) - seen(other, vision)) > 10, (one, other)


@pytest.mark.parametrize("name", ["gray", "viridis"])
def test_the_maps_grow_lighter_from_end_to_end(name: str) -> None:
    shades = mpl.colormaps[name](np.linspace(0, 1, 32))
    lightness = [seen(mpl.colors.to_hex(color), "usual")[0] for color in shades]
    assert (np.diff(lightness) > 0).all()
