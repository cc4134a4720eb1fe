import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bids_qsmthal.bids import gre_series
from bids_qsmthal.bids.dataset import find_sessions
from bids_qsmthal.core.errors import DataError, MissingInputError, QsmthalError
from bids_qsmthal.core.scan_warnings import (
    AcquiredInSlices,
    DistortionCorrectedApart,
    NumbersAsText,
)
from tests.conftest import ECHO_TIMES_S, write_image, write_json


def describe(bids_dir: Path) -> gre_series.GreSeries:
    (session,) = find_sessions(bids_dir)
    assert session.gre is not None
    return gre_series.describe(session.gre, bids_dir)


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text()) | changes
    write_json(path, {key: value for key, value in content.items() if value is not None})


def test_a_complete_scan_is_described(bids_dir: Path, add_gre: Callable[..., Path]) -> None:
    add_gre()
    series = describe(bids_dir)
    assert series.parts == ("mag", "phase")
    assert series.acquisition.echo_times_s == ECHO_TIMES_S
    assert series.acquisition.field_strength_t == 3
    assert series.phase_units == "rad"


def test_ten_echoes_are_not_sorted_as_text(bids_dir: Path) -> None:
    for number in range(1, 12):
        for part in ("mag", "phase"):
            stem = bids_dir / "sub-01" / "anat" / f"sub-01_echo-{number}_part-{part}_MEGRE"
            write_image(stem.with_suffix(".nii.gz"))
            write_json(
                stem.with_suffix(".json"),
                {"EchoTime": 0.004 * number, "MagneticFieldStrength": 3, "Units": "rad"},
            )
    names = [echo.path.name for echo in describe(bids_dir).first]
    assert [name.split("_")[1] for name in names] == [f"echo-{n}" for n in range(1, 12)]


def test_a_4d_file_has_an_echo_in_each_volume(bids_dir: Path) -> None:
    for part in ("real", "imag"):
        stem = bids_dir / "sub-01" / "anat" / f"sub-01_part-{part}_MEGRE"
        write_image(stem.with_suffix(".nii.gz"), (6, 5, 4, 2))
        write_json(
            stem.with_suffix(".json"), {"EchoTime": [0.005, 0.01], "MagneticFieldStrength": 3}
        )
    series = describe(bids_dir)
    assert series.parts == ("real", "imag")
    assert [echo.volume for echo in series.first] == [0, 1]


def test_phase_without_magnitude_is_refused(bids_dir: Path, add_gre: Callable[..., Path]) -> None:
    for path in add_gre().glob("*part-mag*"):
        path.unlink()
    with pytest.raises(MissingInputError, match="has only part-phase; susceptibility needs"):
        describe(bids_dir)


def test_a_missing_echo_is_refused(bids_dir: Path, add_gre: Callable[..., Path]) -> None:
    for path in add_gre().glob("*echo-2_part-phase*"):
        path.unlink()
    with pytest.raises(MissingInputError, match="an echo is missing"):
        describe(bids_dir)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"EchoTime": None}, MissingInputError, "EchoTime in its sidecar is None"),
        (
            {"EchoTime": "5 ms"},
            MissingInputError,
            "is '5 ms', expected seconds.*correct EchoTime in",
        ),
        ({"EchoTime": "0,005"}, MissingInputError, "is '0,005', expected seconds"),
        ({"EchoTime": ["0.005", "0.01"]}, DataError, "lists 2 times but the file holds 1 volumes"),
        ({"EchoTime": 0.015}, DataError, "same EchoTime"),
        ({"EchoTime": 15.0}, DataError, r"did you mean 0\.015 s"),
        ({"EchoTime": 15000}, DataError, r"did you mean 0\.015 s"),
        ({"EchoTime": 0.02}, DataError, "do not ascend with the echo numbers"),
        ({"MagneticFieldStrength": 7}, DataError, "MagneticFieldStrength differs"),
    ],
)
def test_a_wrong_sidecar_is_refused(
    bids_dir: Path,
    add_gre: Callable[..., Path],
    changes: dict[str, object],
    error: type[QsmthalError],
    says: str,
) -> None:
    folder = add_gre()
    number = 3 if changes.get("EchoTime") in (15.0, 15000) else 1
    for part in ("mag", "phase"):
        edit(folder / f"sub-01_echo-{number}_part-{part}_MEGRE.json", **changes)
    with pytest.raises(error, match=says):
        describe(bids_dir)


@pytest.mark.parametrize(
    "times", [[str(time) for time in ECHO_TIMES_S], [[t] for t in ECHO_TIMES_S]]
)
def test_numbers_in_quotes_or_in_a_list_of_one_are_read_and_said(
    bids_dir: Path, add_gre: Callable[..., Path], times: list[object]
) -> None:
    folder = add_gre()
    assert not describe(bids_dir).warnings
    for number, time in enumerate(times, 1):
        for part in ("mag", "phase"):
            sidecar = folder / f"sub-01_echo-{number}_part-{part}_MEGRE.json"
            edit(sidecar, EchoTime=time, MagneticFieldStrength=" 3.0")
    series = describe(bids_dir)
    assert series.acquisition.echo_times_s == ECHO_TIMES_S
    assert series.acquisition.field_strength_t == 3
    assert series.warnings == (NumbersAsText("EchoTime, MagneticFieldStrength"),)
    # Each echo is a whole volume, not a slice of one.
    first, _, _ = gre_series.load(series)
    assert first.shape == (*nibabel.load(series.first[0].path).shape, len(ECHO_TIMES_S))


