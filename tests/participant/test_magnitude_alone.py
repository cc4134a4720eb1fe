"""A gradient echo of magnitude alone gives R2*, and says why it gives no susceptibility."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.app import check
from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import gre_series
from bids_qsmthal.bids.dataset import Session, find_sessions
from bids_qsmthal.core.errors import MissingInputError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import PhaseMissing
from bids_qsmthal.participant import gre_signal, pipeline
from bids_qsmthal.participant.gre_signal import MagnitudeSignal, SignalOnDisk
from bids_qsmthal.qsm import r2star_map
from bids_qsmthal.qsm.relaxation import WeightedExponential
from bids_qsmthal.settings import Resources, Settings
from tests import tiny

TIMES_S = (0.004, 0.011, 0.023)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a dataset of one participant whose gradient echo has no phase."""
    tiny.write_dataset(tmp_path, "sub-01")
    for path in (tmp_path / "bids" / "sub-01" / "anat").glob("*part-phase*"):
        path.unlink()
    return tmp_path


def settings_of(root: Path) -> Settings:
    return Settings(
        bids_dir=root / "bids",
        output_dir=root / "out",
        work_dir=root / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
    )


def session_of(root: Path) -> Session:
    (session,) = find_sessions(root / "bids")
    return session


def described(root: Path) -> gre_series.MagnitudeSeries:
    session = session_of(root)
    assert session.gre is not None
    return gre_series.describe(session.gre, session.root)


@pytest.mark.parametrize("named", [True, False])
def test_a_scan_of_magnitude_alone_has_echo_times_and_no_phase(root: Path, *, named: bool) -> None:
    if not named:
        for path in (root / "bids" / "sub-01" / "anat").iterdir():
            path.rename(path.with_name(path.name.replace("_part-mag", "")))
    series = described(root)
    assert not isinstance(series, gre_series.GreSeries)
    assert series.parts == ("mag",)
    assert series.acquisition.echo_times_s == tiny.scan()[0].acquisition.echo_times_s
    assert PhaseMissing() in series.warnings


def test_one_echo_of_magnitude_alone_cannot_be_used(root: Path) -> None:
    for path in (root / "bids" / "sub-01" / "anat").iterdir():
        if "_echo-1_" not in path.name:
            path.unlink()
    with pytest.raises(MissingInputError, match="R2\\* two echoes or more"):
        described(root)


def test_a_phase_under_another_name_is_pointed_at(root: Path) -> None:
    folder = root / "bids" / "sub-01" / "anat"
    magnitude = folder / "sub-01_echo-1_part-mag_MEGRE.nii.gz"
    (folder / "sub-01_echo-1_MEGRE_ph.nii.gz").write_bytes(magnitude.read_bytes())
    with pytest.raises(MissingInputError, match="look like its phase"):
        described(root)


def test_an_echo_that_is_missing_is_no_shorter_scan(root: Path) -> None:
    for path in (root / "bids" / "sub-01" / "anat").glob("*echo-2*"):
        path.unlink()
    with pytest.raises(MissingInputError, match="an echo is missing"):
        described(root)


def test_its_signal_holds_magnitude_as_stored_in_memory_and_on_disk(root: Path) -> None:
    signal = gre_signal.read(described(root), settings_of(root))
    assert type(signal) is MagnitudeSignal
    np.testing.assert_array_equal(signal.magnitude.data, tiny.scan()[2])
    back = SignalOnDisk(signal, root / "waiting").loaded
    np.testing.assert_array_equal(back.magnitude.data, signal.magnitude.data)
    assert type(back) is MagnitudeSignal


def test_r2star_of_a_known_decay_comes_back_inside_the_brain_and_nowhere_else() -> None:
    rate = np.random.default_rng(5).uniform(5, 60, (4, 5, 6)).astype(np.float32)
    decay = 800 * np.exp(-rate[..., None] * np.array(TIMES_S, np.float32))
    brain = np.ones(rate.shape, bool)
    brain[0] = False
    found = r2star_map(
        Image(decay, np.eye(4)), Image(brain, np.eye(4)), TIMES_S, WeightedExponential()
    ).data
    np.testing.assert_allclose(found[1:], rate[1:], rtol=1e-3)
    assert not found[0].any()


def test_check_and_dry_run_say_what_is_made_and_what_is_not(root: Path) -> None:
    found = check.examine(session_of(root), settings_of(root), voxels=False)
    assert found.state == "ready"
    assert pipeline.RELAXATION in found.plan.stages
    left_out = {one.stage: str(one) for one in found.plan.left_out}
    assert left_out[pipeline.SUSCEPTIBILITY].endswith("there is no phase of the gradient echo")
    assert found.costs[0] == pipeline.NO_PHASE
    # Labels of others would not help.
    assert not any("susceptibility" in cost for cost in found.costs[1:])
    assert "R2starmap" in check.plan(found)
    assert "Chimap" not in check.plan(found)
    assert "has only magnitude" in check.overview([found])


@pytest.mark.slow
def test_a_run_makes_r2star_and_says_why_there_is_no_susceptibility(root: Path) -> None:
    assert main(tiny.words(root, "-q")) == 0
    anat = root / "out" / "sub-01" / "anat"
    head = tiny.scan()[0]
    r2star_hz = nib.load(anat / "sub-01_R2starmap.nii.gz").get_fdata()
    t2star_s = nib.load(anat / "sub-01_T2starmap.nii.gz").get_fdata()
    inside = head.mask & (r2star_hz > 0)
    np.testing.assert_allclose(t2star_s[inside], 1 / r2star_hz[inside], rtol=1e-5)
    assert not list(anat.glob("*Chimap*"))
    sidecar = json.loads((anat / "sub-01_R2starmap.json").read_text())
    assert all("part-mag" in source for source in sidecar["Sources"])
    table = pd.read_csv(anat / "sub-01_desc-qsmthal_measures.tsv", sep="\t")
    of_brain = table[(table["measure"] == "r2star_mean") & (table["region"] == "brain")]
    assert of_brain["value"].item() == pytest.approx(r2star_hz[head.mask].mean(), rel=1e-4)
    assert set(table["qc"]) == {"check"}
    checks = pd.read_csv(anat / "sub-01_desc-qsmthal_quality.tsv", sep="\t", index_col="name")
    assert checks.loc["snr", "value"] > 20
    assert checks.loc["snr", "verdict"] == "include"
    assert not table["measure"].str.startswith("chi").any()
    page = (root / "out" / "sub-01.html").read_text()
    assert "Susceptibility needs the phase" in page
    assert "There is no gradient echo" not in page
    assert "Susceptibility mapping" not in page
    methods = (root / "out" / "logs" / "sub-01_CITATION.md").read_text()
    assert "its magnitude alone was there" in methods
    assert "inverted" not in methods
