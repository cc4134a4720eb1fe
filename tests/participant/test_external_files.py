"""Results of other programs and a reader's decisions, through the whole of the head."""

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import participant
from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import external
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.errors import DataError, MissingInputError, UsageError
from bids_qsmthal.core.scan_warnings import LesionsFromFlairAlone, ThalamiElsewhere
from bids_qsmthal.core.sources import OURS, SEEDED
from bids_qsmthal.participant import (
    external_labels,
    input_checks,
    measures,
    pipeline,
    quality,
)
from bids_qsmthal.participant.runner import Runner
from bids_qsmthal.participant.structural import Structural, structural_results
from bids_qsmthal.settings import Resources, Settings
from tests import brain_phantom as phantom
from tests import freesurfer_subject, tiny

pytestmark = pytest.mark.slow

ASEG_STATS = """# cvs_version 7.4.1
# Measure TotalGray, TotalGrayVol, Total gray matter volume, 612345.5, mm^3
# Measure CerebralWhiteMatter, CerebralWhiteMatterVol, White matter, 450000.0, mm^3
# Measure EstimatedTotalIntraCranialVol, eTIV, Intracranial volume, 1512345.5, mm^3
  1  10  7000  7000.5  Left-Thalamus  80 10 27 114 87
  2  49  6500  6500.0  Right-Thalamus  80 10 27 114 87
  3   7  900   14000.0  Left-Cerebellum-White-Matter  80 10 27 114 87
  4  46  900   14500.0  Right-Cerebellum-White-Matter  80 10 27 114 87
  5  16  900   20000.0  Brain-Stem  80 10 27 114 87
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset and the results of one run over it, to start from."""
    root = tmp_path_factory.mktemp("made")
    phantom.write_dataset(root)
    with pytest.MonkeyPatch.context() as patch:
        plain(patch)
        run(root)
    return root


def plain(patch: pytest.MonkeyPatch) -> None:
    """Leave out network and registrations, which have tests of their own."""
    patch.setattr("bids_qsmthal.anatomy.prepare", phantom.prepare)
    patch.setattr("bids_qsmthal.anatomy.rigid_brains", phantom.rigid_brains)


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    plain(monkeypatch)
    return Path(shutil.copytree(made, tmp_path / "root"))


def session_of(root: Path) -> Session:
    anat = root / "bids" / "sub-01" / "anat"
    found = {
        role: anat / f"sub-01_{suffix}.nii.gz"
        for role, suffix in (("t1w", "T1w"), ("flair", "FLAIR"))
        if (anat / f"sub-01_{suffix}.nii.gz").exists()
    }
    return Session(root / "bids", "01", **found)


def settings_of(root: Path, **datasets: Path) -> Settings:
    return Settings(
        bids_dir=root / "bids",
        output_dir=root / "out",
        work_dir=root / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=2**33),
        datasets=datasets,
    )


def run(root: Path, **datasets: Path) -> Structural:
    settings = settings_of(root, **datasets)
    session = session_of(root)
    external_files = external.files(session, datasets, root / "out")
    inputs = input_checks.read(session, settings, external_files)
    plan = pipeline.plan(session, external_files)
    return structural_results(inputs, settings, Runner(root / "work" / "sub-01", plan))


def numbers(found: Structural) -> pd.DataFrame:
    rows = [
        {
            "measure": number.measure,
            "region": number.region,
            "hemisphere": number.hemisphere,
            "value": number.value,
            "method": number.method_label,
            "source": str(number.source),
        }
        for number in found.numbers
    ]
    return pd.DataFrame(rows).set_index(["measure", "region", "hemisphere"]).sort_index()


