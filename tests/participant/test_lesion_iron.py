"""From lesions and maps to the table of lesions, who decided on rims, and the rows of measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import qsm, roi
from bids_qsmthal.bids.dataset import GreFiles, Session
from bids_qsmthal.bids.external import External, ExternalFile
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import OneEcho, ScanWarning
from bids_qsmthal.core.sources import EDITED, OURS
from bids_qsmthal.participant import lesion_iron
from bids_qsmthal.participant.kept_results import KeptResults
from bids_qsmthal.participant.lesion_iron import DICTIONARY, MeasuredLesions, Rim
from bids_qsmthal.participant.measures import lesion_iron_rows
from bids_qsmthal.participant.pipeline import LESION_IRON, plan
from bids_qsmthal.simulate.fields import dipole_field

SCAN = qsm.Acquisition(echo_times_s=(0.005, 0.01), field_strength_t=7.0)
SHAPE = (64, 44, 44)
AFFINE = np.eye(4)
CENTRES = {1: (14, 22, 14), 2: (40, 22, 14), 3: (14, 22, 32), 4: (50, 10, 32)}
RADII = {1: 6, 2: 6, 3: 6, 4: 2}


def ball(number: int, radius: float) -> np.ndarray:
    places = zip(np.indices(SHAPE), CENTRES[number], strict=True)
    return np.asarray(sum((axis - centre) ** 2 for axis, centre in places) < radius**2)


def image(data: np.ndarray) -> Image:
    return Image(data, AFFINE)


@pytest.fixture(scope="module")
def structural() -> Any:
    """White matter with four lesions, of which the second enhances in part."""
    mask = np.zeros(SHAPE, bool)
    for number, radius in RADII.items():
        mask |= ball(number, radius)
    brain = image(np.ones(SHAPE, bool))
    prepared = SimpleNamespace(
        brain=brain,
        prior_gm=image(np.zeros(SHAPE, np.float32)),
        prior_wm=image(np.ones(SHAPE, np.float32)),
        prior_csf=image(np.zeros(SHAPE, np.float32)),
        labels=image(np.zeros(SHAPE, np.int16)),
        regions=image(np.zeros(SHAPE, np.int16)),
    )
    lesions = SimpleNamespace(mask=image(mask), probability=image(mask.astype(np.float32)))
    white = image((np.indices(SHAPE)[0] < 60).astype(np.float32))
    return SimpleNamespace(
        prepared=prepared,
        lesions=lesions,
        anatomy=SimpleNamespace(wm=white),
        enhancement=SimpleNamespace(mask=image(ball(2, 1.5))),
    )


def maps(warnings: tuple[ScanWarning, ...] = ()) -> Any:
    """A rim of 60 ppb in the first, 40 ppb throughout the second, the third plain."""
    chi = np.random.default_rng(5).normal(-20, 2, SHAPE)
    chi[ball(1, 6) & ~ball(1, 4.2)] += 60
    chi[ball(2, 6)] += 40
    chi[60:] = 30
    chi_ppm = (chi / 1000).astype(np.float32)
    nothing = np.zeros(SHAPE, np.float32)
    local_hz = dipole_field(chi_ppm, Grid(SHAPE)) * np.float32(SCAN.centre_frequency_hz / 1e6)
    return qsm.Maps(
        chi_ppm=chi_ppm,
        local_field_hz=local_hz,
        total_field_hz=local_hz,
        noise=nothing,
        r2star_hz=np.full(SHAPE, 20, np.float32),
        mask=np.ones(SHAPE, bool),
        csf_mask=np.zeros(SHAPE, bool),
        quality={},
        converged=True,
        warnings=warnings,
        offset="",
        noise_ppm=np.full(SHAPE, 0.002, np.float32),
        sound=np.ones(SHAPE, bool),
    )


def measured(
    structural: Any,
    external: dict[str, External],
    *,
    runs: bool = True,
    warnings: tuple[ScanWarning, ...] = (),
) -> MeasuredLesions | None:
    def run(_: object, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    nothing = np.zeros(SHAPE, bool)
    reference = nothing.copy()
    reference[60:] = True
    regions = SimpleNamespace(masks={"veins": image(nothing)}, csf_reference=image(reference))
    return lesion_iron.measured_lesions(
        *(structural, maps(warnings), regions, AFFINE),
        acquisition=SCAN,
        settings=SimpleNamespace(rims=roi.RimRule()),
        runner=SimpleNamespace(runs=lambda _: runs, run=run),
        external=external,
    )


@pytest.fixture(scope="module")
def found(structural: Any) -> MeasuredLesions:
    made = measured(structural, {})
    assert made is not None
    return made


def by_place(found: MeasuredLesions) -> pd.DataFrame:
    """Return the table by the numbers of this file."""
    table = found.table
    places = table[["x_mm", "y_mm", "z_mm"]].to_numpy()
    nearest = [
        min(CENTRES, key=lambda number: float(np.abs(place - CENTRES[number]).sum()))
        for place in places
    ]
    return table.assign(number=nearest).set_index("number")


def test_each_lesion_has_a_row_with_every_column_of_the_dictionary(found: MeasuredLesions) -> None:
    assert list(found.table) == list(DICTIONARY)
    table = by_place(found)
    assert sorted(table.index) == [1, 2, 3, 4]
    assert table.loc[2, "chi_relative_nawm_ppb"] == pytest.approx(40, abs=1)
    assert table.loc[2, "chi_relative_csf_ppb"] == pytest.approx(-10, abs=1)
    assert table.loc[3, "chi_relative_nawm_ppb"] == pytest.approx(0, abs=1)
    assert (table["enhancing_mm3"] > 0).to_dict() == {1: False, 2: True, 3: False, 4: False}


def test_a_rim_is_told_and_a_small_lesion_is_not_asked(found: MeasuredLesions) -> None:
    table = by_place(found)
    assert table["rim"].to_dict() == {
        1: Rim.PRESENT,
        2: Rim.ABSENT,
        3: Rim.ABSENT,
        4: Rim.NOT_ASSESSED,
    }
    assert found.rim_source == OURS
    np.testing.assert_array_equal(found.rims.data, ball(1, 6))


def test_the_mask_of_a_reader_rejects_and_confirms(structural: Any) -> None:
    drawn = image((ball(3, 6) & ~ball(3, 5)).astype(np.uint8))
    external = {"rim": External(ExternalFile(Path("rim.nii.gz"), EDITED), drawn)}
    found = measured(structural, external)
    assert found is not None
    assert by_place(found)["rim"].to_dict() == {
        1: Rim.ABSENT,
        2: Rim.ABSENT,
        3: Rim.PRESENT,
        4: Rim.NOT_ASSESSED,
    }
    assert found.rim_source == EDITED
    rows = {(one["measure"], one["region"]): one for one in lesion_iron_rows(found, OURS)}
    assert rows["rim_count", "lesion"]["source"] == "manual edit"
    assert rows["lesion_count_distinct", "lesion"]["source"] == "bids_qsmthal"


def test_a_single_echo_shows_no_rim_but_susceptibility_and_what_a_reader_marks(
    structural: Any,
) -> None:
    found = measured(structural, {}, warnings=(OneEcho(),))
    assert found is not None
    assert set(found.table["rim"]) == {Rim.NOT_ASSESSED}
    assert found.table["chi_relative_nawm_ppb"].notna().all()
    assert values(found)["rim_count", "lesion"] is None
    drawn = image((ball(3, 6) & ~ball(3, 5)).astype(np.uint8))
    external = {"rim": External(ExternalFile(Path("rim.nii.gz"), EDITED), drawn)}
    marked = measured(structural, external, warnings=(OneEcho(),))
    assert marked is not None
    assert by_place(marked)["rim"].to_dict() == {
        1: Rim.NOT_ASSESSED,
        2: Rim.NOT_ASSESSED,
        3: Rim.PRESENT,
        4: Rim.NOT_ASSESSED,
    }


def test_a_lesion_that_would_show_no_rim_is_not_called_one_without() -> None:
    asked = pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "rim_probability": [0.1, 0.1, 0.9, np.nan],
            "rim_visible_ppb": [40.0, np.nan, np.nan, np.nan],
        }
    )
    settings: Any = SimpleNamespace(rims=roi.RimRule())
    labels = np.array([1, 2, 3, 4], np.int32)
    by_score = lesion_iron._rims(asked, labels, None, settings)
    assert list(by_score) == [Rim.ABSENT, Rim.NOT_ASSESSED, Rim.PRESENT, Rim.NOT_ASSESSED]
    by_reader = lesion_iron._rims(asked, labels, labels == 2, settings)
    assert list(by_reader) == [Rim.ABSENT, Rim.PRESENT, Rim.NOT_ASSESSED, Rim.NOT_ASSESSED]


def test_without_the_stage_there_are_no_lesions(structural: Any) -> None:
    assert measured(structural, {}, runs=False) is None


def values(found: MeasuredLesions) -> dict[tuple[str, str], float | None]:
    return {(one["measure"], one["region"]): one["value"] for one in lesion_iron_rows(found, OURS)}


def test_the_rows_sum_the_lesions_up(found: MeasuredLesions) -> None:
    rows, table = values(found), found.table
    assert rows["lesion_count_distinct", "lesion"] == 4
    chi, volume = table["chi_relative_nawm_ppb"], table["volume_mm3"]
    assert rows["chi_relative_nawm_mean", "lesion"] == pytest.approx(chi.mean())
    weighted = (chi * volume).sum() / volume.sum()
    assert rows["chi_relative_nawm_weighted", "lesion"] == pytest.approx(weighted)
    assert abs(weighted - chi.mean()) > 1
    largest = chi[volume.idxmax()]
    assert rows["chi_relative_nawm_largest", "lesion"] == pytest.approx(largest)
    assert rows["chi_relative_csf", "normal_appearing_white_matter"] == pytest.approx(-50, abs=0.3)
    assert rows["rim_count", "lesion"] == rows["rim_present", "lesion"] == 1
    assert rows["rim_assessed", "lesion"] == 3
    assert rows["volume", "lesion_rim"] == pytest.approx(ball(1, 6).sum())


def with_rims(found: MeasuredLesions, rims: list[Rim]) -> MeasuredLesions:
    table = found.table.head(len(rims)).assign(rim=rims)
    return MeasuredLesions(distinct=found.distinct, iron=found.iron, table=table)


def test_where_no_lesion_could_be_asked_the_number_of_rims_is_missing(
    found: MeasuredLesions,
) -> None:
    rows = values(with_rims(found, [Rim.NOT_ASSESSED] * 4))
    assert rows["rim_count", "lesion"] is None
    assert rows["rim_present", "lesion"] is None
    assert rows["volume", "lesion_rim"] is None
    assert rows["rim_assessed", "lesion"] == 0


def test_without_lesions_there_is_no_rim_and_no_susceptibility(found: MeasuredLesions) -> None:
    rows = values(with_rims(found, []))
    assert rows["rim_count", "lesion"] == rows["lesion_count_distinct", "lesion"] == 0
    assert rows["chi_relative_nawm_mean", "lesion"] is None
    assert rows["chi_mean", "normal_appearing_white_matter"] == pytest.approx(-20, abs=0.3)


def test_the_stage_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_T1w.nii.gz"
    echoes = GreFiles((), (tmp_path / "sub-01_part-phase_MEGRE.nii.gz",))
    mask = {"lesion": ExternalFile(path, EDITED)}
    for scans, external, outcome in (
        ({}, {}, "left out, there is no GRE"),
        ({"gre": echoes}, mask, "left out, there is no T1w"),
        ({"gre": echoes, "t1w": path}, {}, "left out, there is no FLAIR or lesion mask"),
        ({"gre": echoes, "t1w": path}, mask, "done"),
        ({"gre": echoes, "t1w": path, "flair": path}, {}, "done"),
    ):
        session = Session(root=tmp_path, subject="01", **scans)
        assert dict(plan(session, external).outcomes)[LESION_IRON.title] == outcome


def test_the_result_comes_back_from_the_work_folder_as_it_was(
    found: MeasuredLesions, tmp_path: Path
) -> None:
    kept = KeptResults(tmp_path / "sub-01")
    kept.save("key", found.iron)
    back = kept.load("key", LESION_IRON.gives)
    assert isinstance(back, roi.LesionIron)
    pd.testing.assert_frame_equal(back.table, found.iron.table)
    np.testing.assert_array_equal(back.labels.data, found.iron.labels.data)
    assert (back.normal_white_ppb.value, back.csf_ppb.count) == (
        found.iron.normal_white_ppb.value,
        found.iron.csf_ppb.count,
    )
