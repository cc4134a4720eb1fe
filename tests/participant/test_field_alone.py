"""Magnitude and a total field of another program, without phase, give susceptibility."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.app import check
from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import gre_series
from bids_qsmthal.bids.dataset import find_sessions
from bids_qsmthal.bids.external import External, ExternalFile
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import FieldWithoutPhase, PhaseMissing
from bids_qsmthal.core.sources import dataset
from bids_qsmthal.participant import given_field, gre_signal, pipeline
from bids_qsmthal.participant.gre_signal import MagnitudeSignal, Signal
from bids_qsmthal.qsm.field import ComplexFit, GivenField
from bids_qsmthal.settings import Resources, Settings
from tests import tiny
from tests.conftest import write_json

NAME = "sub-01_desc-total_fieldmap"


@pytest.fixture(scope="module")
def field_hz() -> np.ndarray:
    """Return what another program would make of the tiny scan's phase, in a worse shim.

    Of the tiny head's surroundings a tenth is left: without the offset of the coils its field is
    more even than that of people, and would be taken for a filtered one.
    """
    head, _, magnitude, phase = tiny.scan()
    arrays = magnitude.astype(np.float32), phase.astype(np.float32), head.mask
    found = ComplexFit()(*arrays, head.grid, head.acquisition).frequency_hz
    z_mm = tiny.VOXEL_MM * (np.arange(tiny.SHAPE[2], dtype=np.float32) - tiny.SHAPE[2] // 2)
    return np.where(head.mask, found + 0.4 * z_mm, 0).astype(np.float32)


@pytest.fixture
def root(tmp_path: Path, field_hz: np.ndarray) -> Path:
    """Return a dataset of a scan without phase, beside labels and a total field."""
    tiny.write_dataset(tmp_path, "sub-01")
    for path in (tmp_path / "bids" / "sub-01" / "anat").glob("*part-phase*"):
        path.unlink()
    write_field(tmp_path, field_hz)
    return tmp_path


def write_field(root: Path, values_hz: np.ndarray) -> None:
    folder = root / "labels" / "sub-01" / "anat"
    nib.save(tiny.scanner(values_hz, tiny.scan()[1]), folder / f"{NAME}.nii.gz")
    write_json(folder / f"{NAME}.json", {"Units": "Hz"})


def settings_of(root: Path) -> Settings:
    return Settings(
        bids_dir=root / "bids",
        output_dir=root / "out",
        work_dir=root / "work",
        datasets={"mine": root / "labels"},
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
    )


def external(values_hz: np.ndarray) -> dict[str, External]:
    file = ExternalFile(Path(f"{NAME}.nii.gz"), dataset("mine"))
    return {given_field.KEY: External(file, Image(values_hz, tiny.scan()[1]))}


def read(root: Path) -> MagnitudeSignal:
    (session,) = find_sessions(root / "bids")
    assert session.gre is not None
    return gre_signal.read(gre_series.describe(session.gre, session.root), settings_of(root))


def put_in(root: Path, values_hz: np.ndarray, **changes: str) -> tuple[Settings, Image]:
    """Return settings and mask after a field was put in the place of the fit."""
    given = external(values_hz)
    signal = given_field.with_phase(read(root), given)
    assert signal is not None
    brain = signal.combined.like(tiny.scan()[0].mask)
    settings = replace(settings_of(root), **changes)
    given_field.check(signal, given, settings)
    return given_field.with_field(settings, signal, brain, given)


def test_without_phase_the_field_is_taken_and_the_warning_says_so(
    root: Path, field_hz: np.ndarray
) -> None:
    signal = given_field.with_phase(read(root), external(field_hz))
    assert isinstance(signal, Signal)
    assert signal.report is None
    assert FieldWithoutPhase() in signal.warnings
    assert PhaseMissing() not in signal.warnings
    settings, measured_in = put_in(root, field_hz)
    fitting = settings.reconstruction.fitting
    assert isinstance(fitting, GivenField)
    assert not fitting.has_phase
    assert np.array_equal(fitting.frequency_hz, field_hz)
    assert np.array_equal(measured_in.data, tiny.scan()[0].mask & (field_hz != 0))


def test_without_phase_and_field_there_is_nothing_to_invert(root: Path) -> None:
    assert given_field.with_phase(read(root), {}) is None


@pytest.mark.parametrize("factor", [1 / 127.7, 0.02])
def test_a_field_that_is_even_over_the_head_is_no_total_field_in_hertz(
    root: Path, field_hz: np.ndarray, factor: float
) -> None:
    with pytest.raises(DataError, match="tens of Hz"):
        put_in(root, factor * field_hz)
    put_in(root, factor * field_hz, phase_filter="no")


def test_a_field_in_which_iron_looks_diamagnetic_is_refused(
    root: Path, field_hz: np.ndarray
) -> None:
    with pytest.raises(DataError, match="positive where protons precess faster"):
        put_in(root, -field_hz)
    put_in(root, -field_hz, phase_sign="+1")


def test_check_says_what_a_run_would_refuse_and_a_run_says_it_before_its_first_stage(
    root: Path, field_hz: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    write_field(root, -field_hz)
    (session,) = find_sessions(root / "bids")
    (problem,) = check.examine(session, settings_of(root), voxels=True).problems
    assert "positive where protons precess faster" in problem.text
    assert problem.exit_code == 65
    assert main(tiny.words(root)) == 65
    assert problem.text in caplog.text
    assert "[1/" not in caplog.text  # no stage was begun
    write_field(root, field_hz)
    assert check.examine(session, settings_of(root), voxels=True).problems == ()


def test_check_and_dry_run_plan_susceptibility(root: Path) -> None:
    (session,) = find_sessions(root / "bids")
    found = check.examine(session, settings_of(root), voxels=False)
    assert found.state == "ready"
    assert pipeline.SUSCEPTIBILITY in found.plan.stages
    assert pipeline.RELAXATION not in found.plan.considered
    assert pipeline.NO_PHASE not in found.costs
    assert FieldWithoutPhase() in found.doubts
    assert "Chimap" in check.plan(found)


@pytest.mark.slow
def test_thalami_are_those_of_the_scan_with_phase_and_never_taken_unseen(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = tmp_path_factory.mktemp("whole")
    tiny.write_dataset(whole, "sub-01")
    for folder in (whole, root):
        assert main(tiny.words(folder, "-q")) == 0
    expected, found = (thalami(folder) for folder in (whole, root))
    np.testing.assert_allclose(found, expected, atol=1.0)
    anat = root / "out" / "sub-01" / "anat"
    table = pd.read_csv(anat / "sub-01_desc-qsmthal_measures.tsv", sep="\t")
    # Echoes cannot be split without phase, so what differs within the thalami counts as noise: 60
    # ppb between the two of this head exclude it.
    assert "include" not in set(table["qc"])
    checks = pd.read_csv(anat / "sub-01_desc-qsmthal_quality.tsv", sep="\t").set_index("name")
    assert "cannot be checked against the phase" in checks.loc["gradient_echo", "reason"]
    assert json.loads((anat / "sub-01_Chimap.json").read_text())["Method"]["Phase"] is None
    page = (root / "out" / "sub-01.html").read_text()
    assert "cannot be checked against the phase" in page
    assert "stored phase" not in page


def thalami(root: Path) -> list[float]:
    anat = root / "out" / "sub-01" / "anat"
    table = pd.read_csv(anat / "sub-01_desc-qsmthal_measures.tsv", sep="\t")
    rows = table[(table["measure"] == "chi_relative_csf") & (table["region"] == "thalamus")]
    return [float(rows[rows["hemisphere"] == side]["value"].item()) for side in ("L", "R")]
