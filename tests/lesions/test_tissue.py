import numpy as np
import pytest

from bids_qsmthal.lesions.tissue import (
    NormalTissue,
    class_priors,
    density,
    fit_tissue,
    gain_field,
    polynomials,
)

SHAPE = (40, 36, 32)
MEAN = np.array([[65.0, 115.0], [100.0, 100.0], [25.0, 30.0]])


def tissue_images(rng, *, lesions: float = 0.0):
    """Three slabs of tissue, with noise, a smooth gain of FLAIR, and bright outliers in WM."""
    owner = np.zeros(SHAPE, int)
    owner[13:27], owner[27:] = 1, 2
    t1w, flair = MEAN[owner, 0], MEAN[owner, 1]
    bright = (owner == 1) & (rng.random(SHAPE) < lesions)
    flair = np.where(bright, 220.0, flair)
    y = np.linspace(-1, 1, SHAPE[1])[None, :, None]
    gain = np.exp(0.2 * y)
    t1w = t1w + 3 * rng.standard_normal(SHAPE)
    flair = (flair + 4 * rng.standard_normal(SHAPE)) * gain
    priors = tuple((0.9 * (owner == k) + 0.05).astype(np.float32) for k in range(3))
    return t1w.astype(np.float32), flair.astype(np.float32), priors, gain


@pytest.mark.parametrize("lesions", [0.0, 0.15])
def test_means_and_noise_are_found_despite_lesions_and_gain(lesions) -> None:
    t1w, flair, priors, gain = tissue_images(np.random.default_rng(5), lesions=lesions)
    model = fit_tissue(t1w, flair, priors, np.ones(SHAPE, bool))
    assert model.mean[:, 0] == pytest.approx(MEAN[:, 0], rel=0.02)
    assert model.mean[:2, 1] / model.mean[1, 1] == pytest.approx(MEAN[:2, 1] / 100, rel=0.02)
    assert model.spread[:2, 0] == pytest.approx(3.0, rel=0.15)
    assert model.spread[:2, 1] == pytest.approx(4.0, rel=0.25)
    found = gain_field(model, SHAPE)
    ratio = (found / gain)[:27]
    assert ratio.std() / ratio.mean() < 0.01


def test_priors_of_pure_and_mixed_classes_sum_to_one() -> None:
    tissue = np.random.default_rng(1).dirichlet((1, 1, 1), size=50)
    fractions = class_priors(tissue, floor=0.1)
    assert fractions.shape == (50, 5)
    assert fractions.sum(1) == pytest.approx(1.0)
    sure = class_priors(np.array([[0.0, 1.0, 0.0]]), floor=0.0)
    assert sure[0] == pytest.approx([0, 1, 0, 0, 0])


def test_density_is_the_bivariate_normal() -> None:
    covariance = np.array([[4.0, 1.0], [1.0, 9.0]])
    axis = np.linspace(-30, 30, 241)
    values = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    found = density(values, np.array([1.0, -2.0]), covariance) * (axis[1] - axis[0]) ** 2
    assert found.sum() == pytest.approx(1.0, rel=1e-3)
    mean = found @ values
    assert mean == pytest.approx([1.0, -2.0], abs=1e-3)
    assert ((values - mean) * found[:, None]).T @ (values - mean) == pytest.approx(
        covariance, abs=0.01
    )


def test_mixed_classes_have_the_moments_of_a_mixture() -> None:
    rng = np.random.default_rng(2)
    spread = np.array([3.0, 4.0])
    model = NormalTissue(MEAN, np.tile(np.diag(spread**2), (3, 1, 1)), np.zeros(20))
    mean, covariance = list(model.classes())[3]
    fraction = rng.random(200_000)[:, None]
    gm = MEAN[0] + spread * rng.standard_normal((200_000, 2))
    wm = MEAN[1] + spread * rng.standard_normal((200_000, 2))
    mixed = fraction * gm + (1 - fraction) * wm
    assert mean == pytest.approx(mixed.mean(0), rel=0.01)
    assert covariance == pytest.approx(np.cov(mixed.T), rel=0.03)


def test_there_are_twenty_cubic_polynomials() -> None:
    assert len(list(polynomials(SHAPE, 3))) == 20