def test_a_missing_field_strength_is_refused(bids_dir: Path, add_gre: Callable[..., Path]) -> None:
    for path in add_gre().glob("*.json"):
        edit(path, MagneticFieldStrength=None)
    with pytest.raises(MissingInputError, match="MagneticFieldStrength in the sidecars is None"):
        describe(bids_dir)


def test_echoes_of_different_shape_are_refused(
    bids_dir: Path, add_gre: Callable[..., Path]
) -> None:
    write_image(add_gre() / "sub-01_echo-3_part-mag_MEGRE.nii.gz", (6, 5, 5))
    with pytest.raises(DataError, match=r"echo-3_part-mag.*shape \(6, 5, 5\) differs"):
        describe(bids_dir)


def test_echoes_in_different_places_are_refused(
    bids_dir: Path, add_gre: Callable[..., Path]
) -> None:
    write_image(add_gre() / "sub-01_echo-3_part-phase_MEGRE.nii.gz", shift_mm=1)
    with pytest.raises(DataError, match="affine differs"):
        describe(bids_dir)


@pytest.mark.parametrize(("degrees", "shared"), [(0.002, True), (1.5, False)])
def test_a_tilt_counts_by_how_far_it_moves_the_far_corner(
    bids_dir: Path, add_gre: Callable[..., Path], degrees: float, *, shared: bool
) -> None:
    folder = add_gre()
    affine = nibabel.load(folder / "sub-01_echo-1_part-mag_MEGRE.nii.gz").affine
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    path = folder / "sub-01_echo-2_part-phase_MEGRE.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), turn @ affine), path)
    if shared:
        describe(bids_dir)
        return
    with pytest.raises(DataError, match=r"affine differs .* by up to [\d.]+ mm"):
        describe(bids_dir)


@pytest.mark.parametrize(
    ("magnitude", "phase", "doubted"),
    [("ND", "DIS2D", True), ("DIS3D", "ND", True), ("DIS2D", "DIS2D", False), ("ND", "M", False)],
)
def test_a_distortion_correction_of_one_part_alone_is_said(
    bids_dir: Path, add_gre: Callable[..., Path], magnitude: str, phase: str, *, doubted: bool
) -> None:
    for path in add_gre().glob("*_MEGRE.json"):
        word = magnitude if "part-mag" in path.name else phase
        edit(path, ImageType=["ORIGINAL", "PRIMARY", word], MRAcquisitionType="2D")
    found = describe(bids_dir).warnings
    assert (DistortionCorrectedApart(magnitude, phase) in found) is doubted
    assert AcquiredInSlices() in found


def test_a_file_that_is_no_image_is_refused(bids_dir: Path, add_gre: Callable[..., Path]) -> None:
    (add_gre() / "sub-01_echo-1_part-mag_MEGRE.nii.gz").write_bytes(b"not an image")
    with pytest.raises(DataError, match="not a readable NIfTI"):
        describe(bids_dir)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("phase", "ph", "rename part-ph to part-phase"),
        ("mag", "magnitude", "rename part-magnitude to part-mag"),
        ("phase", "Phase", "rename part-Phase to part-phase"),
    ],
)
def test_a_part_under_another_word_is_named_with_the_right_one(
    bids_dir: Path, add_gre: Callable[..., Path], old: str, new: str, says: str
) -> None:
    folder = add_gre()
    for path in list(folder.glob(f"*part-{old}_*")):
        path.rename(path.with_name(path.name.replace(f"part-{old}", f"part-{new}")))
    with pytest.raises(MissingInputError, match=says):
        describe(bids_dir)


def test_echo_times_under_another_key_are_asked_for(bids_dir: Path) -> None:
    stem = bids_dir / "sub-01" / "anat" / "sub-01_part-mag_MEGRE"
    for path in (stem, stem.with_name("sub-01_part-phase_MEGRE")):
        write_image(path.with_suffix(".nii.gz"), (6, 5, 4, 3))
        write_json(path.with_suffix(".json"), {"EchoTimes": [0.005, 0.01, 0.015]})
    with pytest.raises(MissingInputError, match="3 volumes but EchoTime is None, expected a list"):
        describe(bids_dir)


@pytest.mark.parametrize("part", ["mag", "phase"])
def test_a_part_under_other_entities_is_pointed_at(
    bids_dir: Path, add_gre: Callable[..., Path], part: str
) -> None:
    folder = add_gre()
    for path in list(folder.glob(f"*part-{part}_*")):
        path.rename(path.with_name(path.name.replace("sub-01_", "sub-01_rec-norm_")))
    (first, _) = find_sessions(bids_dir)
    assert first.gre is not None
    with pytest.raises(MissingInputError, match=r"lies beside it with other .* the same acq, rec"):
        gre_series.describe(first.gre, bids_dir)


def test_each_echo_is_read_to_its_own_place(bids_dir: Path, add_gre: Callable[..., Path]) -> None:
    add_gre()
    paths = sorted((bids_dir / "sub-01" / "anat").glob("*_MEGRE.nii.gz"))
    rng = np.random.default_rng(7)
    written = {}
    for path in paths:
        image = nibabel.load(path)
        written[path.name] = rng.normal(size=image.shape).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(written[path.name], image.affine, image.header), path)
    series = describe(bids_dir)
    first, second, _ = gre_series.load(series)
    for part, data in ((series.first, first), (series.second, second)):
        assert data.flags.c_contiguous
        for place, echo in enumerate(part):
            np.testing.assert_array_equal(data[..., place], written[echo.path.name])
