"""What the interval holds of the method: it grows with voxels and noise, knows interpolation."""

import numpy as np
import pytest

from bids_qsmthal import roi
from bids_qsmthal.roi import ChainError


def test_the_error_is_the_root_of_its_parts_and_larger_for_one_side() -> None:
    rule = ChainError(one=(1.0, 0.2, 0.5), both=(0.6, 0.1, 0.3))
    one, both = rule((2.0, 2.0, 2.0), 2.0)
    assert one == pytest.approx(np.sqrt(1.0**2 + (0.2 * 4.0) ** 2 + (0.5 * 2.0) ** 2))
    assert both == pytest.approx(np.sqrt(0.6**2 + (0.1 * 4.0) ** 2 + (0.3 * 2.0) ** 2))


def test_a_thick_slice_counts_as_one_of_three_axes() -> None:
    rule = ChainError(one=(0.0, 1.0, 0.0), both=(0.0, 1.0, 0.0))
    slices = rule((0.5, 0.5, 3.0), 0.0)[1]
    assert slices == pytest.approx(np.sqrt((2 * 0.5**4 + 3.0**4) / 3))
    # More than a cube of the same mean square edge, less than a cube of the longest.
    assert np.mean(np.square((0.5, 0.5, 3.0))) < slices < 9.0


def test_what_is_coarser_than_was_measured_counts_as_the_coarsest() -> None:
    assert ChainError()((1.0, 1.0, 6.0), 1.0) == ChainError()((1.0, 1.0, 3.0), 1.0)


@pytest.mark.parametrize("side", [0, 1])
def test_coarse_and_noisy_scans_are_less_sure(side: int) -> None:
    rule = ChainError()
    small, large = (1.0, 1.0, 1.0), (2.5, 2.5, 2.5)
    fine, coarse = rule(small, 1.0)[side], rule(large, 1.0)[side]
    noisy = rule(small, 4.0)[side]
    assert coarse > 1.2 * fine
    assert noisy > 1.3 * fine
    # The noise of an external map is not known: it counts as much.
    assert rule(small)[side] == rule(small, rule.unknown_noise_ppb)[side] > fine
    assert rule(small, float("nan"))[side] == rule(small)[side]


def test_one_side_is_never_surer_than_both() -> None:
    for edges_mm in ((1.0, 1.0, 1.0), (1.5, 1.5, 2.0), (0.75, 0.75, 3.0), (3.0, 3.0, 3.0)):
        for noise_ppb in (0.3, 6.0):
            one, both = ChainError()(edges_mm, noise_ppb)
            assert one > both


@pytest.mark.slow
def test_zero_filling_does_not_make_the_number_surer(head) -> None:
    metrics = {"field_noise_ppb": 1.0}
    none = ChainError(one=(0.0, 0.0, 0.0), both=(0.0, 0.0, 0.0))
    x, y, z = sorted(head.chi_ppm.grid.voxel_size_mm)
    kept, rest = [], roi.RegionSettings(method_sd_ppb=none)
    for factor in (1, 2):
        inputs = head.inputs(metrics=metrics, voxels_per_acquired=float(factor**2))
        whole, others = roi.measure(inputs), roi.measure(inputs, settings=rest)
        parts = [
            found.table.set_index(["measure", "region", "hemisphere"])["value"][
                "chi_relative_csf_se", "thalamus", "LR"
            ]
            for found in (whole, others)
        ]
        # Four voxels for one: twice as fine along the two shorter edges.
        chain = ChainError()((factor * x, factor * y, z), 1.0)[1]
        assert parts[0] ** 2 - parts[1] ** 2 == pytest.approx(chain**2)
        values = {check.limit.name: check.value for check in whole.checks}
        assert values["acquired_voxel_mm3"] == pytest.approx(factor**2 * x * y * z)
        # The noise of a voxel of 1 ppb over the root of the voxels in 1 mL.
        noise = (factor**2 * x * y * z / 1000) ** 0.5
        assert values["field_noise_per_ml_ppb"] == pytest.approx(noise)
        kept.append(values["thalamus_voxels_kept"])
    assert kept[1] == kept[0] / 4
