"""The benchmarks follow the code that they measure: nothing else runs them."""

import sys
from importlib import util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from bids_qsmthal import qsm, simulate
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import Lesions

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name: str, monkeypatch: pytest.MonkeyPatch):
    """Load a benchmark as its command line does, with its folder first on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = util.module_from_spec(spec)
    # Dataclasses look up their own module.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_finds_what_it_imports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(name, monkeypatch)
    assert module.__doc__


def test_a_random_start_is_rigid_and_within_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("registration", monkeypatch)
    rng, centre = np.random.default_rng(4), np.array([5.0, -20.0, 30.0])
    for _ in range(50):
        motion = module.moved(rng, centre)
        np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-12)
        angle = np.rad2deg(np.arccos((np.trace(motion[:3, :3]) - 1) / 2))
        shift = motion[:3, :3] @ centre + motion[:3, 3] - centre
        assert angle <= module.FARTHEST_DEGREES
        assert np.linalg.norm(shift) <= module.FARTHEST_MM


def test_a_head_of_labels_has_the_thalami_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.nii.gz"
    nifti.save(_blocks(), path)
    person = simulate.Parameters(protocol=_protocol(), thalamus_chi_ppb=-33.0, oblique_deg=0.0)
    made, affine = load("labelled_heads", monkeypatch).labelled_scene(path, person, 1)
    model = made.model
    thalami = np.isin(model.deep, (1, 2))
    assert model.chi_ppm[thalami].mean() * 1000 == pytest.approx(-33.0, abs=1.5)
    # Both are there, left at smaller x; the atria lie behind them, wholly in fluid.
    points = [
        np.argwhere(model.deep == side).mean(axis=0) @ model.affine[:3, :3].T for side in (1, 2)
    ]
    assert points[0][0] < points[1][0]
    behind = np.argwhere(model.atria).mean(axis=0) @ model.affine[:3, :3].T
    assert behind[1] < points[0][1]
    assert not (model.atria & (model.chi_ppm != 0)).any()
    # A field of tenths of a ppm (127.7 Hz each) after the shim, as in a head against air.
    assert 1.0 < np.std(made.total_hz[model.brain]) < 60.0
    assert affine.shape == (4, 4)


def test_no_source_of_the_background_lies_in_the_brain_of_a_head_of_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heads = load("labelled_heads", monkeypatch)
    blocks = _blocks()
    # Bone right beside the brain is the strongest source that a border can get wrong.
    skull = blocks.like(np.where(blocks.data == 508, 515, blocks.data))
    person = simulate.Parameters(protocol=_protocol(), oblique_deg=12.0)
    shape = (64, 64, 64)
    turned = heads.rigid((12.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    affine = heads.scan_affine(shape, (2.0, 2.0, 2.0), rotation=turned, centre_mm=[0.0, 48.0, 0.0])
    here = heads.sampled_labels(skull, affine, shape)
    model = heads.model_of(here, affine, person, np.random.default_rng(1))
    # Without sources a field is harmonic: its Laplacian is zero.
    laplacian_ppm = ndimage.laplace(heads.background_ppm(skull, model))
    inside = laplacian_ppm[ndimage.binary_erosion(model.brain)]
    # 0.1 where bone of a coarse grid overlaps the brain.
    assert np.sqrt((inside**2).mean()) < 0.002


def _blocks() -> Image:
    """A head of blocks at 4 mm: muscle, brain of white matter, thalami, ventricles behind."""
    labels = np.zeros((48, 56, 48), np.int16)
    labels[4:44, 4:52, 2:44] = 508
    labels[8:40, 8:48, 8:40] = 2
    labels[18:22, 26:32, 22:28], labels[26:30, 26:32, 22:28] = 10, 49
    labels[16:21, 18:24, 22:28], labels[27:32, 18:24, 22:28] = 4, 43
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -96, -112, -96
    return Image(labels, affine)


def _protocol() -> simulate.Protocol:
    return simulate.Protocol(
        name="4",
        voxel_size_mm=(4.0, 4.0, 4.0),
        shape=(40, 48, 40),
        oversampling=(1, 1, 1),
        acquisition=qsm.Acquisition(echo_times_s=(0.005, 0.015), field_strength_t=3.0),
        repetition_time_s=0.04,
        flip_angle_deg=15.0,
    )


def test_bars_are_of_the_heads_that_have_their_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = load("heads", monkeypatch)
    table = pd.DataFrame(
        {
            "head": ["a", "b", "c"],
            "chi_true_ppb": [-40.0, -20.0, 0.0],
            "chi_error_ppb": [2.0, 0.0, -2.0],
            "thalamus_dice": [0.96, 0.92, np.nan],
            "thalamus_%": [3.0, -3.0, 0.0],
        }
    )
    heads.show(table)
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    said = {(name, rest[:13].strip()): rest for name, rest in lines}
    assert len(said) == 5
    assert "-0.100 (bar 0.04, NOT met; 3 heads" in said["chi_error_ppb", "slope"]
    assert "0.940 (bar 0.93, met; 2 heads, worst b" in said["thalamus_dice", "mean"]
    assert "0.000 (bar 1.5, met" in said["thalamus_%", "mean"]
    assert "2.000 (bar 3, met" in said["thalamus_%", "mean absolute"]


def test_a_head_is_scanned_alike_whichever_others_are_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = load("heads", monkeypatch)
    for name in ("one", "two", "three", "four"):
        (tmp_path / f"{name}.nii.gz").touch()
    whole = {head.path.name: head for head in heads.plan(tmp_path, 5, None)}
    (alone,) = heads.plan(tmp_path, 5, ["two"])
    assert alone == whole["two.nii.gz"]
    assert {head.person.parameters.protocol.name for head in whole.values()} == {
        *("coarse", "clinical", "study")
    }


def found_of(mask: Image, corrected_mm3: float) -> Lesions:
    table = pd.DataFrame({"volume_mm3": [float(mask.data.sum())], "corrected_mm3": [corrected_mm3]})
    return Lesions(mask, mask, mask, table, quality={}, warnings=())


def test_lesion_volume_is_the_one_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = load("heads", monkeypatch)
    block = np.zeros((20, 20, 20), np.uint8)
    block[2:17, 2:17, 2:14] = 1  # 2700 mm3
    image = Image(block, np.eye(4))
    masks = {f"space-T1w_label-{name}_mask": image for name in ("lesion", "enhancing")}
    truth = simulate.Truth({}, masks)
    errors = heads._lesion_errors(found_of(image, 2970.0), image, truth, simulate.Parameters())
    assert errors["lesion_%"] == pytest.approx(10)
    assert errors["lesion_mask_%"] == pytest.approx(0)


def test_a_head_without_enhancing_lesions_has_none_to_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = load("heads", monkeypatch)
    empty = Image(np.zeros((12, 12, 12), np.uint8), np.eye(4))
    masks = {f"space-T1w_label-{name}_mask": empty for name in ("lesion", "enhancing")}
    truth = simulate.Truth({}, masks)
    nothing = found_of(empty, 0.0)
    errors = heads._lesion_errors(nothing, empty, truth, simulate.Parameters(lesion_ml=0.0))
    assert errors["enhancing_false"] == 0
    assert errors["false_lesion_ml"] == 0
    assert np.isnan(errors["enhancing_missed"])
    block = empty.data.copy()
    block[2:9, 2:9, 2:9] = 1
    false = empty.like(block)
    found = heads._lesion_errors(found_of(false, 343.0), false, truth, simulate.Parameters())
    assert found["enhancing_false"] == 1
    assert found["false_lesion_ml"] == pytest.approx(0.343)


def test_the_fit_of_the_interval_finds_coefficients_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("interval_fit", monkeypatch)
    known = np.array([0.8, 0.2, 0.5])
    path = tmp_path / "scans.tsv"
    _scans(module, known).to_csv(path, sep="\t", index=False)
    scans = module.of_interval(path)
    # What has no CSF reference takes no part: its errors are of another kind.
    assert scans["error_ppb"].abs().max() < 50
    np.testing.assert_allclose(module.fitted(scans), known, rtol=0.15)
    assert module.on_other_heads(scans).mean() == pytest.approx(0.95, abs=0.02)
    assert module.held(0.5 * known, scans).mean() < 0.8


def _scans(module, known: np.ndarray) -> pd.DataFrame:
    """Scans of 400 heads in three sizes at two noises, whose errors have a known spread."""
    sizes_mm, noises_ppb = np.meshgrid((1.0, 2.0, 3.0), (0.5, 4.0))
    one = pd.DataFrame({"size_mm": sizes_mm.ravel(), "field_noise_ppb": noises_ppb.ravel()})
    found = pd.concat([one.assign(seed=seed) for seed in range(400)], ignore_index=True)
    found = found.assign(
        protocol=found["size_mm"].astype(str) + " mm at " + found["field_noise_ppb"].astype(str),
        head="warped",
        side="LR",
        rest_ppb=0.4,
        reference_holds_csf=1.0,
        fourth_mm4=found["size_mm"] ** 4,
    )
    spread_ppb = np.sqrt(module.variance(known, found))
    found["error_ppb"] = np.random.default_rng(3).normal(0, spread_ppb)
    without = found.head(6).assign(reference_holds_csf=0.0, error_ppb=100.0)
    return pd.concat([found.drop(columns="fourth_mm4"), without.drop(columns="fourth_mm4")])