def computed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the titles of the stages that were neither reused nor left out."""
    lines = [re.match(r"\[\d+/\d+\] (.+) \.\.\.", record.getMessage()) for record in caplog.records]
    return [line.group(1) for line in lines if line]


SEGMENT = "tissue, deep gray nuclei, cortical thickness"
PREPARE = "T1w: bias field, brain, template"


def edit(root: Path, ending: str, image, dtype: str = "i2") -> Path:
    return phantom.write(
        root / "out" / "edits" / "sub-01" / "anat" / f"sub-01_{ending}.nii.gz", image, dtype
    )


def subject(root: Path, *, stats: bool = True, labels: bool = True) -> Path:
    """Write a SUBJECTS_DIR with one subject, its labels conformed as FreeSurfer's."""
    folder = root / "subjects" / "sub-01"
    folder.mkdir(parents=True)
    if labels:
        phantom.write(folder / "mri" / "aseg.mgz", phantom.aseg(phantom.conformed()), "i4")
    if stats:
        (folder / "stats").mkdir()
        (folder / "stats" / "aseg.stats").write_text(ASEG_STATS)
        for side, thickness_mm, area_mm2 in (("l", 2.4, 80000), ("r", 2.2, 120000)):
            (folder / "stats" / f"{side}h.aparc.stats").write_text(
                f"# Measure Cortex, WhiteSurfArea, White Surface Total Area, {area_mm2}, mm^2\n"
                f"# Measure Cortex, MeanThickness, Mean Thickness, {thickness_mm}, mm\n"
            )
    return root / "subjects"


def test_freesurfer_numbers_go_before_ours_and_are_named(root: Path) -> None:
    found = numbers(run(root, fs=subject(root)))

    assert found.loc[("volume", "thalamus", "L"), "value"] == 7000.5
    assert found.loc[("volume", "gray_matter", ""), "value"] == 612345.5
    assert found.loc[("volume", "white_matter", ""), "value"] == 450000 + 14000 + 14500 + 20000
    assert found.loc[("volume", "intracranial", ""), "value"] == 1512345.5
    thickness = found.loc[("thickness_mean", "cortex", "LR")]
    assert thickness["value"] == pytest.approx((2.4 * 80 + 2.2 * 120) / 200)
    theirs = {"thalamus", "gray_matter", "white_matter", "intracranial", "lateral_ventricle"}
    for name in theirs:
        assert set(found.xs(name, level="region")["source"]) == {"fs (FreeSurfer 7.4.1)"}
    assert thickness["method"] == ("as measured by FreeSurfer 7.4.1, hemispheres weighted by area")


def test_conformed_labels_come_to_the_grid_of_t1w_on_their_own_side(root: Path) -> None:
    found = run(root, fs=subject(root, stats=False))

    truth = phantom.labels(phantom.grid())
    for index in (10, 49, 4, 43):
        ours, theirs = (image.data == index for image in (truth, found.anatomy.deepgray))
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.9
    rows = numbers(found)
    assert rows.loc[("volume", "gray_matter", ""), "source"] == "fs (FreeSurfer)"
    assert rows.loc[("volume", "gray_matter", ""), "method"] == "label volume"
    kinds = phantom.tissue(phantom.grid()).data
    np.testing.assert_allclose((found.anatomy.tissue.data == kinds).mean(), 1, atol=0.03)


def test_tables_alone_are_enough_and_leave_the_rest_to_us(root: Path) -> None:
    found = run(root, fs=subject(root, labels=False))

    rows = numbers(found)
    assert rows.loc[("volume", "thalamus", "L"), "source"] == "fs (FreeSurfer 7.4.1)"
    assert rows.loc[("volume", "lateral_ventricle", "L"), "source"] == "bids_qsmthal"
    assert found.thickness_mm is None  # the map would not be of the thickness in the table


def test_an_edit_goes_before_the_table_of_a_program(root: Path) -> None:
    labels = phantom.labels(phantom.grid())
    labels.data[phantom.world(labels)[2] > -4] = 0
    edit(root, "space-T1w_desc-deepgray_dseg", labels)

    found = numbers(run(root, fs=subject(root)))

    half = float((labels.data == 10).sum()) * labels.voxel_volume_mm3
    assert found.loc[("volume", "thalamus", "L"), "value"] == pytest.approx(half)
    assert found.loc[("volume", "thalamus", "L"), "source"] == "manual edit"
    assert found.loc[("volume", "gray_matter", ""), "value"] == 612345.5


