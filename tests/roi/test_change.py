"""Susceptibility at two visits in the tissue that both chose."""

import numpy as np
import pytest

from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.image import Image
from bids_qsmthal.roi.change import GreVisit, chi_changes

SHAPE = (30, 16, 16)


def _visit(*, offset_ppb=0.0, shift_mm=(0.0, 0.0, 0.0), wider=0):
    """Return a scan of two blocks of thalamus and one of CSF; rims of 200 ppb where it is wider."""
    chi_ppb, labels, fluid = np.zeros(SHAPE), np.zeros(SHAPE), np.zeros(SHAPE)
    for label, first, value in ((1, 4, -20.0), (2, 20, -10.0)):
        inner = np.s_[first : first + 6, 4:10, 4:10]
        outer = np.s_[first - wider : first + 6 + wider, 4:10, 4:10]
        chi_ppb[outer], labels[outer] = 200.0, label
        chi_ppb[inner] = value + offset_ppb
    fluid[12:18, 4:10, 4:10] = 1
    chi_ppb += 7.0  # the zero of a map is nobody's
    to_frame = np.eye(4)
    to_frame[:3, 3] = -np.array(shift_mm)
    images = (Image(data, lattice(1.0, shift_mm)) for data in (1e-3 * chi_ppb, labels, fluid))
    chi, thalamus, reference = images
    return GreVisit(chi_ppm=chi, thalamus=thalamus, reference=reference, to_frame=to_frame)


def test_only_what_both_visits_chose_is_compared():
    # The second visit lies elsewhere and its thalami hold a rim that the first left out.
    first = _visit()
    second = _visit(offset_ppb=3.0, shift_mm=(5.0, -4.0, 2.0), wider=1)
    found = {one.hemisphere: one for one in chi_changes(first, second)}
    assert found["L"].first_ppb == pytest.approx(-20.0, abs=1e-6)
    assert found["L"].second_ppb == pytest.approx(-17.0, abs=1e-6)
    assert found["R"].second_ppb - found["R"].first_ppb == pytest.approx(3.0, abs=1e-6)
    assert found["LR"].first_ppb == pytest.approx(-15.0, abs=1e-6)
    assert found["LR"].n_voxels == 6**3


def test_visits_that_share_nothing_have_no_number():
    away = _visit()
    moved = GreVisit(
        chi_ppm=away.chi_ppm,
        thalamus=away.thalamus,
        reference=away.reference,
        to_frame=np.eye(4) + _shift(40.0),
    )
    for one in chi_changes(away, moved):
        assert np.isnan([one.first_ppb, one.second_ppb]).all()
        assert one.n_voxels == 0


def _shift(z_mm):
    moved = np.zeros((4, 4))
    moved[2, 3] = z_mm
    return moved
