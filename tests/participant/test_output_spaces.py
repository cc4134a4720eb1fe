"""--output-spaces: which images are written where, with what beside them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.output_spaces import OutputSpace
from bids_qsmthal.anatomy.warping import Warp
from bids_qsmthal.bids.dataset import GreFiles, Session
from bids_qsmthal.bids.derivatives import Derivatives
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant import output_spaces
from bids_qsmthal.participant.structural import Structural
from bids_qsmthal.participant.susceptibility import Susceptibility

SHAPE = (20, 20, 20)
AFFINE = np.array([[9.0, 0, 0, -90], [0, 9, 0, -110], [0, 0, 9, -70], [0, 0, 0, 1]])
TEMPLATE = OutputSpace(atlas.SPACE, 4)

ONE_TO_THE_RIGHT = np.eye(4)
"""From the gradient echo to T1w: one voxel."""
ONE_TO_THE_RIGHT[0, 3] = 9.0


def image(value: Any, dtype: Any = np.float32) -> Image:
    return Image(np.full(SHAPE, value, dtype), AFFINE)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    root = tmp_path / "bids"
    anat = root / "sub-01" / "anat"
    echo = anat / "sub-01_run-2_part-phase_MEGRE.nii.gz"
    gre = GreFiles((("run", "2"),), (echo,))
    return Session(root=root, subject="01", gre=gre, t1w=anat / "sub-01_T1w.nii.gz")


@pytest.fixture
def structural() -> Structural:
    still = Image(np.zeros((*SHAPE, 3), np.float32), AFFINE)
    prepared: Any = SimpleNamespace(t1w=image(1), to_template=Warp(np.eye(4), (still,), still))
    anatomy: Any = SimpleNamespace(
        t1w=image(700), brain=image(1, np.uint8), deepgray=image(10, np.int16)
    )
    for name in ("gm", "wm", "csf"):
        setattr(anatomy, name, image(0.25))
    lesions: Any = SimpleNamespace(mask=image(0, np.uint8))
    return Structural(prepared=prepared, anatomy=anatomy, lesions=lesions)


def gre(session: Session, *, failed: bool = False, echoes: int = 4) -> Susceptibility:
    inside = np.zeros(SHAPE, np.bool_)
    inside[8:14, 8:14, 8:14] = True
    maps: Any = SimpleNamespace(
        chi_ppm=np.where(inside, 0.05, 0.0).astype(np.float32),
        r2star_hz=np.where(inside, 20.0, 0.0).astype(np.float32),
        mask=inside,
    )
    thalamus = inside.astype(np.uint8)
    thalamus[11:] *= 2
    assert session.gre is not None
    series = SimpleNamespace(paths=session.gre.paths, first=(None,) * echoes)
    masks = {"thalamus": image(0).like(thalamus), "reference": image(0), "veins": image(0)}
    return Susceptibility(
        signal=SimpleNamespace(series=series),  # type: ignore[arg-type]
        combined=image(1),
        brain=image(1),
        maps=maps,
        to_t1w=SimpleNamespace(matrix=ONE_TO_THE_RIGHT, failed=failed),  # type: ignore[arg-type]
        regions=SimpleNamespace(masks=masks),  # type: ignore[arg-type]
    )


@pytest.fixture
def out(tmp_path: Path) -> Derivatives:
    return Derivatives(
        output_dir=tmp_path / "out",
        entities=(("sub", "01"),),
        gre_entities=(("run", "2"),),
        references={"T1w": "bids:raw:sub-01/anat/sub-01_T1w.nii.gz", atlas.SPACE: atlas.SPACE},
        codes={atlas.SPACE: 4, "T1w": 2},
    )


def names(out: Derivatives) -> set[str]:
    return {path.name.removesuffix(".nii.gz") for path in out.folder.glob("*.nii.gz")}


def test_maps_and_masks_are_in_both_spaces(
    session: Session, structural: Structural, out: Derivatives
) -> None:
    wanted = (OutputSpace("T1w"), TEMPLATE)
    output_spaces.save(session, wanted, structural, gre(session), out)
    mni = f"space-{atlas.SPACE}_res-4"
    of_gre = [
        *("Chimap", "R2starmap", "desc-qsm_mask", "label-thalamus_desc-final_mask"),
        "desc-thalamus_dseg",
        *("label-CSF_desc-reference_mask", "label-vein_mask"),
    ]
    of_t1w = [
        *("desc-preproc_T1w", "desc-brain_mask", "label-GM_probseg", "label-WM_probseg"),
        *("label-CSF_probseg", "desc-deepgray_dseg", "label-lesion_mask"),
    ]
    assert names(out) == {
        # What is on the grid of T1w already is not written twice.
        *(f"sub-01_run-2_{space}_{one}" for space in ("space-T1w", mni) for one in of_gre),
        *(f"sub-01_{mni}_{one}" for one in of_t1w),
    }
    chi = nib.load(out.folder / f"sub-01_run-2_{mni}_Chimap.nii.gz")
    assert int(chi.header["sform_code"]) == 4
    inside = nib.load(out.folder / f"sub-01_run-2_{mni}_desc-qsm_mask.nii.gz").get_fdata() > 0
    values = chi.get_fdata()
    # 5 voxels of 9 mm between the outer centres, and half a voxel at each side: 54 mm.
    assert inside.sum() * 64 == pytest.approx(54**3, rel=0.25)
    middle = tuple(np.argwhere(inside).mean(axis=0).round().astype(int))
    assert values[middle] == pytest.approx(0.05, abs=0.005)
    sidecar = json.loads((out.folder / f"sub-01_run-2_{mni}_Chimap.json").read_text())
    assert sidecar["Units"] == "ppm"
    assert sidecar["Resolution"] == "4 mm, isotropic"
    assert sidecar["SpatialReference"] == atlas.SPACE
    assert sidecar["Method"]["Interpolation"] == "cubic spline"
    assert sidecar["Sources"] == [
        "bids:raw:sub-01/anat/sub-01_run-2_part-phase_MEGRE.nii.gz",
        "bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
    ]
    own = nib.load(out.folder / "sub-01_run-2_space-T1w_Chimap.nii.gz")
    moved = np.roll(gre(session).maps.chi_ppm, 1, axis=0)
    np.testing.assert_allclose(own.get_fdata(), moved, atol=1e-6)
    assert int(own.header["sform_code"]) == 2


def test_labels_keep_their_names_and_colors(
    session: Session, structural: Structural, out: Derivatives
) -> None:
    output_spaces.save(session, (OutputSpace("T1w"), TEMPLATE), structural, gre(session), out)
    tables = {path.name: pd.read_csv(path, sep="\t") for path in out.folder.glob("*_dseg.tsv")}
    images = {path.name for path in out.folder.glob("*_dseg.nii.gz")}
    assert {name.removesuffix(".tsv") for name in tables} == {
        name.removesuffix(".nii.gz") for name in images
    }
    mni = f"space-{atlas.SPACE}_res-4"
    thalami = tables[f"sub-01_run-2_{mni}_desc-thalamus_dseg.tsv"]
    assert thalami.to_dict("list") == {
        "index": [1, 2],
        "name": ["left thalamus", "right thalamus"],
        "color": ["#F0E442", "#CC79A7"],
    }
    deep = tables[f"sub-01_{mni}_desc-deepgray_dseg.tsv"].set_index("name")["color"]
    assert deep["Left-Thalamus"] == deep["Right-Thalamus"] == "#56B4E9"


def test_a_map_is_zero_where_it_covers_nothing(
    session: Session, structural: Structural, out: Derivatives
) -> None:
    output_spaces.save(session, (TEMPLATE,), structural, gre(session), out)
    begin = f"sub-01_run-2_space-{atlas.SPACE}_res-4"
    chi = nib.load(out.folder / f"{begin}_Chimap.nii.gz").get_fdata()
    thalamus = nib.load(out.folder / f"{begin}_desc-thalamus_dseg.nii.gz").get_fdata()
    # A spline rings on both sides of an edge; beyond the mask nothing is left of it.
    assert not (chi < -1e-3).any()
    assert set(np.unique(thalamus)) == {0, 1, 2}


def test_one_echo_has_no_decay(session: Session, structural: Structural, out: Derivatives) -> None:
    output_spaces.save(session, (OutputSpace("T1w"),), structural, gre(session, echoes=1), out)
    assert not any("R2star" in name for name in names(out))


def test_where_nothing_leads_to_a_space_it_is_said(
    session: Session,
    structural: Structural,
    out: Derivatives,
    caplog: pytest.LogCaptureFixture,
) -> None:
    output_spaces.save(session, (TEMPLATE,), Structural(), gre(session), out)
    assert "they need a T1w" in caplog.text
    assert not out.made
    output_spaces.save(session, (TEMPLATE,), structural, gre(session, failed=True), out)
    assert "registration of the gradient echo to T1w failed" in caplog.text
    assert not any("Chimap" in name for name in names(out))
    assert any("desc-preproc_T1w" in name for name in names(out))
