"""Every image of the output tree, as another program reads it: grid, header, sidecar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from tests.seam import NAME, SPACE, Study, places, voxels

pytestmark = pytest.mark.slow

UNITS = {
    "Chimap": "ppm",
    "R2starmap": "1/s",
    "T2starmap": "s",
    "desc-local_fieldmap": "Hz",
    "desc-total_fieldmap": "Hz",
    "desc-noise_fieldmap": "Hz",
    "space-T1w_desc-thickness_morph": "mm",
}
"""Of all images that hold a quantity; masks, labels and shares have none."""

TYPES = {
    "desc-brain_mask": "Brain",
    "label-lesion_mask": "Lesion",
    "label-enhancing_mask": "Lesion",
    "label-rim_mask": "Lesion",
    "desc-qsm_mask": "ROI",
    "label-thalamus_desc-final_mask": "ROI",
    "label-CSF_desc-reference_mask": "ROI",
    "label-vein_mask": "ROI",
}
"""The words of BIDS for masks (derivatives of imaging: masks)."""

LESIONS_IN_ECHOES = ("space-MEGRE_desc-lesions_dseg", "space-MEGRE_label-rim_mask")
"""Found on T1w and FLAIR, and measured or carried to the gradient echo."""

GRIDS = {
    "MEGRE": ("echo-1_part-mag_MEGRE", "echo-1_part-real_MEGRE"),
    "T1w": ("T1w",),
    "FLAIR": ("FLAIR",),
}


@pytest.fixture(params=["tiny", pytest.param("seam", marks=pytest.mark.slow)])
def study(request: pytest.FixtureRequest) -> Study:
    made: Study = request.getfixturevalue(f"{request.param}_study")
    return made


def images(study: Study, *, carried: bool = False) -> Iterator[tuple[str, nib.Nifti1Image]]:
    """Yield images where they were made, or those carried to the spaces of ``--output-spaces``.

    By what follows the participant, without displacement fields. Which were carried is told by the
    interpolation in their sidecar.
    """
    for path in sorted(study.anat.glob("*.nii.gz")):
        ending = path.name.removeprefix(f"{NAME}_").removesuffix(".nii.gz")
        if ending.endswith("_xfm"):
            continue
        if ("Interpolation" in study.sidecar(ending).get("Method", {})) is carried:
            yield ending, nib.load(path)


def space(ending: str) -> str:
    named = re.search(r"space-(\w+?)_", f"{ending}_")
    if named:
        return named.group(1)
    return "T1w" if ending.endswith("T1w") else "MEGRE"


def scan_of(study: Study, ending: str) -> tuple[str, nib.Nifti1Image]:
    for name in GRIDS[space(ending)]:
        if (study.bids / NAME / "anat" / f"{NAME}_{name}.nii.gz").exists():
            return name, study.raw(name)
    raise AssertionError(ending)


def test_an_image_has_the_grid_of_its_scan_in_both_forms_of_the_header(study: Study) -> None:
    seen = 0
    for ending, image in images(study):
        _, scan = scan_of(study, ending)
        assert image.shape == scan.shape, ending
        world = int(scan.header["sform_code"]) or int(scan.header["qform_code"])
        for code, affine in (
            (image.header["sform_code"], image.get_sform()),
            (image.header["qform_code"], image.get_qform()),
        ):
            assert int(code) == world, ending
            np.testing.assert_allclose(affine, scan.affine, atol=2e-3, err_msg=ending)
        assert image.header.get_xyzt_units()[0] == "mm", ending
        seen += 1
    assert seen >= 13


def test_a_quantity_has_its_unit_and_nothing_else_has_one(study: Study) -> None:
    for ending, _ in images(study):
        assert study.sidecar(ending).get("Units") == UNITS.get(ending), ending


def test_a_carried_image_says_where_it_is_and_what_it_still_is(seam_study: Study) -> None:
    """Of maps, masks and shares in T1w space, and of all in template space at 4 mm."""
    t1w = seam_study.raw("T1w")
    seen = {"T1w": 0, SPACE: 0}
    for ending, image in images(seam_study, carried=True):
        sidecar, own = seam_study.sidecar(ending), re.sub(r"space-\w+?_(res-\d+_)?", "", ending)
        where = space(ending)
        seen[where] += 1
        assert sidecar.get("Units") == UNITS.get(own), ending
        assert sidecar.get("Type") == (TYPES[own] if own.endswith("mask") else None), ending
        if where == "T1w":
            assert image.shape == t1w.shape, ending
            np.testing.assert_allclose(image.affine, t1w.affine, atol=2e-3, err_msg=ending)
            assert sidecar["SpatialReference"] == f"bids:raw:{NAME}/anat/{NAME}_T1w.nii.gz", ending
        else:
            np.testing.assert_allclose(np.abs(image.affine[:3, :3]), 4 * np.eye(3), err_msg=ending)
            assert int(image.header["sform_code"]) == 4, ending  # NIfTI's number of MNI space
            assert sidecar["SpatialReference"] == SPACE, ending
        assert voxels(image).any(), ending
        for source in sidecar["Sources"]:
            assert (seam_study.bids / source.removeprefix("bids:raw:")).is_file(), source
    assert seen["T1w"] >= 5
    assert seen[SPACE] >= 10


def test_values_are_of_the_size_that_the_unit_makes_them(study: Study) -> None:
    inside = voxels(study.made("space-MEGRE_desc-qsm_mask")) > 0
    inside &= voxels(study.made("R2starmap")) > 5
    rate, time = (voxels(study.made(name))[inside] for name in ("R2starmap", "T2starmap"))
    np.testing.assert_allclose(rate * time, 1, rtol=1e-5)
    assert 10 < np.median(rate) < 40  # tissue at 3 T, per second
    assert np.abs(voxels(study.made("Chimap"))[inside]).mean() < 0.1  # ppm
    assert 0.5 < voxels(study.made("desc-total_fieldmap"))[inside].std() < 200  # Hz
    assert 0 < np.median(voxels(study.made("desc-noise_fieldmap"))[inside]) < 2


def test_a_mask_says_of_what_and_nothing_else_does(study: Study) -> None:
    for ending, _ in images(study):
        found = study.sidecar(ending).get("Type")
        own = re.sub(r"space-\w+?_", "", ending)
        assert found == (TYPES[own] if ending.endswith("mask") else None), ending


def test_what_is_called_skull_stripped_is_zero_beyond_the_brain_and_else_is_not(
    study: Study,
) -> None:
    for ending, image in images(study):
        said = study.sidecar(ending).get("SkullStripped")
        whole = ending.endswith(("T1w", "Chimap", "R2starmap", "T2starmap"))
        assert (said is not None) == whole, ending
        if whole:
            name = f"space-{space(ending)}_desc-brain_mask"
            near = ndimage.binary_dilation(voxels(study.made(name)) > 0, iterations=4)
            assert said == (not voxels(image)[~near].any()), ending


def test_sources_are_the_scans_that_an_image_is_made_from(study: Study) -> None:
    for ending, _ in images(study):
        sources = study.sidecar(ending)["Sources"]
        assert sources, ending
        for source in sources:
            assert source.startswith("bids:raw:"), ending
            assert (study.bids / source.removeprefix("bids:raw:")).is_file(), source
        kinds = {source.removesuffix(".nii.gz").rpartition("_")[2] for source in sources}
        if ending in LESIONS_IN_ECHOES:
            assert kinds == {"MEGRE", "T1w", "FLAIR"}, ending
        elif space(ending) == "MEGRE":
            assert kinds == {"MEGRE"}, ending
            assert len(sources) == len(list(study.bids.rglob("*_MEGRE.nii.gz"))), ending
        elif "enhancing" in ending:
            assert [Path(source).name for source in sources] == [
                f"{NAME}_T1w.nii.gz",
                f"{NAME}_ce-gadolinium_T1w.nii.gz",
            ]
        elif "atlas" in ending:
            # The template goes to T1w; where lesions lie changes nothing.
            assert kinds == {"T1w"}, ending
        else:
            assert kinds == {"T1w", "FLAIR"}, ending


def test_the_spatial_reference_is_the_scan_whose_grid_it_is(study: Study) -> None:
    for ending, image in images(study):
        said = study.sidecar(ending).get("SpatialReference")
        assert (said is not None) == ("space-" in ending), ending
        if said is not None:
            reference = nib.load(study.bids / said.removeprefix("bids:raw:"))
            np.testing.assert_allclose(reference.affine, image.affine, atol=2e-3, err_msg=ending)


def test_labels_are_named_in_a_table_and_the_sides_are_where_their_names_say(study: Study) -> None:
    for ending, image in images(study):
        if not ending.endswith("dseg"):
            continue
        labels = voxels(image)
        table = pd.read_csv(study.anat / f"{NAME}_{ending}.tsv", sep="\t").set_index("index")
        present = set(np.unique(labels)) - {0}
        assert present, ending
        assert present <= set(table.index), ending
        across = {
            str(table.loc[index, "name"]): places(image, labels == index).mean(axis=0)[0]
            for index in present
        }
        pairs = {name: other_side(name) for name in across if other_side(name) in across}
        without_sides = ending == "space-T1w_dseg" or ending.endswith("desc-lesions_dseg")
        structures = 1 if ending.endswith("desc-thalamus_dseg") else 2
        # A reader's atlas names its regions as it likes.
        assert len(pairs) >= structures or without_sides or "atlas" in ending, ending
        for left, right in pairs.items():
            assert across[left] < across[right], (ending, left)


def other_side(name: str) -> str:
    """Return the name of the same structure on the right; empty where this is not a left one."""
    for left, right in (("Left-", "Right-"), ("left ", "right ")):
        if name.startswith(left):
            return name.replace(left, right, 1)
    return f"{name[:-2]}_R" if name.endswith("_L") else ""


def test_the_final_thalamus_is_one_on_the_left_and_two_on_the_right(study: Study) -> None:
    final = study.made("space-MEGRE_desc-thalamus_dseg")
    left, right = (places(final, voxels(final) == side).mean(axis=0)[0] for side in (1, 2))
    assert left < right - 10
    both = voxels(study.made("space-MEGRE_label-thalamus_desc-final_mask"))
    assert np.array_equal(both, voxels(final) > 0)
    names = pd.read_csv(study.anat / f"{NAME}_space-MEGRE_desc-thalamus_dseg.tsv", sep="\t")
    assert dict(zip(names["index"], names["name"], strict=True)) == {
        1: "left thalamus",
        2: "right thalamus",
    }


def test_every_label_image_has_a_table_with_names_and_colors(study: Study) -> None:
    """In every space: viewers read colours from the column that BIDS names for it."""
    found = [*images(study), *images(study, carried=True)]
    labelled = {ending: image for ending, image in found if ending.endswith("_dseg")}
    assert {f"space-MEGRE_desc-{one}_dseg" for one in ("thalamus", "deepgray")} <= set(labelled)
    for ending, image in labelled.items():
        table = pd.read_csv(study.anat / f"{NAME}_{ending}.tsv", sep="\t", keep_default_na=False)
        assert set(np.unique(voxels(image))) - {0} <= set(table["index"]), ending
        assert table["name"].str.len().min() > 0 if len(table) else True, ending
        assert table["color"].str.fullmatch("#[0-9A-F]{6}").all(), ending


def test_every_mask_is_nought_and_one(study: Study) -> None:
    for name, image in images(study):
        if name.endswith("_mask"):
            assert set(np.unique(voxels(image))) <= {0, 1}, name


def test_each_image_holds_what_its_name_says(study: Study) -> None:
    """Saved under another key, masks of one grid would still be masks."""
    brain, made, thalamus, reference = (
        voxels(study.made(f"space-MEGRE_{name}_mask")) > 0
        for name in (
            "desc-brain",
            "desc-qsm",
            "label-thalamus_desc-final",
            "label-CSF_desc-reference",
        )
    )
    assert made.sum() < brain.sum()
    assert not (made & ~brain).any()
    assert not (thalamus & ~made).any()
    assert not (reference & thalamus).any()
    rate = voxels(study.made("R2starmap"))
    assert np.median(rate[reference]) < 5 < np.median(rate[thalamus])
    chi = voxels(study.made("Chimap"))
    assert not chi[~made].any()
    total, local = (
        voxels(study.made(f"desc-{n}_fieldmap"))[made].std() for n in ("total", "local")
    )
    assert local < total


def test_settings_of_the_reconstruction_are_in_the_sidecar(study: Study) -> None:
    settings = json.loads((study.out / "logs" / "settings.json").read_text())
    method, chosen = study.sidecar("Chimap")["Method"], settings["reconstruction"]
    for step, choice in (
        *(("Field", "fitting"), ("Relaxation", "relaxation"), ("Background", "background")),
        *(("Fluid", "fluid"), ("CsfReference", "csf"), ("Inversion", "inversion")),
    ):
        assert method[step] == chosen[choice], step
    assert method["Weights"] == {key: chosen[key] for key in ("most_residual_rad", "most_excess")}
    mask = study.sidecar("space-MEGRE_label-thalamus_desc-final_mask")["Method"]
    sent = study.sidecar("space-MEGRE_desc-thalamus_dseg")["Method"]
    assert mask == sent
    assert sent == {
        "Veins": settings["regions"]["veins"],
        "Thalamus": settings["regions"]["thalamus"],
    }
    times = sorted(
        json.loads(path.read_text())["EchoTime"] for path in study.bids.rglob("*_MEGRE.json")
    )
    assert method["Acquisition"]["echo_times_s"] == sorted(set(times))
