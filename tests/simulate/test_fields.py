import numpy as np
import pytest

from bids_qsmthal.qsm import Grid
from bids_qsmthal.simulate.fields import dipole_field, dipole_kernel, shimmed

TILTED = (0.0, np.sin(0.4), np.cos(0.4))
OBLIQUE = tuple(np.array((0.3, -0.4, 0.8)) / np.linalg.norm((0.3, -0.4, 0.8)))


def points_mm(grid):
    axes = [
        (np.arange(n) - n // 2) * d for n, d in zip(grid.shape, grid.voxel_size_mm, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def soft_sphere(grid, radius_mm):
    """A ball whose surface is a voxel soft, so that the discrete transform hardly rings."""
    distance = np.linalg.norm(points_mm(grid), axis=0)
    return 1 / (1 + np.exp((distance - radius_mm) / 0.5))


def sphere_field(grid, radius_mm):
    """Closed form outside a ball of susceptibility 1 ppm."""
    points = points_mm(grid)
    distance = np.maximum(np.linalg.norm(points, axis=0), 1e-6)
    cosine = np.tensordot(grid.b0_direction, points, 1) / distance
    return (radius_mm / distance) ** 3 / 3 * (3 * cosine**2 - 1)


@pytest.mark.parametrize("b0", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), TILTED, OBLIQUE])
@pytest.mark.parametrize(
    ("shape", "size"),
    [((64, 64, 64), (1.0, 1.0, 1.0)), ((65, 48, 47), (1.0, 1.3, 1.5))],
)
def test_the_field_of_a_ball_is_the_closed_form(b0, shape, size):
    grid = Grid(shape, size, b0)
    radius = 8.0
    field = dipole_field(soft_sphere(grid, radius), grid, padding=2.5)
    distance = np.linalg.norm(points_mm(grid), axis=0)
    shell = (distance > radius + 5) & (distance < 22)
    expected = sphere_field(grid, radius)[shell]
    # A softer surface changes the moment by 1 + (pi w / r)^2: 4 %.
    moment = soft_sphere(grid, radius).sum() * grid.voxel_volume_mm3 / (4 / 3 * np.pi * radius**3)
    np.testing.assert_allclose(field[shell], expected * moment, atol=0.004)
    assert abs(field[distance < radius - 4].mean()) < 0.006


@pytest.mark.parametrize("shape", [(8, 6, 10), (7, 9, 5), (8, 9, 7)])
def test_the_kernel_of_an_oblique_field_is_that_of_a_real_symmetric_operator(shape):
    grid = Grid(shape, (1.0, 0.7, 2.0), OBLIQUE)
    kernel = dipole_kernel(shape, grid)
    generator = np.random.default_rng(0)
    first, second = generator.standard_normal((2, *shape))

    def apply(image):
        return np.fft.irfftn(np.fft.rfftn(image) * kernel, shape, axes=(0, 1, 2))

    assert np.vdot(apply(first), second) == pytest.approx(np.vdot(first, apply(second)), abs=1e-4)
    whole = np.fft.fftn(np.fft.irfftn(kernel, shape, axes=(0, 1, 2)))
    np.testing.assert_allclose(whole.imag, 0, atol=1e-6)
    np.testing.assert_allclose(whole[..., : kernel.shape[2]].real, kernel, atol=1e-6)


def test_a_shim_removes_second_order_harmonics_and_leaves_the_third():
    grid = Grid((40, 36, 30), (3.0, 3.0, 4.0))
    x, y, z = points_mm(grid)
    inside = x**2 + y**2 + z**2 < 50**2
    second = (5 + 0.3 * x - 0.1 * z + 0.01 * x * y + 0.004 * (2 * z**2 - x**2 - y**2)).astype("f4")
    left = shimmed(second, inside, grid)
    assert np.abs(left).max() < 0.01
    third = (1e-4 * (5 * z**3 - 3 * z * (x**2 + y**2 + z**2))).astype("f4")
    left = shimmed(second + third, inside, grid)
    assert left[inside].std() > 0.3 * third[inside].std()
