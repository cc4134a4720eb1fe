"""From DICOM to radians: dcm2niix and dcm2bids as the documentation configures them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.app.cli import main, parse, settings_from
from bids_qsmthal.bids import gre_series
from bids_qsmthal.bids.dataset import find_sessions
from bids_qsmthal.participant import gre_signal
from tests.conftest import write_json
from tests.scanner import dicom

pytestmark = pytest.mark.slow

CONFIGURATION = Path(__file__).parents[2] / "docs" / "dicom" / "dcm2bids.json"
LABELS = {
    "siemens": "siemens",
    "philips": "philips",
    "philips-display": "philipsdisplay",
    "ge": "ge",
    "ge-phase": "gephase",
}
"""Philips twice: with the precise values of dcm2niix (its default) and with those displayed."""


def needed(program: str) -> str:
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no {program}")
        pytest.skip(f"no {program} on this machine")
    return found


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One participant of each vendor, converted by the commands of the documentation."""
    needed("dcm2niix")
    program = needed("dcm2bids")
    root = tmp_path_factory.mktemp("scanner")
    bids = root / "bids"
    bids.mkdir()
    write_json(bids / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.10.0"})
    displayed = root / "displayed.json"
    displayed.write_text(CONFIGURATION.read_text().replace("-b y", "-b y -p n"))
    for vendor, label in LABELS.items():
        dicom.write(root / vendor, vendor.removesuffix("-display"))
        configuration = displayed if vendor.endswith("-display") else CONFIGURATION
        words = ["-d", root / vendor, "-p", label, "-c", configuration, "-o", bids]
        done = subprocess.run(
            [program, *map(str, words)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return bids


def read(bids: Path, vendor: str) -> tuple[gre_series.GreSeries, gre_signal.Signal]:
    words = [str(bids), str(bids.parent / "out"), "participant"]
    words += ["--participant-label", LABELS[vendor]]
    settings = settings_from(parse(words), words)
    (session,) = find_sessions(bids, settings.selection)
    assert session.gre is not None
    series = gre_series.describe(session.gre, bids)
    return series, gre_signal.read(series, settings)


def stored_as(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns, rows and slices of the scanner for the axes of an image, and its corner."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    tilt = np.deg2rad(dicom.TILT_DEG)
    axes = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    voxel = np.array(dicom.VOXEL_MM)
    corner = -0.5 * (voxel * dicom.SHAPE) @ axes
    steps = np.linalg.solve((axes * voxel[:, None]).T, lps[:3, :3])
    begin = np.linalg.solve((axes * voxel[:, None]).T, lps[:3, 3] - corner)
    return steps, begin


def as_stored(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return what the scanner stored at each voxel of an image with this affine."""
    steps, begin = stored_as(affine)
    np.testing.assert_allclose(np.abs(steps), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(begin, np.rint(begin), atol=2e-2)
    for axis in range(3):
        if steps[axis, axis] < 0:
            data = np.flip(data, axis)
            assert round(begin[axis]) == dicom.SHAPE[axis] - 1
        else:
            assert round(begin[axis]) == 0
    return data


@pytest.mark.parametrize("vendor", LABELS)
def test_phase_is_in_radians_and_grows_with_the_field(converted: Path, vendor: str) -> None:
    _, found = read(converted, vendor)
    truth = as_stored(dicom.scan().phase_rad, found.phase_rad.affine)
    strength = as_stored(dicom.scan().magnitude, found.phase_rad.affine)
    inside = strength > 100
    assert found.phase_rad.data.shape == truth.shape
    error = np.angle(np.exp(1j * (found.phase_rad.data - truth)))[inside]
    step = {
        "siemens": 0.002,
        "philips": 0.002,
        "philips-display": 0.002,
        "ge": 0.003,
        "ge-phase": 0.001,
    }[vendor]
    assert np.abs(error).max() < step


@pytest.mark.parametrize("vendor", LABELS)
def test_magnitudes_keep_their_proportions(converted: Path, vendor: str) -> None:
    _, found = read(converted, vendor)
    truth = as_stored(dicom.scan().magnitude, found.magnitude.affine)
    inside = truth > 100
    ratio = found.magnitude.data[inside] / truth[inside]
    assert ratio.std() / ratio.mean() < 0.002


@pytest.mark.parametrize("vendor", LABELS)
def test_timing_field_strength_and_direction_are_those_of_the_scan(
    converted: Path, vendor: str
) -> None:
    series, found = read(converted, vendor)
    assert series.acquisition.echo_times_s == pytest.approx(
        [time / 1000 for time in dicom.ECHO_TIMES_MS]
    )
    assert series.acquisition.field_strength_t == dicom.FIELD_STRENGTH_T
    grid = found.magnitude.grid
    assert grid.voxel_size_mm == pytest.approx(dicom.VOXEL_MM, rel=1e-4)
    steps, _ = stored_as(found.magnitude.affine)
    tilt = np.deg2rad(dicom.TILT_DEG)
    expected = np.sign(np.diag(steps)) * (0, np.sin(tilt), np.cos(tilt))
    np.testing.assert_allclose(grid.b0_direction, expected, atol=1e-3)


@pytest.mark.parametrize("vendor", LABELS)
def test_what_was_undone_is_said(converted: Path, vendor: str) -> None:
    series, found = read(converted, vendor)
    assert found.report.chopped == vendor.startswith("ge")
    assert found.report.sign == (-1 if vendor.startswith("ge") else 1)
    assert series.parts == (("real", "imag") if vendor == "ge" else ("mag", "phase"))


def test_the_checker_finds_nothing_against_the_converted_dataset(
    converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(converted), "-q"]) == 0
    assert "5 of 5 ready" in capsys.readouterr().out


def test_every_name_of_the_configuration_is_one_that_is_looked_for() -> None:
    described = json.loads(CONFIGURATION.read_text())["descriptions"]
    assert {item["suffix"] for item in described} == {"MEGRE", "T1w", "FLAIR"}
    assert {item["datatype"] for item in described} == {"anat"}
