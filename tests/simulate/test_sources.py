"""Iron and myelin of the digital heads, and the decay that follows them."""

import numpy as np
import pytest

from bids_qsmthal.qsm.separation import RELAXIVITY_HZ_PER_PPM
from bids_qsmthal.simulate.effects import Effects
from bids_qsmthal.simulate.parameters import COARSE, Parameters, with_voxels
from bids_qsmthal.simulate.participants import gradient_echo_scan
from bids_qsmthal.simulate.sources import SourceSpread, plain_sources
from bids_qsmthal.simulate.tissues import ROW, property_of


def test_the_plain_tissues_hold_the_sources_that_their_decay_asks_for() -> None:
    iron, myelin = plain_sources(property_of("chi_ppb"))
    np.testing.assert_allclose(iron - myelin, property_of("chi_ppb"), atol=1e-3)
    assert min(iron.min(), myelin.min()) >= 0
    for name in ("white", "thalamus", "pallidum_external", "lesion"):
        made = (iron[ROW[name]] + myelin[ROW[name]]) * RELAXIVITY_HZ_PER_PPM / 1000
        rest = property_of("r2star_hz")[ROW[name]] - 1 / property_of("t2_s")[ROW[name]]
        assert made == pytest.approx(rest, abs=0.01)


def test_what_a_head_differs_by_is_iron() -> None:
    moved = property_of("chi_ppb")
    moved[ROW["putamen"]] += 12
    plain = plain_sources(property_of("chi_ppb"))
    iron, myelin = plain_sources(moved)
    assert iron[ROW["putamen"]] - plain[0][ROW["putamen"]] == pytest.approx(12, abs=1e-3)
    assert myelin[ROW["putamen"]] == pytest.approx(plain[1][ROW["putamen"]], abs=1e-3)


def test_iron_and_myelin_vary_apart_and_both_speed_up_the_decay() -> None:
    people = [
        SourceSpread(r2_share=0.0).drawn(property_of("chi_ppb"), np.random.default_rng(seed))
        for seed in range(300)
    ]
    row = ROW["putamen"]
    iron, myelin, r2star = (
        np.array([getattr(one, name)[row] for one in people])
        for name in ("iron_ppb", "myelin_ppb", "r2star_hz")
    )
    assert iron.std() == pytest.approx(15, rel=0.15)
    assert abs(np.corrcoef(iron, myelin)[0, 1]) < 0.15
    rest = 1 / property_of("t2_s")[row]
    np.testing.assert_allclose(
        r2star, rest + RELAXIVITY_HZ_PER_PPM / 1000 * (iron + myelin), rtol=1e-4
    )
    assert len({one.r2star_hz[ROW["csf"]] for one in people}) == 1


@pytest.mark.parametrize("field_t", [1.5, 7.0])
def test_sources_follow_the_field_and_t2_is_that_of_the_literature(field_t: float) -> None:
    person = SourceSpread().drawn(property_of("chi_ppb"), np.random.default_rng(2))
    at_field, at_3_t = person.r2star_at_hz(field_t), person.r2star_at_hz(3.0)
    np.testing.assert_array_equal(at_3_t, person.r2star_hz)
    made = RELAXIVITY_HZ_PER_PPM / 1000 * (person.iron_ppb + person.myelin_ppb)
    tissues = [ROW[name] for name in ("white", "gray", "thalamus", "lesion")]
    r2_hz = at_field[tissues] - made[tissues] * field_t / 3
    # Cox 2010, doi 10.1002/mrm.22522: T2 of 82, 72 and 47 ms.
    wanted = {1.5: 71.7 / 82.3, 7.0: 71.7 / 46.7}[field_t] * (at_3_t - made)[tissues]
    np.testing.assert_allclose(r2_hz, wanted, rtol=1e-4)
    assert at_field[ROW["csf"]] == at_3_t[ROW["csf"]]


@pytest.mark.slow
def test_the_true_maps_of_a_scan_obey_the_model() -> None:
    protocol = with_voxels(COARSE, (4.0, 4.0, 4.0))
    parameters = Parameters(protocol=protocol, motion=0.0)
    made = gradient_echo_scan(parameters, 5, Effects(sources=SourceSpread(r2_share=0.0)))
    images, numbers = made.truth.images, made.truth.numbers
    iron, myelin = (images[f"desc-{name}_Chimap"].data for name in ("paramagnetic", "diamagnetic"))
    np.testing.assert_allclose(iron + myelin, images["Chimap"].data, atol=1e-6)
    deep = images["space-MEGRE_desc-deepgray_dseg"].data
    inside = np.isin(deep, (1, 2)) & (images["space-MEGRE_label-vein_percent"].data == 0)
    inside &= images["space-MEGRE_label-lesion_mask"].data == 0
    rest = images["R2starmap"].data - RELAXIVITY_HZ_PER_PPM * (iron - myelin)
    # Two kinds of tissue with their own 1/T2, and the edge of the region.
    assert np.median(rest[inside]) == pytest.approx(13.2, abs=0.7)
    sources = numbers["roi_sources_ppb"]
    assert isinstance(sources, dict)
    assert 1000 * iron[inside].mean() == pytest.approx(sources["thalamus"]["paramagnetic"], abs=4)