def test_an_edited_label_remakes_the_segmentation_alone(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = run(root)
    assert computed(caplog) == []
    caplog.clear()
    labels = phantom.labels(phantom.grid())
    labels.data[labels.data == 4] = 0
    edit(root, "space-T1w_desc-deepgray_dseg", labels)

    after = run(root)

    assert computed(caplog) == [SEGMENT]
    assert before.anatomy.volumes_mm3["lateral_ventricle_L"] > 1000
    assert after.anatomy.volumes_mm3["lateral_ventricle_L"] == 0


def test_edited_tissues_change_volumes_and_thickness_and_remake_nothing_before(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = numbers(run(root))
    caplog.clear()
    kinds = phantom.tissue(phantom.grid())
    shell = phantom.depth(phantom.world(kinds))
    kinds.data[(shell > 0.85) & (shell <= 0.94)] = 1
    edit(root, "space-T1w_dseg", kinds)

    after = numbers(run(root))

    assert computed(caplog) == [SEGMENT]
    own = kinds.voxel_volume_mm3
    for name, kind in (("gray_matter", 1), ("white_matter", 2), ("csf", 3)):
        row = after.loc[("volume", name, "")]
        assert row["value"] == pytest.approx((kinds.data == kind).sum() * own, rel=1e-5)
        assert row["source"] == "manual edit"
    place = ("thickness_mean", "cortex", "LR")
    assert after.loc[place, "value"] > before.loc[place, "value"] + 0.5
    assert after.loc[place, "source"] == "manual edit"
    place = ("volume", "thalamus", "LR")
    assert after.loc[place, "value"] == before.loc[place, "value"]


def test_an_edited_brain_remakes_everything_that_follows(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(root)
    caplog.set_level(logging.INFO)
    outline = phantom.brain(phantom.grid())
    outline.data[phantom.world(outline)[2] < -45] = False
    edit(root, "space-T1w_desc-brain_mask", outline)

    after = run(root)

    assert computed(caplog) == [PREPARE, "FLAIR to T1w", "T2 lesions", SEGMENT]
    row = numbers(after).loc[("volume", "intracranial", "")]
    assert row["value"] == pytest.approx(outline.data.sum() * outline.voxel_volume_mm3)
    assert row["source"] == "manual edit"


def test_a_brought_lesion_mask_replaces_its_stage_and_fills(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mask = phantom.grid()
    spot = phantom.ellipsoid(phantom.world(mask), phantom.LESION_MM, (9.0, 9.0, 9.0))
    theirs = root / "lst" / "sub-01" / "anat" / "sub-01_space-FLAIR_label-lesion_mask.nii.gz"
    phantom.write(theirs, mask.like(spot))

    found = run(root, lstai=root / "lst")

    assert "T2 lesions" not in computed(caplog)
    np.testing.assert_array_equal(found.lesions.mask.data, spot)
    assert found.anatomy.quality["filled_lesion_mm3"] == pytest.approx(
        spot.sum() * mask.voxel_volume_mm3
    )
    rows = pd.DataFrame(measures.collect(session_of(root), found, None, Decision.CHECK))
    lesion = rows[rows.region == "lesion"]
    assert set(lesion["source"]) == {"lstai"}
    assert lesion.set_index("measure").loc["lesion_count", "value"] == 1
    places = rows[rows.region.str.startswith("lesion_") & (rows.measure == "volume")]
    parts = places.set_index("region")["value"]
    assert parts.drop("lesion_thalamus").sum() == found.lesions.volume_mm3
    assert len(parts) == 5


def test_flair_alone_gives_lesions_without_places_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bids_qsmthal.anatomy.brain_mask", phantom.brain)
    (root / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz").unlink()

    found = run(root)

    spot = phantom.ellipsoid(phantom.world(phantom.grid()), phantom.LESION_MM, (7.0, 7.0, 7.0))
    assert (found.lesions.mask.data & spot).any()
    assert any(isinstance(one, LesionsFromFlairAlone) for one in found.warnings)
    rows = pd.DataFrame(measures.collect(session_of(root), found, None, Decision.CHECK))
    assert set(rows["region"]) == {"lesion"}


@pytest.mark.parametrize("kind", ["mask", "points", "mask on T1w"])
def test_seeds_grow_into_the_lesion_across_slices(root: Path, kind: str) -> None:
    grid = phantom.grid()
    place = root / "out" / "edits" / "sub-01" / "anat"
    if kind == "points":
        place.mkdir(parents=True)
        text = "x\ty\tz\n" + "\t".join(map(str, phantom.LESION_MM)) + "\n"
        (place / "sub-01_space-FLAIR_label-lesion_desc-seeds_points.tsv").write_text(text)
    else:
        small = phantom.ellipsoid(phantom.world(grid), phantom.LESION_MM, (2.0, 2.0, 2.0))
        space = "T1w" if kind == "mask on T1w" else "FLAIR"
        edit(root, f"space-{space}_label-lesion_desc-seeds_mask", grid.like(small))

    found = run(root)

    whole = phantom.ellipsoid(phantom.world(grid), phantom.LESION_MM, (7.0, 7.0, 7.0))
    np.testing.assert_array_equal(found.lesions.mask.data, whole)
    assert found.lesions.count == 1
    assert found.sources["lesion"] == SEEDED
    assert str(SEEDED) == "manual edit: seeds"


def test_a_reader_adds_and_removes_lesions(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    grid = phantom.grid()
    points = phantom.world(grid)
    added = phantom.ellipsoid(points, (-32.0, 12.0, 12.0), (5.0, 5.0, 5.0))
    taken = points[0] > 0
    edit(root, "space-T1w_label-lesion_desc-add_mask", grid.like(added))
    edit(root, "space-FLAIR_label-lesion_desc-remove_mask", grid.like(taken))

    found = run(root)

    np.testing.assert_array_equal(found.lesions.mask.data & ~taken, found.lesions.mask.data)
    assert found.lesions.mask.data[added].all()
    assert found.sources["lesion"] == replace(OURS, corrected=True)
    assert str(found.sources["lesion"]) == "manual edit of ours"
    assert computed(caplog) == [SEGMENT]


def test_seeds_outside_the_scan_or_without_flair_are_refused(root: Path) -> None:
    place = root / "out" / "edits" / "sub-01" / "anat"
    place.mkdir(parents=True)
    points = place / "sub-01_space-FLAIR_label-lesion_desc-seeds_points.tsv"
    points.write_text("x\ty\tz\n1\t2\t900\n")
    with pytest.raises(DataError, match=r"\[1\.0, 2\.0, 900\.0\] lies outside"):
        run(root)
    points.write_text("x\ty\n1\t2\n")
    with pytest.raises(DataError, match="columns x, y, z"):
        run(root)
    points.write_text("x\ty\tz\n")
    with pytest.raises(DataError, match="at least one row"):
        run(root)
    (root / "bids" / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz").unlink()
    with pytest.raises(MissingInputError, match="has none"):
        run(root)


def test_an_enhancing_mask_that_was_brought_is_counted(root: Path) -> None:
    grid = phantom.grid()
    points = phantom.world(grid)
    two = phantom.ellipsoid(points, phantom.LESION_MM, (5.0, 5.0, 5.0))
    two |= phantom.ellipsoid(points, (-30.0, 0.0, 10.0), (5.0, 5.0, 5.0))
    edit(root, "space-T1w_label-enhancing_mask", grid.like(two))

    found = run(root)

    rows = measures.collect(session_of(root), found, None, Decision.CHECK).set_index("measure")
    assert rows.loc["enhancing_count", "value"] == 2
    assert rows.loc["enhancing_present", "value"] == 1
    assert rows.loc["enhancing_count", "source"] == "manual edit"


def test_labels_of_another_head_are_refused_in_one_line(root: Path) -> None:
    folder = subject(root, stats=False)
    image = nib.load(folder / "sub-01" / "mri" / "aseg.mgz")
    moved = image.affine.copy()
    moved[2, 3] += 60
    nib.save(nib.MGHImage(np.asarray(image.dataobj), moved), image.get_filename())
    with pytest.raises(DataError, match=r"aseg\.mgz: \d+ % of its labels lie in the brain"):
        run(root, fs=folder)
    moved[2, 3] += 900
    nib.save(nib.MGHImage(np.asarray(image.dataobj), moved), image.get_filename())
    with pytest.raises(DataError, match="no label lies within the scan of sub-01"):
        run(root, fs=folder)


def renumbered(image, numbers: dict[int, int]):
    """Return labels with numbers of somebody's own."""
    found = np.zeros(image.shape, np.int16)
    for ours, theirs in numbers.items():
        found[image.data == ours] = theirs
    return image.like(found)


def table_of(path: Path, names: dict[int, str]) -> Path:
    rows = "".join(f"{index}\t{name}\n" for index, name in names.items())
    path.write_text(f"index\tname\n{rows}")
    return path


OWN_NUMBERS = {49: 1, 10: 2, 43: 3, 4: 4}
OWN_NAMES = {
    1: "thalamus_R",
    2: "LeftThalamus",
    3: "RH lateral ventricle",
    4: "Lateral-Ventricle-L",
}


@pytest.mark.parametrize("table", ["desc-deepgray", "sub-01/anat/sub-01_desc-deepgray"])
def test_labels_with_numbers_of_their_own_are_known_by_their_names(
    root: Path, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    theirs = renumbered(phantom.labels(phantom.grid()), OWN_NUMBERS)
    theirs.data[0, 0, 0], theirs.data[0, 0, 1] = 7, 8
    folder = root / "mine" / "sub-01" / "anat"
    phantom.write(folder / "sub-01_desc-deepgray_dseg.nii.gz", theirs)
    names = {0: "Background", **OWN_NAMES, 7: "Left-Claustrum"}
    table_of(root / "mine" / f"{table}_dseg.tsv", names)

    with caplog.at_level(logging.WARNING):
        found = run(root, mine=root / "mine").anatomy

    expected = phantom.labels(phantom.grid()).data
    np.testing.assert_array_equal(found.deepgray.data, expected)
    said = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert len(said) == 1
    assert "7 (Left-Claustrum), 8 (not in the table)" in said[0]


def test_a_plain_segmentation_that_names_thalami_gives_structures_and_tissues(root: Path) -> None:
    kinds, inside = phantom.tissue(phantom.grid()), phantom.labels(phantom.grid())
    theirs = renumbered(inside, OWN_NUMBERS)
    theirs = theirs.like(
        np.where(theirs.data > 0, theirs.data, np.choose(kinds.data, (0, 6, 5, 9)))
    )
    path = root / "mine" / "sub-01" / "anat" / "sub-01_dseg.nii.gz"
    phantom.write(path, theirs)
    table_of(path.with_name("sub-01_dseg.tsv"), {**OWN_NAMES, 5: "WM", 6: "Grey matter", 9: "CSF"})

    found = run(root, mine=root / "mine").anatomy

    np.testing.assert_array_equal(found.deepgray.data, inside.data)
    np.testing.assert_array_equal(found.tissue.data, kinds.data)


def test_a_table_of_tissues_alone_leaves_the_structures_to_us(root: Path) -> None:
    kinds = phantom.tissue(phantom.grid())
    path = root / "mine" / "sub-01" / "anat" / "sub-01_dseg.nii.gz"
    phantom.write(path, renumbered(kinds, {1: 2, 2: 3, 3: 1}))
    table_of(path.with_name("sub-01_dseg.tsv"), {1: "CSF", 2: "GM", 3: "WM"})

    external_files = external.files(session_of(root), {"mine": root / "mine"}, root / "out")
    found = run(root, mine=root / "mine").anatomy

    assert set(external_files) == {"tissue"}
    np.testing.assert_array_equal(found.tissue.data, kinds.data)


def test_nuclei_take_the_names_of_their_table(root: Path) -> None:
    labels = phantom.labels(phantom.grid())
    path = root / "mine" / "sub-01" / "anat" / "sub-01_desc-thalamicnuclei_dseg.nii.gz"
    phantom.write(path, renumbered(labels, {10: 3, 49: 5}))
    table_of(path.with_name("sub-01_desc-thalamicnuclei_dseg.tsv"), {3: "Left-All", 5: "Right-All"})

    found = run(root, mine=root / "mine").anatomy

    assert found.nuclei_names == {3: "Left-All", 5: "Right-All"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("number\tname\n1\tLeft-Thalamus\n", "not a label table: no column index"),
        ("index\tname\none\tLeft-Thalamus\n", "not a label table"),
        ("index\tname\n1\tLeft-Thalamus\n1\tRight-Thalamus\n", "1 of 2 rows repeat an index"),
        ("index\tname\n1\tclaustrum\n2\tinsula\n", "none of its names is known .claustrum, ins"),
    ],
)
def test_a_table_of_labels_that_is_none_is_refused(root: Path, text: str, expected: str) -> None:
    theirs = renumbered(phantom.labels(phantom.grid()), OWN_NUMBERS)
    path = root / "mine" / "sub-01" / "anat" / "sub-01_desc-deepgray_dseg.nii.gz"
    phantom.write(path, theirs)
    path.with_name("sub-01_desc-deepgray_dseg.tsv").write_text(text)

    with pytest.raises(DataError, match=expected):
        run(root, mine=root / "mine")


def test_thalami_that_are_elsewhere_are_doubted(root: Path) -> None:
    labels = phantom.labels(phantom.grid())
    labels.data[:] = np.roll(labels.data, 8, axis=1)
    edit(root, "space-T1w_desc-deepgray_dseg", labels)

    found = run(root)

    assert any(isinstance(one, ThalamiElsewhere) for one in found.warnings)
    assert quality.decision(found, None) == "check"


def test_synthseg_is_known_by_its_labels_and_its_table(root: Path) -> None:
    folder = root / "synthseg"
    phantom.write(folder / "sub-01_T1w_synthseg.nii.gz", phantom.aseg(phantom.conformed()), "i4")
    parts = (
        *("cerebral cortex", "cerebellum cortex", "cerebral white matter"),
        *("cerebellum white matter", "thalamus", "caudate", "putamen", "pallidum"),
        *("hippocampus", "amygdala", "accumbens area", "lateral ventricle"),
        "inferior lateral ventricle",
    )
    names = [f"{side} {name}" for side in ("left", "right") for name in parts]
    for scan in ("sub-01_T1w", "sub-011_T1w"):
        row = [scan, "1500000", *["250"] * len(names)]
        lines = [",".join(["subject", "total intracranial", *names]), ",".join(row)]
        (folder / f"volumes_{scan}.csv").write_text("\n".join(lines))

    found = numbers(run(root, deep=folder))

    assert found.loc[("volume", "thalamus", "LR"), "value"] == 500
    assert found.loc[("volume", "gray_matter", ""), "value"] == 250 * 2 * 9
    assert found.loc[("volume", "thalamus", "LR"), "source"] == "deep (SynthSeg)"
    assert found.loc[("thickness_mean", "cortex", "LR"), "source"] == "deep (SynthSeg)"


def test_fastsurfer_is_told_from_freesurfer(root: Path) -> None:
    folder = root / "fast" / "sub-01"
    labels = phantom.aseg(phantom.conformed())
    phantom.write(folder / "mri" / "aparc.DKTatlas+aseg.deep.mgz", labels, "i4")
    (folder / "stats").mkdir()
    (folder / "stats" / "aseg+DKT.stats").write_text(ASEG_STATS.replace("7.4.1", "2.3.0"))

    found = external.files(session_of(root), {"f": root / "fast"}, root / "out")

    assert {str(item.source) for item in found.values()} == {"f (FastSurfer 2.3.0)"}
    assert set(found) == {"deepgray", "tissue", "numbers"}


def test_the_tables_of_a_subject_become_rows(root: Path) -> None:
    freesurfer_subject.write_tables(root / "subjects" / "sub-01")

    found = numbers(run(root, fs=root / "subjects"))

    assert found.loc[("volume", "thalamus", "L"), "value"] == 8123.4
    assert found.loc[("volume", "thalamus", "R"), "value"] == 7391.6
    assert found.loc[("volume", "gray_matter", ""), "value"] == pytest.approx(618273.415926)
    assert found.loc[("volume", "intracranial", ""), "value"] == pytest.approx(1437215.182818)
    assert found.loc[("thickness_mean", "cortex", "L"), "value"] == 2.41423
    assert set(found.loc["thickness_mean", "source"]) == {"fs (FreeSurfer 7.0.0)"}


NUCLEI = {  # index to centre and radii (mm), as far apart as in a brain
    10: ((-12.0, -8.0, -4.0), (7.0, 12.0, 8.0)),
    49: ((12.5, -7.0, -4.0), (7.5, 12.0, 8.0)),
    11: ((-14.0, 14.0, 8.0), (5.0, 12.0, 7.0)),
    50: ((14.0, 15.0, 8.0), (5.5, 12.0, 7.0)),
    17: ((-26.0, -18.0, -20.0), (6.0, 15.0, 6.0)),
    53: ((27.0, -17.0, -20.0), (6.5, 15.0, 6.0)),
}


@pytest.mark.parametrize("dtype", ["f4", "i4", "u1"])
def test_conformed_labels_keep_volume_and_side_on_another_grid(tmp_path: Path, dtype: str) -> None:
    conformed = phantom.conformed()  # axes to the left, down and to the front, as all of FreeSurfer
    points, labels = phantom.world(conformed), np.zeros(conformed.shape, np.uint8)
    for index, (centre, radii) in NUCLEI.items():
        labels[phantom.ellipsoid(points, centre, radii)] = index
    path = phantom.write(tmp_path / "mri" / "aseg.mgz", conformed.like(labels), dtype)
    affine = np.array([[0, 1.6, 0, -80], [-1.2, 0, 0, 90], [0, 0, 1.4, -70], [0, 0, 0, 1]])
    t1w = external.ExternalFile(path, "fs", "deep gray", "T1w")
    onto = phantom.Image(np.zeros((150, 100, 110), np.uint8), affine)

    read = external.read("deepgray", t1w, Session(path.parent, "01"))
    found = read.image
    carried = external_labels.on("deepgray", {"deepgray": read}, onto)

    left, right = (phantom.world(onto)[0][carried.data == index] for index in (10, 49))
    assert left.max() <= 0 <= right.min()
    for index, (_, radii) in NUCLEI.items():
        theirs = float((found.data == index).sum()) * found.voxel_volume_mm3
        ours = float((carried.data == index).sum()) * carried.voxel_volume_mm3
        assert theirs == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.02)
        assert ours == pytest.approx(theirs, rel=0.03)


def test_outputs_page_and_methods_say_what_was_brought(root: Path) -> None:
    anat = root / "out" / "sub-01" / "anat"
    settings = settings_of(root)
    participant.process(session_of(root), settings)
    assert (anat / "sub-01_space-T1w_desc-thickness_morph.nii.gz").exists()
    ours = nib.load(anat / "sub-01_space-T1w_desc-deepgray_dseg.nii.gz")
    assert (np.asarray(ours.dataobj) == 10).any()
    assert "Gaussian mixture" in (root / "out" / "logs" / "sub-01_CITATION.md").read_text()

    participant.process(session_of(root), settings_of(root, fs=subject(root)))

    rows = pd.read_csv(anat / "sub-01_desc-qsmthal_measures.tsv", sep="\t")
    assert "fs (FreeSurfer 7.4.1)" in set(rows["source"])
    assert not (anat / "sub-01_space-T1w_desc-thickness_morph.nii.gz").exists()
    assert (anat / "sub-01_label-lesion_lesions.tsv").exists()
    page = (root / "out" / "sub-01.html").read_text()
    assert "External results" in page
    assert "fs (FreeSurfer 7.4.1)" in page
    said = (root / "out" / "logs" / "sub-01_CITATION.md").read_text()
    assert "existing FreeSurfer 7.4.1 result (fs)" in said
    assert "Gaussian mixture" not in said


def test_the_folder_of_one_subject_is_refused(root: Path) -> None:
    folder = subject(root)
    with pytest.raises(UsageError, match="SUBJECTS_DIR"):
        external.parse([f"fs={folder / 'sub-01'}"])


def test_a_dataset_without_anything_of_use_is_told(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "other" / "sub-02" / "mri").mkdir(parents=True)
    external.files(session_of(root), {"other": root / "other"}, root / "out")
    assert "has no file of sub-01" in caplog.text


def test_without_t1w_the_labels_of_freesurfer_give_the_number(tmp_path: Path) -> None:
    """Through the command: gradient echo, and labels and tables of FreeSurfer in its world."""
    tiny.write_dataset(tmp_path, "sub-01")
    mine = tmp_path / "labels" / "sub-01" / "anat"
    folder = tmp_path / "subjects" / "sub-01"
    labels = nib.load(mine / "sub-01_space-MEGRE_desc-deepgray_dseg.nii.gz")
    (folder / "mri").mkdir(parents=True)
    values = np.asarray(labels.dataobj).astype(np.int32)
    nib.save(nib.MGHImage(values, labels.affine), folder / "mri" / "aseg.mgz")
    (folder / "stats").mkdir()
    (folder / "stats" / "aseg.stats").write_text(ASEG_STATS)
    (mine / "sub-01_space-MEGRE_desc-deepgray_dseg.nii.gz").unlink()

    assert main([*tiny.words(tmp_path), "--derivatives", f"fs={tmp_path / 'subjects'}"]) == 0

    anat = tmp_path / "out" / "sub-01" / "anat"
    rows = pd.read_csv(anat / "sub-01_desc-qsmthal_measures.tsv", sep="\t", na_values="n/a")
    rows = rows.set_index(["measure", "region", "hemisphere"])
    assert rows.loc[("volume", "thalamus", "L"), "value"] == 7000.5
    for measure in ("chi_relative_csf", "volume"):
        assert rows.loc[(measure, "thalamus", "LR"), "source"] == "fs (FreeSurfer 7.4.1)"
    said = (tmp_path / "out" / "logs" / "sub-01_CITATION.md").read_text()
    assert "existing FreeSurfer 7.4.1 result (fs)" in said
