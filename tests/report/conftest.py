"""A small head whose contents are known, and reports made from it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.sources import OURS
from bids_qsmthal.report import (
    AnatomyMaps,
    GreMaps,
    LesionIronMaps,
    LesionMaps,
    MethodsRun,
    Notice,
    ParticipantReport,
    RegionMasks,
    Registration,
    RimCandidate,
    Verdict,
    write_participant,
)

OBLIQUE = np.array(
    [[-1.9, 0.3, 0.0, 35.0], [0.3, 1.9, 0.2, -40.0], [0.0, -0.1, 2.0, -20.0], [0, 0, 0, 1.0]]
)
"""Voxels of about 2 mm; the first axis runs to the left, all tilted by a few degrees."""


@pytest.fixture(scope="session")
def head() -> dict[str, Image]:
    """Brain, two thalami, CSF, a vein and a lesion as balls around known world points."""
    shape = (36, 44, 26)
    grid = Image(np.zeros(shape, np.float32), OBLIQUE)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world = voxels @ OBLIQUE[:3, :3].T + OBLIQUE[:3, 3]

    def ball(x: float, y: float, z: float, radius_mm: float) -> np.ndarray:
        return np.linalg.norm(world - (x, y, z), axis=-1) < radius_mm

    brain = ball(0, 0, 5, 25)
    left, right = ball(-9, -2, 5, 6), ball(9, -2, 5, 6)
    csf = ball(-8, -15, 8, 4) | ball(8, -15, 8, 4)
    vein, lesion = ball(0, -8, 9, 2.5), ball(14, 10, 10, 3)
    rng = np.random.default_rng(1)
    chi = 0.01 * rng.standard_normal(shape) + 0.03 * vein - 0.02 * (left | right)
    thalamus = left.astype(np.int16) + 2 * right
    return {
        "brain": grid.like(brain.astype(np.uint8)),
        "thalamus": grid.like(thalamus),
        "csf": grid.like(csf.astype(np.uint8)),
        "vein": grid.like(vein.astype(np.uint8)),
        "lesion": grid.like(lesion.astype(np.uint8)),
        "chi": grid.like((chi * brain).astype(np.float32)),
        "bright": grid.like((100.0 * brain + 50 * lesion + rng.random(shape)).astype(np.float32)),
        "tissue": grid.like(np.where(csf, 3, np.where(left | right, 1, 2 * brain))),
        "deepgray": grid.like(np.where(left, 10, np.where(right, 49, 0)).astype(np.int16)),
        "echoes": grid.like(np.stack([brain * 100.0, brain * 80.0], -1).astype(np.float32)),
    }


@pytest.fixture(scope="session")
def measures() -> pd.DataFrame:
    rows = [
        ("chi_relative_csf", "thalamus", "L", -17.25, "ppb"),
        ("chi_relative_csf", "thalamus", "R", -18.75, "ppb"),
        ("chi_relative_csf", "thalamus", "LR", -18.0, "ppb"),
        ("chi_relative_csf_ci_low", "thalamus", "LR", -19.96, "ppb"),
        ("chi_relative_csf_ci_high", "thalamus", "LR", -16.04, "ppb"),
        ("volume", "thalamus", "L", 6900.0, "mm3"),
        ("volume", "thalamus", "R", 7100.0, "mm3"),
        ("volume", "thalamus", "LR", 14000.0, "mm3"),
        ("volume", "gray_matter", "n/a", 612345.0, "mm3"),
        ("thickness_mean", "cortex", "n/a", 2.456, "mm"),
        ("volume", "lesion", "n/a", 5230.0, "mm3"),
        ("lesion_count", "lesion", "n/a", 14.0, "1"),
        ("enhancing_count", "enhancing", None, 0.0, "1"),
    ]
    return pd.DataFrame(rows, columns=["measure", "region", "hemisphere", "value", "unit"])


@pytest.fixture(scope="session")
def full_report(head: dict[str, Image], measures: pd.DataFrame) -> ParticipantReport:
    """Everything that a report can hold."""
    hostile = "<script>document.title = 'taken'</script>"
    return ParticipantReport(
        participant_id="sub-01",
        session_id="ses-1",
        verdict=Verdict(Decision.CHECK, (f"signal to noise is low {hostile}",)),
        measures=measures,
        quality=pd.DataFrame({"name": [hostile], "value": [1.5], "verdict": ["check"]}),
        sensitivity=pd.DataFrame(
            {
                "choice": ["default", "default", "veins"],
                "variant": ["default", "default", "not removed"],
                "hemisphere": ["L", "LR", "LR"],
                "value": [-17.0, -18.0, -16.0],
            }
        ),
        samples_ppb={"left thalamus": head["chi"].data[head["thalamus"].data == 1] * 1e3},
        gre=GreMaps(
            magnitude=head["echoes"],
            phase_rad=head["echoes"],
            echo_times_s=(0.005, 0.01),
            brain=head["brain"],
            qsm_mask=head["brain"],
            total_field_hz=head["chi"],
            local_field_hz=head["chi"],
            chi_ppm=head["chi"],
            r2star_per_s=head["bright"],
        ),
        regions=RegionMasks(
            thalamus=head["thalamus"],
            thalamus_label=head["thalamus"],
            veins=head["vein"],
            csf_reference=head["csf"],
            lesions=head["lesion"],
        ),
        anatomy=AnatomyMaps(
            t1w=head["bright"],
            brain=head["brain"],
            tissue=head["tissue"],
            deep_gray=head["deepgray"],
            nuclei=head["thalamus"],
            nuclei_names={1: "VA_L", 2: "VA_R"},
            thickness_mm=head["bright"].like(2.5 * (head["tissue"].data == 1)),
        ),
        lesions=LesionMaps(
            flair=head["bright"],
            lesions=head["lesion"],
            t1w=head["bright"],
            ce_t1w=head["bright"],
            enhancing=head["lesion"],
        ),
        lesion_iron=LesionIronMaps(
            labels_t1w=head["lesion"].like(head["lesion"].data.astype(np.int32)),
            labels_gre=head["lesion"].like(head["lesion"].data.astype(np.int32)),
            gre_to_t1w=np.eye(4),
            chi_ppm=head["chi"],
            normal_white_ppb=2.0,
            means_ppb={1: 25.0},
            rims=frozenset({1}),
            candidates=(RimCandidate(1, "present", 0.83, 6.4),),
            assessed=1,
            least_mm=6.0,
            shown_from=0.1,
            table=pd.DataFrame({"id": [1], "location": [hostile], "rim": ["present"]}),
        ),
        registrations=(
            Registration(
                name="gradient echo to T1w",
                fixed=head["bright"],
                moving=head["chi"],
                matrix=np.eye(4),
                outlines={"brain": head["brain"]},
                quality={"mutual information": 0.83},
            ),
        ),
        template=Registration(
            name="T1w to template",
            shown=("T1w of the participant", "template, deformed to fit"),
            fixed=head["bright"],
            moving=head["bright"],
            matrix=np.eye(4),
            outlines={"brain": head["brain"]},
        ),
        warnings=(Notice("Phase was turned.", "Look at the veins."),),
        methods_run=MethodsRun(lesions=OURS, enhancement=OURS),
        versions={"numpy": "2.3"},
        links=(("Group", "group/group.html"),),
    )


@pytest.fixture(scope="session")
def written(full_report: ParticipantReport, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of the full report, the page first and the viewer last."""
    folder = tmp_path_factory.mktemp("report")
    figures = folder / "sub-01" / "ses-1" / "figures"
    return write_participant(full_report, folder / "sub-01_ses-1.html", figures)
