"""Regions of a user's atlas in a participant: where they lie and what is measured in them."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.anatomy import UserAtlas, Warp, carried
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.bids.derivatives import Derivatives
from bids_qsmthal.core.colors import PALETTE
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant import atlas_regions, measures, page, saving
from bids_qsmthal.participant.earlier_outputs import OF_SCAN, SHARED
from bids_qsmthal.participant.kept_results import KeptResults, key_of
from bids_qsmthal.participant.pipeline import ATLASES, plan, requested
from bids_qsmthal.report import ParticipantReport
from bids_qsmthal.settings import AtlasFile, Resources, Settings

SHIFT_MM = (6.0, -4.0, 2.0)
"""Where T1w lies against the template."""


def grid(size_mm: float, count: int, dtype: str = "?") -> Image:
    affine = np.diag([-size_mm, size_mm, size_mm, 1.0])
    affine[:3, 3] = (0.5 * size_mm * count, -0.5 * size_mm * count, -0.5 * size_mm * count)
    return Image(np.ones((count,) * 3, dtype), affine)


def warp() -> Warp:
    matrix = np.eye(4)
    matrix[:3, 3] = SHIFT_MM
    return Warp(matrix, ())


def spheres(image: Image, *centres_mm: tuple[float, float, float]) -> np.ndarray:
    """Return spheres of 7 mm, shape (x, y, z, n)."""
    index = np.indices(image.shape).reshape(3, -1)
    points = (image.affine[:3, :3] @ index + image.affine[:3, 3:]).T
    near = [np.linalg.norm(points - centre, axis=1) < 7 for centre in centres_mm]
    return np.stack([one.reshape(image.shape) for one in near], axis=-1)


LEFT, RIGHT = (-9.0, 0.0, 2.0), (9.0, 3.0, -2.0)


def atlas_of(*, labelled: bool, in_template: bool = True) -> UserAtlas:
    image = grid(1.5, 40)
    both = spheres(image, LEFT, RIGHT)
    data = both @ np.array([5, 8], np.int32) if labelled else both.astype(np.float32)
    names = {5: "left", 8: "right"} if labelled else {1: "left", 2: "right"}
    return UserAtlas(
        name="own",
        file_name="own.nii.gz",
        image=image.like(data.astype(np.int32) if labelled else data),
        names=names,
        in_template=in_template,
        threshold=0.0 if labelled else 0.5,
    )


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("in_template", [True, False])
def test_each_region_lies_where_the_transform_says_on_both_grids(
    *, labelled: bool, in_template: bool
) -> None:
    one = atlas_of(labelled=labelled, in_template=in_template)
    t1w, gre = grid(2, 30), grid(2.5, 24)
    (found,) = carried((one,), warp(), t1w, gre).atlases
    shift = np.array(SHIFT_MM if in_template else (0, 0, 0))
    for image, regions in ((t1w, found.on_t1w), (gre, found.on_gre)):
        for voxels, centre in zip(regions, (LEFT, RIGHT), strict=True):
            index = np.array(np.unravel_index(voxels, image.shape))
            middle = (image.affine[:3, :3] @ index + image.affine[:3, 3:]).mean(axis=1)
            # Half a voxel of the atlas, for a sphere is not even on its grid; shifts are 2 mm on.
            assert np.abs(middle - (np.array(centre) - shift)).max() < 0.8
            volume = voxels.size * image.voxel_volume_mm3
            assert volume == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.08)
    assert set(np.unique(found.labels.data)) == {0, *one.names}


def test_where_regions_overlap_both_count_and_the_label_is_the_more_probable() -> None:
    image = grid(2, 20, "f4")
    one = replace(
        atlas_of(labelled=False),
        image=image.like(np.stack([0.6 * image.data, 0.9 * image.data], axis=-1)),
    )
    (found,) = carried((one,), Warp(np.eye(4), ()), image, None).atlases
    assert found.on_t1w[0].size == found.on_t1w[1].size == image.data.size
    assert (found.labels.data == 2).all()


def test_a_region_beyond_the_scan_has_no_voxel_and_is_still_told() -> None:
    one = atlas_of(labelled=True, in_template=False)
    small = grid(2, 6)
    small.affine[0, 3] += 9
    (found,) = carried((one,), warp(), small, None).atlases
    assert found.numbers == (5, 8)
    assert [voxels.size > 0 for voxels in found.on_t1w] == [False, True]


def test_a_kept_result_comes_back_as_it_was(tmp_path: Path) -> None:
    made = carried((atlas_of(labelled=False),), warp(), grid(2, 30), None)
    kept = KeptResults(tmp_path / "sub-01")
    kept.save("a" * 64, made)
    loaded = kept.load("a" * 64, ATLASES.gives)
    assert loaded.atlases[0].numbers == (1, 2)
    for one, other in zip(made.atlases[0].on_t1w, loaded.atlases[0].on_t1w, strict=True):
        np.testing.assert_array_equal(one, other)
    # Arguments are hashed: names by number must have a description, too.
    assert key_of("f", "1", {"atlases": (atlas_of(labelled=True),)})


class Running:
    """A runner that keeps nothing."""

    def runs(self, _stage: object) -> bool:
        return True

    def run(self, _stage: object, function, *args: object) -> object:
        return function(*args)


def participant():
    """Return a head in which a cap of the left region is lesion, and what its scans showed."""
    t1w, gre = grid(2, 30), grid(2.5, 24)
    left, right = np.moveaxis(spheres(t1w, LEFT, RIGHT), -1, 0)
    lesion = left & (np.arange(30) >= 16)[None, None, :]
    rim = left & (np.arange(30) >= 18)[None, None, :]
    of_gre = spheres(gre, LEFT, RIGHT)
    chi = np.where(of_gre[..., 0], 0.05, np.where(of_gre[..., 1], -0.02, 0.01)).astype("f4")
    veins = of_gre[..., 0] & (np.arange(24) < 12)[None, :, None]
    chi[veins] = 0.4
    reference = np.zeros(gre.shape, "u1")
    reference[:3] = 1
    structural = SimpleNamespace(
        prepared=SimpleNamespace(to_template=warp(), brain=t1w),
        lesion_mask=t1w.like(lesion),
        thickness_mm=t1w.like(np.where(right, 2.5, np.where(rim, 1.5, 0)).astype("f4")),
        anatomy=SimpleNamespace(
            gm=t1w.like(np.ones(t1w.shape, "f4")), deepgray=t1w.like(np.zeros(t1w.shape, "u1"))
        ),
    )
    maps = SimpleNamespace(
        chi_ppm=chi, r2star_hz=np.full(gre.shape, 20, "f4"), mask=np.ones(gre.shape, "?")
    )
    scan = SimpleNamespace(
        maps=maps,
        brain=gre,
        gre_to_t1w=np.eye(4),
        to_t1w=SimpleNamespace(failed=False),
        regions=SimpleNamespace(masks={"veins": gre.like(veins), "reference": gre.like(reference)}),
    )
    return structural, scan


def rows_of(structural: object, scan: object) -> pd.DataFrame:
    one = atlas_of(labelled=True, in_template=False)
    (found,) = atlas_regions.measured((one,), structural, scan, Running())
    return pd.DataFrame(measures.atlas_rows(found)).set_index(["measure", "region"])


def test_the_numbers_of_a_region_are_those_of_the_truth() -> None:
    table = rows_of(*participant())
    volume = table.loc[("volume", "own:left"), "value"]
    assert volume == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.08)
    share = table.loc[("lesion_share", "own:left"), "value"]
    # The lesion is the cap above z = 1 mm, 8 mm high: pi h^2 (3 r - h) / 3 of the sphere.
    assert share == pytest.approx(8**2 * (21 - 8) / (4 * 7**3), abs=0.04)
    lesion_mm3 = table.loc[("lesion_volume", "own:left"), "value"]
    assert lesion_mm3 == pytest.approx(share * volume)
    assert table.loc[("lesion_share", "own:right"), "value"] == 0
    # The vein in it would make it 200 ppb and more.
    assert table.loc[("chi_relative_csf", "own:left"), "value"] == pytest.approx(40, abs=4)
    assert table.loc[("chi_relative_csf", "own:right"), "value"] == pytest.approx(-30, abs=4)
    lost, used = (table.loc[("chi_mean", "own:left"), name] for name in ("n_lost", "n_voxels"))
    assert lost / (lost + used) == pytest.approx(0.4, abs=0.1)
    assert table.loc[("r2star_mean", "own:right"), "value"] == pytest.approx(20)
    assert table.loc[("thickness_mean", "own:right"), "value"] == pytest.approx(2.5)
    # A third of the left region is cortex.
    assert ("thickness_mean", "own:left") not in table.index
    written = set(table.index.get_level_values("measure"))
    assert written == set(measures.UNITS_OF_REGIONS)
    assert written <= set(measures.DICTIONARY["measure"]["Levels"])
    assert set(table["source"]) == {"own"}


def test_a_gyrus_that_is_mostly_white_matter_has_the_thickness_of_its_cortex() -> None:
    structural, scan = participant()
    gray = (structural.thickness_mm.data > 0).astype("f4")
    structural.anatomy.gm = structural.anatomy.gm.like(gray)
    table = rows_of(structural, scan)
    assert table.loc[("thickness_mean", "own:left"), "value"] == pytest.approx(1.5)
    assert table.loc[("thickness_mean", "own:left"), "n_lost"] > 0


@pytest.mark.parametrize(("start", "cortical"), [(-5, False), (1, True)])
def test_gray_matter_along_a_deep_structure_has_no_thickness(start: int, *, cortical: bool) -> None:
    structural, scan = participant()
    ribbon = structural.thickness_mm.data == 2.5
    # The third ventricle: along most of the region, or at its end alone.
    end = int(np.flatnonzero(ribbon.any(axis=(1, 2)))[-1])
    deep = np.zeros(ribbon.shape, "u1")
    deep[end + start :] = 14
    deep[ribbon] = 0
    structural.anatomy.deepgray = structural.anatomy.deepgray.like(deep)
    table = rows_of(structural, scan)
    assert (("thickness_mean", "own:right") in table.index) is cortical


def test_after_a_registration_that_failed_nothing_of_the_gradient_echo_is_measured() -> None:
    structural, scan = participant()
    scan.to_t1w.failed = True
    found = set(rows_of(structural, scan).index.get_level_values("measure"))
    assert found == {"volume", "lesion_volume", "lesion_share", "thickness_mean"}


def test_an_atlas_outside_the_brain_of_a_participant_is_refused() -> None:
    structural, scan = participant()
    structural.prepared.brain = structural.prepared.brain.like(np.zeros((30,) * 3, "?"))
    with pytest.raises(DataError, match="lies in the brain of T1w"):
        rows_of(structural, scan)


def outputs(folder: Path) -> Derivatives:
    return Derivatives(
        output_dir=folder,
        entities=(("sub", "01"),),
        gre_entities=(),
        references={"T1w": "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"},
    )


def test_the_label_image_is_saved_with_its_names_and_its_source(tmp_path: Path) -> None:
    structural, scan = participant()
    one = replace(atlas_of(labelled=True, in_template=False), colors={8: "#123456"})
    found = atlas_regions.measured((one,), structural, scan, Running())
    out = outputs(tmp_path)
    saving.save_atlases(Session(root=tmp_path, subject="01"), found, None, out)
    begin = "sub-01_space-T1w_desc-atlasown_dseg"
    table = pd.read_csv(out.folder / f"{begin}.tsv", sep="\t")
    assert dict(zip(table["index"], table["name"], strict=True)) == {5: "left", 8: "right"}
    # The colour of the user, and one of ours where there is none; the page has the same.
    assert table["color"].tolist() == [PALETTE[0], "#123456"]
    shown = page.with_atlases(ParticipantReport(participant_id="sub-01"), found).atlases[0]
    assert shown.colors == dict(zip(table["index"], table["color"], strict=True))
    assert '"AtlasFile": "own.nii.gz"' in (out.folder / f"{begin}.json").read_text()
    # A later run without the atlas removes it.
    assert len(out.made) == 3
    assert all(SHARED.fullmatch(path.name.removeprefix("sub-01_")) for path in out.made)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_parts_of_a_lesion_in_each_region_are_told(tmp_path: Path, *, labelled: bool) -> None:
    structural, scan = participant()
    one = replace(atlas_of(labelled=labelled, in_template=False), name="tracts")
    found = atlas_regions.measured((one, replace(one, name="again")), structural, scan, Running())
    t1w = structural.lesion_mask
    left, right = np.moveaxis(spheres(t1w, LEFT, RIGHT), -1, 0)
    numbers = np.zeros(t1w.shape, np.int32)
    # Lesion 2 holds the upper part of both regions, lesion 1 lies in none.
    numbers[:, :, 13:], numbers[:, :, :2] = 2, 1
    scan.lesions = SimpleNamespace(distinct=SimpleNamespace(labels=t1w.like(numbers)))
    out = outputs(tmp_path)
    session = Session(root=tmp_path, subject="01")
    saving.save_atlases(session, found, scan, out)
    name = "desc-atlases_lesions"
    table = pd.read_csv(out.folder / f"sub-01_{name}.tsv", sep="\t")
    described = json.loads((out.folder / f"sub-01_{name}.json").read_text())
    assert list(described) == list(table.columns)
    assert set(table["id"]) == {2}
    assert list(dict.fromkeys(table["atlas"])) == ["tracts", "again"]
    own = table[table["atlas"] == "tracts"].set_index("region")
    assert dict(own["label"]) == ({"left": 5, "right": 8} if labelled else {"left": 1, "right": 2})
    slab = numbers == 2
    # The atlas has voxels of 1.5 mm, and truth is drawn on those of T1w.
    for region, truth in (("left", left), ("right", right)):
        shared = (slab & truth).sum()
        assert own.loc[region, "volume_mm3"] == pytest.approx(8 * shared, rel=0.1)
        assert own.loc[region, "lesion_share"] == pytest.approx(shared / slab.sum(), rel=0.1)
        assert own.loc[region, "region_share"] == pytest.approx(shared / truth.sum(), abs=0.08)
    assert list(own["volume_mm3"]) == sorted(own["volume_mm3"], reverse=True)
    # A later run without the atlas, or without the scan, removes it.
    assert sum(bool(OF_SCAN.fullmatch(f"{path.name[7:]}")) for path in out.made) == 2


def test_without_an_atlas_there_is_no_table_of_parts(tmp_path: Path) -> None:
    out, (_, scan) = outputs(tmp_path), participant()
    scan.lesions = SimpleNamespace(distinct=SimpleNamespace(labels=grid(2, 4, "i4")))
    saving.save_atlases(Session(root=tmp_path, subject="01"), (), scan, out)
    assert not out.made


def test_the_stage_is_considered_where_an_atlas_is_named(tmp_path: Path) -> None:
    silent = Settings(
        bids_dir=tmp_path,
        output_dir=tmp_path,
        work_dir=tmp_path,
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
    )
    asked = replace(silent, atlases=(AtlasFile(name="a", path=tmp_path, space="template"),))
    session = Session(root=tmp_path, subject="01")
    outcomes = [dict(plan(session, {}, requested(one)).outcomes) for one in (silent, asked)]
    assert ATLASES.title not in outcomes[0]
    assert outcomes[1][ATLASES.title] == "left out, there is no T1w"


def test_the_page_gets_each_region_with_its_numbers_and_the_methods_text_its_threshold() -> None:
    structural, scan = participant()
    maps = atlas_of(labelled=False, in_template=False)
    found = atlas_regions.measured((maps,), structural, scan, Running())
    shown = page.with_atlases(ParticipantReport(participant_id="sub-01"), found)
    (own,), (run,) = shown.atlases, shown.methods_run.atlases
    assert (run.name, run.space, run.in_template, run.threshold) == ("own", "T1w", False, 0.5)
    table = own.table.set_index("region")
    assert list(table.index) == ["left", "right"]
    rows = pd.DataFrame(measures.atlas_rows(found[0])).set_index(["measure", "region"])["value"]
    for measure, unit in measures.UNITS_OF_REGIONS.items():
        expected = [rows.get((measure, f"own:{side}"), np.nan) for side in table.index]
        np.testing.assert_array_equal(table[f"{measure} ({unit})"], expected)
    # The left region is no cortex.
    assert np.isnan(table.loc["left", "thickness_mean (mm)"])
    assert set(np.unique(own.labels.data)) == {0, 1, 2}
