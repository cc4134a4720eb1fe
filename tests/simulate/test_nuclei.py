"""Deep nuclei of simulated heads: CIT168's, of another shape in each head."""

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.crop import Crop
from bids_qsmthal.core.labels import PARTS, parsed
from bids_qsmthal.simulate.compositions import DEEP_LABELS, FREESURFER, REGIONS, labels_of
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.labelled import read_anatomy
from bids_qsmthal.simulate.nuclei import Variation, draw_nuclei, is_internal, side_by_side
from bids_qsmthal.simulate.templates import StructureMap, stored, stored_names, templates
from bids_qsmthal.simulate.tissues import ROW
from bids_qsmthal.simulate.warps import random_warp
from tests.simulate.label_head import label_head

STILL = Variation(shift_mm=0.0, volume=0.0)


def drawn(seed: int = 0, **options: object) -> dict[str, np.ndarray]:
    """Return the masks of one person on the grid of the atlas."""
    atlas = stored("T1w")
    found = draw_nuclei(atlas.shape, atlas.affine, np.random.default_rng(seed), **options)
    return {
        name: part.crop.paste(fraction) > 0.5
        for (name, part), fraction in zip(found.items(), laid(found), strict=True)
    }


def laid(maps: dict[str, StructureMap]) -> list[np.ndarray]:
    """Return the fraction of each map of one box, laid over each other as ``compositions`` does."""
    fractions: list[np.ndarray] = []
    for part in maps.values():
        own = np.clip(0.5 + 2 * (part.probability - 0.5), 0, 1)
        fractions = [*(fraction * (1 - own) for fraction in fractions), own]
    return fractions


def labelled() -> dict[str, np.ndarray]:
    """Return the labels of the atlas."""
    labels = stored("desc-subcortex_dseg").data
    regions = {index: parsed(name) for index, name in stored_names("desc-subcortex_dseg").items()}
    return {f"{r.name}_{r.hemisphere}": labels == index for index, r in regions.items()}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_without_variation_nuclei_are_those_of_the_atlas() -> None:
    true, found = labelled(), drawn(variation=STILL)
    assert list(found) == list(true)
    for name, mask in true.items():
        assert found[name].sum() == pytest.approx(mask.sum(), rel=0.02), name
        # The steps of voxels are taken off: the thinnest (subthalamic nucleus) lose most.
        assert dice(found[name], mask) > 0.9, name


def test_each_person_has_other_nuclei_near_those_of_the_atlas() -> None:
    true = labelled()
    people = [drawn(seed) for seed in range(4)]
    spread = []
    for name, mask in true.items():
        middle = np.argwhere(mask).mean(axis=0)
        moved_mm = [np.linalg.norm(np.argwhere(one[name]).mean(axis=0) - middle) for one in people]
        assert 0.1 < np.mean(moved_mm) < 1.5, name
        volumes = np.array([one[name].sum() for one in people]) / mask.sum()
        assert volumes.std() < 0.15, name
        spread.append(volumes.std())
        assert volumes.mean() == pytest.approx(1, abs=0.1), name
    assert np.mean(spread) > 0.03
    # The same in all people would be found again by registering the same atlas.
    assert dice(people[0]["red_nucleus_L"], people[1]["red_nucleus_L"]) < 0.9


def test_a_nucleus_stays_on_its_side_and_in_what_it_is_given() -> None:
    atlas = stored("T1w")
    for name, mask in drawn(3).items():
        x_mm = apply(atlas.affine, np.argwhere(mask))[:, 0]
        assert (x_mm < 0).mean() == (1.0 if name.endswith("_L") else 0.0), name
    lower = np.zeros(atlas.shape, np.bool_)
    lower[:, :, :62] = True
    for name, mask in drawn(3, names=("red_nucleus",), within=lower).items():
        assert name in {"red_nucleus_L", "red_nucleus_R"}
        assert mask.any()
        assert not (mask & ~lower).any()


def test_nuclei_are_drawn_on_any_grid() -> None:
    atlas = stored("T1w")
    # Axes L, I, A with voxels of 1.25 mm.
    axes = np.array([[-1.25, 0, 0, 90], [0, 0, 1.25, -120], [0, -1.25, 0, 110], [0, 0, 0, 1.0]])
    here = draw_nuclei((144, 160, 170), axes, np.random.default_rng(0), variation=STILL)
    there = draw_nuclei(atlas.shape, atlas.affine, np.random.default_rng(0), variation=STILL)
    assert list(here) == list(there)
    for name in here:
        middles, volumes = [], []
        for part, affine in ((here[name], axes), (there[name], atlas.affine)):
            inside = part.probability > 0.5
            middles.append(apply(part.crop.affine(affine), np.argwhere(inside)).mean(axis=0))
            volumes.append(inside.sum() * abs(np.linalg.det(affine[:3, :3])))
        np.testing.assert_allclose(*middles, atol=0.5, err_msg=name)
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05), name


