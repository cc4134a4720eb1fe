"""What the interval holds of the method: it grows with voxels and noise, knows interpolation."""

import numpy as np
import pytest

from bids_qsmthal import roi
from bids_qsmthal.roi import ChainError


def test_the_error_is_the_root_of_its_parts_and_larger_for_one_side() -> None:
    rule = ChainError(one=(1.0, 0.2, 0.5), both=(0.6, 0.1, 0.3))
    one, both = rule(4.0, 2.0)
    assert one == pytest.approx(np.sqrt(1.0**2 + (0.2 * 4.0) ** 2 + (0.5 * 2.0) ** 2))
    assert both == pytest.approx(np.sqrt(0.6**2 + (0.1 * 4.0) ** 2 + (0.3 * 2.0) ** 2))


@pytest.mark.parametrize("side", [0, 1])
def test_coarse_and_noisy_scans_are_less_sure(side: int) -> None:
    rule = ChainError()
    fine, coarse = rule(1.0, 1.0)[side], rule(6.25, 1.0)[side]
    noisy = rule(1.0, 4.0)[side]
    assert coarse > 1.3 * fine
    assert noisy >= fine
    # The noise of an external map is not known: it counts as much.
    assert rule(1.0)[side] == rule(1.0, rule.unknown_noise_ppb)[side] > fine
    assert rule(1.0, float("nan"))[side] == rule(1.0)[side]


def test_one_side_is_never_surer_than_both() -> None:
    for edge_mm2 in (1.0, 2.8, 9.0):
        for noise_ppb in (0.3, 6.0):
            one, both = ChainError()(edge_mm2, noise_ppb)
            assert one > both


@pytest.mark.slow
def test_zero_filling_does_not_make_the_number_surer(head) -> None:
    metrics = {"field_noise_ppb": 1.0}
    plain = roi.measure(head.inputs(metrics=metrics))
    filled = roi.measure(head.inputs(metrics=metrics, voxels_per_acquired=4.0))
    errors, kept = [], []
    for found in (plain, filled):
        table = found.table.set_index(["measure", "region", "hemisphere"])["value"]
        errors.append(table["chi_relative_csf_se", "thalamus", "LR"])
        kept += [c.value for c in found.checks if c.limit.name == "thalamus_voxels_kept"]
    edge_mm2 = np.mean(np.square(head.chi_ppm.grid.voxel_size_mm))
    chain = [ChainError()(edge_mm2 * factor ** (2 / 3), 1.0)[1] for factor in (1, 4)]
    assert errors[1] ** 2 - errors[0] ** 2 == pytest.approx(chain[1] ** 2 - chain[0] ** 2, rel=0.05)
    assert kept[1] == kept[0] / 4
