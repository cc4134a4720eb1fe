from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.qsm import Acquisition
from bids_qsmthal.simulate.coils import CoilArray, PhaseBump
from bids_qsmthal.simulate.echoes import WHITE_LEVEL, Scene, echo_signals
from bids_qsmthal.simulate.effects import PLAIN, Effects, Slab, TissueOffset
from bids_qsmthal.simulate.gradient_echo import Fields, FineModel
from bids_qsmthal.simulate.sampling import BipolarReadout, HighPassPhase, InterleavedSlices, KSpace
from bids_qsmthal.simulate.tissues import (
    DEOXYGENATED_PPM,
    HEMATOCRIT,
    ROW,
    VEIN_CHI_PPM,
    VENOUS_OXYGENATION,
    property_of,
    r2star_at_hz,
    t1_at_s,
    vein_r2star_hz,
)

SHAPE = (40, 36, 24)
TIMES_S = (0.005, 0.010, 0.020)
PROTOCOL = simulate.Protocol(
    name="cube",
    voxel_size_mm=(3.0, 3.0, 3.0),
    shape=(20, 18, 12),
    oversampling=(2, 2, 2),
    acquisition=Acquisition(echo_times_s=TIMES_S, field_strength_t=3.0),
    repetition_time_s=0.03,
    flip_angle_deg=15.0,
)
PARAMETERS = simulate.Parameters(protocol=PROTOCOL, snr=1e6, bias=0.0, coil_phase_rad=0.0)
TO_HEAD = np.diag([1.5, 1.5, 1.5, 1.0])
TO_HEAD[:3, 3] = (-29.0, -45.0, -8.0)


def uniform():
    """White matter everywhere, in a field that rises along z."""
    ones = np.ones(SHAPE, np.float32)
    no = np.zeros(SHAPE, bool)
    masks = dict.fromkeys(("ventricle", "atria", "plexus", "plexus_trace", "lesion"), no)
    return FineModel(
        affine=TO_HEAD,
        chi_ppm=np.zeros(SHAPE, np.float32),
        r2star_hz=20 * ones,
        spin_density=ones,
        brain=~no,
        deep=np.zeros(SHAPE, np.uint8),
        vein=np.zeros(SHAPE, np.float32),
        **masks,
    )


FIELD_HZ = np.broadcast_to(10 + 0.1 * np.arange(24, dtype=np.float32), SHAPE).copy()


def echoes(effects=PLAIN, parameters=PARAMETERS, seed=0):
    scene = Scene(uniform(), FIELD_HZ, TO_HEAD)
    signals = echo_signals(scene, parameters, effects, np.random.default_rng(seed))
    return np.stack(list(signals), axis=-1)


def inner(values):
    return values[3:-3, 3:-3, 3:-3]


def test_a_plain_scan_turns_with_the_field_and_decays():
    found = inner(echoes())
    step = np.angle(found[..., 1] * np.conj(found[..., 0]))
    middle = (FIELD_HZ[0, 0, ::2] + FIELD_HZ[0, 0, 1::2]) / 2
    expected = np.broadcast_to(2 * np.pi * 0.005 * middle[3:-3], step.shape)
    np.testing.assert_allclose(step, expected, atol=0.01)
    np.testing.assert_allclose(np.abs(found[..., 2]), WHITE_LEVEL * np.exp(-0.4), rtol=0.02)


def test_a_bump_turns_every_echo_alike():
    bump = PhaseBump(centre_mm=(0.0, -18.0, 10.0), height_rad=0.5)
    turned = np.angle(echoes(Effects(phase_offsets=(bump,))) * np.conj(echoes()))
    assert turned[10, 9, 6] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(turned[..., 0], turned[..., 2], atol=0.01)


def test_bipolar_echoes_alternate_along_the_readout_alone():
    turned = inner(np.angle(echoes(Effects(bipolar=BipolarReadout())) * np.conj(echoes())))
    np.testing.assert_allclose(turned[..., 0], -turned[..., 1], atol=0.02)
    np.testing.assert_allclose(turned[..., 0], turned[..., 2], atol=0.02)
    assert np.ptp(turned[:, 5, 5, 0]) > 1
    assert np.ptp(turned[5, :, :, 0]) < 0.02


def test_slices_of_a_2d_scan_step_with_the_echo_time():
    found = inner(echoes(Effects(slices=InterleavedSlices(step_hz=3.0))))
    rise = np.angle(found[..., 2] * np.conj(found[..., 0]))
    steps = np.diff(rise, axis=2) - 2 * np.pi * 0.015 * 0.2
    expected = 2 * np.pi * 3 * 0.015 * np.array([-1, 1, -1, 1, -1])
    np.testing.assert_allclose(steps, np.broadcast_to(expected, steps.shape), atol=0.01)


