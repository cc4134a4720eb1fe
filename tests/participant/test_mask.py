"""--mask on a whole participant of a few voxels whose phase is noise in a part of the brain."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import choices
from bids_qsmthal.app.cli import main
from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.participant import pipeline
from bids_qsmthal.participant.pipeline import BRAIN_IN_GRE, PHASE_MASK
from bids_qsmthal.qsm import MASKS, MaskChoice
from bids_qsmthal.settings import Resources, Settings
from tests import tiny
from tests.participant.test_pipeline import session_of

BRAIN, MAP = "desc-brain", "desc-qsm"

WITHOUT_PHASE = np.s_[:, 30:]
"""The front of the head, as beside a sinus."""


def settings_of(name: str, folder: Path) -> Settings:
    resources = Resources(cores=1, threads=1, memory_bytes=2**30)
    folders = {key: folder / key for key in ("bids_dir", "output_dir", "work_dir")}
    return Settings(**folders, resources=resources, mask=MaskChoice(name=name))


@pytest.mark.parametrize(
    ("name", "scans", "stages"),
    [
        ("brain", ("gre", "t1w"), set()),
        ("brain", ("gre",), {BRAIN_IN_GRE}),
        ("magnitude", ("gre", "t1w"), {BRAIN_IN_GRE}),
        ("phase", ("gre", "t1w"), {PHASE_MASK}),
        ("brain+phase", ("gre",), {BRAIN_IN_GRE, PHASE_MASK}),
        ("brain+phase", ("t1w",), set()),
    ],
)
def test_the_mask_decides_which_stages_run(
    tmp_path: Path, name: str, scans: tuple[str, ...], stages: set[pipeline.Stage]
) -> None:
    wanted = pipeline.requested(settings_of(name, tmp_path))
    plan = pipeline.plan(session_of(tmp_path, scans), {}, wanted)
    assert {BRAIN_IN_GRE, PHASE_MASK}.intersection(plan.stages) == stages


def test_a_threshold_goes_with_a_phase_and_lies_between_noise_and_none() -> None:
    assert choices.mask("phase", 0.8).reliable.threshold == 0.8
    for name, threshold in (("brain", 0.8), ("phase", 0.5), ("phase", 1.0), ("phase", np.nan)):
        with pytest.raises(UsageError, match="--mask-threshold"):
            choices.mask(name, threshold)
    assert choices.mask() == MaskChoice(name="brain")
    for name in MASKS:
        assert f"  {name}" in choices.describe_all()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mask")
    tiny.write_dataset(root, "sub-01")
    rng = np.random.default_rng(8)
    for path in sorted((root / "bids" / "sub-01" / "anat").glob("*part-phase*.nii.gz")):
        image = nib.load(path)
        phase = image.get_fdata(dtype=np.float32)
        phase[WITHOUT_PHASE] = rng.uniform(-np.pi, np.pi, phase[WITHOUT_PHASE].shape)
        nib.save(tiny.scanner(phase, image.affine), path)
    t1w = root / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    nib.save(tiny.scanner(tiny.scan()[2][..., 0], image.affine), t1w)
    return root


@pytest.fixture(scope="module")
def out(root: Path) -> Path:
    # PDF takes nothing away at the border of the mask; T1w is there, and not asked for.
    words = ("--mask", "brain+phase", "--background", "pdf", "--qsm-only")
    assert main(tiny.words(root, *words)) == 0
    return root / "out"


def voxels(out: Path, name: str) -> np.ndarray:
    image = nib.load(out / "sub-01" / "anat" / f"sub-01_space-MEGRE_{name}_mask.nii.gz")
    return np.asarray(image.dataobj) > 0


@pytest.mark.slow
def test_the_map_has_the_part_of_the_brain_with_a_phase_and_the_rest_counts_as_lost(
    out: Path,
) -> None:
    brain, kept = tiny.scan()[0].mask, voxels(out, MAP)
    assert not (kept & ~brain).any()
    assert kept[:, :28].sum() > 0.95 * brain[:, :28].sum()
    # Voxels 30 and 31 are the border, which a block of three voxels blurs.
    assert not kept[:, 32:].any()
    # The brain itself, for pages and measures, stays that of the user.
    np.testing.assert_array_equal(voxels(out, BRAIN), brain)
    table = pd.read_csv(out / "sub-01" / "anat" / "sub-01_desc-qsmthal_quality.tsv", sep="\t")
    lost = table.set_index("name").loc["mask_lost_fraction", "value"]
    assert float(lost) == pytest.approx((brain & ~kept).sum() / brain.sum(), abs=2e-3)


@pytest.mark.slow
def test_sidecar_and_methods_name_the_mask(out: Path) -> None:
    sidecar = json.loads((out / "sub-01" / "anat" / "sub-01_Chimap.json").read_text())
    assert sidecar["Method"]["Mask"]["name"] == "brain+phase"
    assert sidecar["Method"]["Mask"]["reliable"]["threshold"] == 0.75
    page = (out / "sub-01.html").read_text()
    assert "in the part of the brain where the phase is reliable" in page


@pytest.mark.slow
def test_the_gradient_echo_alone_leaves_t1w_unread(out: Path) -> None:
    made = {path.name for path in (out / "sub-01" / "anat").iterdir()}
    assert "sub-01_Chimap.nii.gz" in made
    assert not [name for name in made if "T1w" in name]
    assert "no T1w was asked for" in (out / "sub-01.html").read_text()


def noise_everywhere(stored: np.ndarray) -> np.ndarray:
    """A phase of noise: no voxel is reliable."""
    return np.random.default_rng(int(1e3 * abs(stored).sum())).uniform(-np.pi, np.pi, stored.shape)


def unwrapped_and_scaled_again(stored: np.ndarray) -> np.ndarray:
    """More than a turn, and wraps that are not turns: not rad, whatever Units say."""
    return 2.0 * stored


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoilt", "words", "says"),
    [
        (noise_everywhere, ("--mask", "phase"), "No voxel has a phase of quality 0.75"),
        (noise_everywhere, ("--mask", "brain+phase", "--mask-threshold", "0.9"), "of quality 0.9"),
        (unwrapped_and_scaled_again, (), "--phase-units"),
    ],
)
def test_check_foresees_a_phase_that_a_run_refuses_in_the_same_words(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoilt: Callable[[np.ndarray], np.ndarray],
    words: tuple[str, ...],
    says: str,
) -> None:
    tiny.write_dataset(tmp_path, "sub-01")
    for path in sorted((tmp_path / "bids" / "sub-01" / "anat").glob("*part-phase*.nii.gz")):
        image = nib.load(path)
        phase = spoilt(image.get_fdata(dtype=np.float32)).astype(np.float32)
        nib.save(tiny.scanner(phase, image.affine), path)
    folder = str(tmp_path / "bids")
    assert main(["check", folder, "-q", *words]) == 65
    foreseen = capsys.readouterr().out.split("problems:\n")[1].splitlines()[0]
    assert says in foreseen
    assert main(tiny.words(tmp_path, *words, "--qsm-only")) == 65
    refused = capsys.readouterr().err
    assert foreseen.split(": ", 1)[1] in refused
