"""The uniform image of MP2RAGE: air becomes dark, tissue stays as it was."""

import numpy as np
import pytest

from bids_qsmthal import anatomy
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image

TISSUE = (15, 25)


def scan(seed: int = 3, noise: float = 2.0) -> tuple[Image, Image, Image]:
    """A block of tissue (first inversion negative on one half) in noise, as magnitudes."""
    rng = np.random.default_rng(seed)
    shape = (40, 40, 40)
    parts = []
    for level in ((-60.0, 80.0), (150.0, 120.0)):
        signal = np.zeros(shape)
        inside = np.s_[TISSUE[0] : TISSUE[1], TISSUE[0] : TISSUE[1], TISSUE[0] : TISSUE[1]]
        signal[inside] = np.where(np.arange(10)[:, None, None] < 5, *level)
        parts.append(signal + rng.normal(0, noise, shape) + 1j * rng.normal(0, noise, shape))
    first, second = parts
    energy = np.abs(first) ** 2 + np.abs(second) ** 2
    uniform = (first.conj() * second).real / energy
    return tuple(
        Image(data.astype(np.float32), np.eye(4)) for data in (uniform, abs(first), abs(second))
    )


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("seed", [3, 8])
def test_air_is_dark_and_tissue_keeps_its_ratio(seed: int, *, stored: bool) -> None:
    uniform, first, second = scan(seed)
    truth = 4095 * (uniform.data + 0.5)
    given = uniform.like(np.rint(truth).astype(np.float32)) if stored else uniform
    clean = anatomy.without_noise(given, first, second).data
    air = np.ones(clean.shape, bool)
    air[TISSUE[0] : TISSUE[1], TISSUE[0] : TISSUE[1], TISSUE[0] : TISSUE[1]] = False
    assert truth[air].std() > 1000
    assert clean[air].mean() < 200
    assert clean[air].std() < 100
    inner = ~air
    assert np.abs(clean[inner] - truth[inner]).max() < 0.06 * 4095
    assert np.corrcoef(clean[inner], truth[inner])[0, 1] > 0.99


def test_blank_air_changes_nothing() -> None:
    uniform, first, second = scan()
    tissue = np.abs(second.data) > 60
    masked = [image.like(np.where(tissue, image.data, 0)) for image in (first, second)]
    clean = anatomy.without_noise(uniform, *masked).data
    assert np.allclose(clean[tissue], 4095 * (uniform.data[tissue] + 0.5), atol=0.1)
    assert (clean[~tissue] == 0).all()


def test_another_grid_or_scale_is_refused() -> None:
    uniform, first, second = scan()
    shifted = Image(second.data, np.diag([1, 1, 2, 1.0]))
    with pytest.raises(DataError, match="different grid from the uniform image"):
        anatomy.without_noise(uniform, first, shifted)
    with pytest.raises(DataError, match=r"expected -0\.5 to 0\.5 or 0 to 4095"):
        anatomy.without_noise(uniform.like(uniform.data * 9000), first, second)