def test_the_internal_pallidum_is_the_medial_part() -> None:
    true = labelled()
    affine = stored("T1w").affine
    for side, sign in (("L", -1), ("R", 1)):
        parts = [true[f"{name}_{side}"] for name in PARTS]
        # Moved by some millimetres, as a head lies in the atlas.
        points = apply(affine, np.argwhere(parts[0] | parts[1])).T + np.array([[3.0], [-2.0], [2]])
        internal = is_internal(points, side)
        assert internal.mean() == pytest.approx(parts[1].sum() / internal.size, abs=0.05)
        assert (sign * points[0][internal]).mean() < (sign * points[0][~internal]).mean()


def test_nuclei_do_not_change_what_else_is_drawn(small_parameters) -> None:
    plain = random_warp(
        templates(),
        scale=small_parameters.scale,
        deformation_mm=small_parameters.deformation_mm,
        atrophy=small_parameters.atrophy,
        generator=np.random.default_rng(5),
    )
    head = draw_head(replace(small_parameters, lesion_ml=0.0), np.random.default_rng(5))
    np.testing.assert_array_equal(head.warp.displacement_mm, plain.displacement_mm)
    names = list(head.templates.structures)
    # The thalamus lies over all nuclei, and these over the brainstem.
    assert names.index("brainstem") < names.index("putamen_L") < names.index("thalamus_L")
    thalamus = head.templates.structures["thalamus_L"].probability
    np.testing.assert_array_equal(thalamus, templates().structures["thalamus_L"].probability)
    parts = [head.chi_ppb[ROW[name]] for name in PARTS]
    assert parts[0] != parts[1]


def test_nothing_lies_between_nuclei_that_touch() -> None:
    x = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    crop = Crop((0, 0, 0), (20, 4, 4), (20, 4, 4))
    left, right = (
        StructureMap(np.clip(0.5 + 0.5 * signed, 0, 1).astype(np.float32), crop)
        for signed in (np.minimum(x - 4.5, 10 - x), np.minimum(x - 10, 15.5 - x))
    )
    first, second = laid(side_by_side({"left": left, "right": right}))
    np.testing.assert_allclose(first[10], 0.5, atol=1e-6)
    np.testing.assert_allclose(second[10], 0.5, atol=1e-6)
    np.testing.assert_allclose((first + second)[5:16], 1, atol=1e-6)
    np.testing.assert_allclose((first + second)[:4], 0, atol=1e-6)
    # Without it a quarter of the border would be what lies below.
    assert sum(laid({"left": left, "right": right}))[10].max() == 0.75


def test_regions_of_the_truth_hold_every_label_once() -> None:
    single = [name for name in REGIONS if name != "pallidum"]
    assert sorted(n for name in single for n in labels_of(name)) == list(
        range(1, len(DEEP_LABELS) + 1)
    )
    assert labels_of("pallidum", ("L",)) == tuple(labels_of(name, ("L",))[0] for name in PARTS)
    assert FREESURFER["pallidum_internal_R"] == FREESURFER["pallidum_external_R"] == 52
    assert FREESURFER["accumbens_L"] == 26


@pytest.mark.slow
def test_labelled_nuclei_keep_their_shape_and_the_midbrain_is_drawn(tmp_path) -> None:
    labels = label_head()
    accumbens = np.argwhere(labels.data == 13)[:12]
    labels.data[tuple(accumbens.T)] = 26
    nifti.save(labels, tmp_path / "aseg.nii.gz")
    first, again = (read_anatomy(tmp_path / "aseg.nii.gz").templates for _ in range(2))
    for name, index in (("caudate_L", 11), ("putamen_R", 51), ("accumbens_L", 26)):
        part = first.structures[name]
        assert (part.probability > 0.5).sum() == pytest.approx(
            8 * (labels.data == index).sum(), rel=0.15
        ), name
    parts = [first.structures[f"{name}_L"].probability > 0.5 for name in PARTS]
    whole = 8 * (labels.data == 13).sum()
    assert sum(part.sum() for part in parts) == pytest.approx(whole, rel=0.25)
    for name in ("red_nucleus_L", "substantia_nigra_R", "subthalamic_nucleus_L"):
        np.testing.assert_array_equal(
            first.structures[name].probability, again.structures[name].probability
        )
    assert "accumbens_R" not in first.structures