def test_filtered_phase_has_no_field_left():
    found = inner(echoes(Effects(filtering=HighPassPhase(window=8))))
    assert np.abs(np.angle(found)).max() < 0.2
    assert np.abs(np.angle(inner(echoes()))).max() > 1


@pytest.mark.parametrize(
    "effects",
    [
        PLAIN,
        Effects(k_space=KSpace(acquired=(0.6, 0.6, 1.0), window="hamming")),
        Effects(coils=CoilArray(normalised=True)),
        Effects(slices=InterleavedSlices()),
    ],
)
def test_noise_is_as_strong_as_asked_for_whatever_the_scanner_does(effects):
    noisy = replace(PARAMETERS, snr=20.0)
    noise = np.stack(
        [echoes(effects, noisy, seed) - echoes(effects, seed=seed) for seed in range(6)]
    )
    first = WHITE_LEVEL * np.exp(-20 * TIMES_S[0])
    assert noise.real.std() == pytest.approx(first / 20, rel=0.03)
    assert noise.imag.std() == pytest.approx(first / 20, rel=0.03)


def test_coils_shade_the_image_about_its_mean():
    shaded, plain = np.abs(inner(echoes(Effects(coils=CoilArray())))), np.abs(inner(echoes()))
    ratio = (shaded / plain)[..., 0]
    assert ratio.mean() == pytest.approx(0.95, abs=0.1)
    # The grid lies in the middle of the head: dark there, brighter towards the coils.
    assert ratio[7, 6, 3] < 0.9 * ratio[0, 6, 3]


def test_a_slab_keeps_its_part_of_the_field_of_the_whole_head():
    model, slab = uniform(), Slab(first=3, slices=6)
    part, field = slab.cut(model, Fields(FIELD_HZ * 0.1, FIELD_HZ), 2)
    np.testing.assert_array_equal(field.total_hz, FIELD_HZ[:, :, 6:18])
    np.testing.assert_array_equal(field.local_hz, 0.1 * FIELD_HZ[:, :, 6:18])
    assert part.brain.shape == (40, 36, 12)
    place = part.affine @ (1, 2, 0, 1)
    np.testing.assert_allclose(place, model.affine @ (1, 2, 6, 1))


def test_excitation_rises_over_the_edges_of_a_slab():
    profile = Slab(first=0, slices=10, edge=2).profile(20, 2)
    np.testing.assert_allclose(profile[:5], [0.125, 0.375, 0.625, 0.875, 1.0])
    np.testing.assert_array_equal(profile, profile[::-1])


def test_relaxation_follows_the_field_in_tissue_and_not_in_fluid():
    at_three, at_seven = r2star_at_hz(3.0), r2star_at_hz(7.0)
    assert at_seven[ROW["white"]] == pytest.approx(20 * 7 / 3)
    assert at_seven[ROW["csf"]] == at_three[ROW["csf"]]
    # Rooney 2007: white matter 0.66 s at 1.5 T and 1.22 s at 7 T, a ratio of 1.85.
    assert t1_at_s(7.0)[ROW["white"]] / t1_at_s(1.5)[ROW["white"]] == pytest.approx(1.85, abs=0.1)
    np.testing.assert_array_equal(r2star_at_hz(2.894), at_three)
    assert vein_r2star_hz(3.0) == 45.0
    assert 45 * 7 / 3 < vein_r2star_hz(7.0) < 45 * (7 / 3) ** 2


def test_venous_blood_has_the_susceptibility_of_its_formula():
    expected = 4 * np.pi * 0.18 * 0.40 * (1 - 0.67)
    assert pytest.approx(expected) == DEOXYGENATED_PPM * HEMATOCRIT * (1 - VENOUS_OXYGENATION)
    assert pytest.approx(expected, abs=0.005) == VEIN_CHI_PPM == 0.30


def test_tissue_moves_and_the_thalamus_stays():
    chi = property_of("chi_ppb")
    moved = TissueOffset(ppb=-20.0).moved(chi)
    assert moved[ROW["gray"]] == chi[ROW["gray"]] - 20
    assert moved[ROW["white"]] == chi[ROW["white"]] - 20
    for name in ("thalamus", "csf", "pallidum_internal"):
        assert moved[ROW[name]] == chi[ROW[name]]
