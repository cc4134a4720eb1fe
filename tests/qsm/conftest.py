import numpy as np
import pytest

from bids_qsmthal.qsm import Grid

OBLIQUE = (0.36, -0.48, 0.8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20181)


@pytest.fixture(
    params=[
        Grid((24, 20, 16)),
        Grid((21, 24, 19), (1.0, 2.0, 1.5)),
        Grid((24, 21, 18), (0.8, 0.8, 3.0), OBLIQUE),
        Grid((20, 22, 24), (1.0, 1.0, 2.0), OBLIQUE),
    ],
    ids=["even", "odd anisotropic", "oblique anisotropic", "even oblique"],
)
def grid(request) -> Grid:
    return request.param
