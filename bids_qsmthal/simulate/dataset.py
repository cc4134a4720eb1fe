"""A simulated cohort on disk: raw BIDS, and the truth in a folder beside it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from bids_qsmthal import __version__
from bids_qsmthal.core import nifti
from bids_qsmthal.core.files import write_json, write_text, write_tsv
from bids_qsmthal.simulate.compositions import DEEP_LABELS
from bids_qsmthal.simulate.effects import PLAIN
from bids_qsmthal.simulate.given import NO_FILES
from bids_qsmthal.simulate.participants import Participant, participant
from bids_qsmthal.simulate.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bids_qsmthal.simulate.cohort import Planned
    from bids_qsmthal.simulate.given import GivenFiles
    from bids_qsmthal.simulate.scenarios import Scenario

log = logging.getLogger(__name__)

README: Final = """\
Simulated multi-echo gradient echo, T1w, post-contrast T1w and FLAIR images of digital participants
with known thalamic susceptibility. Nobody was scanned. Made by bids_qsmthal {version}; what is true
of each participant (maps, labels, volumes, motion) is in the folder `truth` beside this dataset.

Limits: {anatomy}; {scan} no chemical shift of fat, no motion during a scan. Cortical
thickness has no truth.
"""

ATLAS_ANATOMY: Final = """\
the anatomy is a warped, sharpened average brain; skull, scalp and sinuses are shells and
ellipsoids"""
GIVEN_ANATOMY: Final = """\
the anatomy is that of label maps ({names}), its borders half a millimetre
soft; veins are those of an atlas; where nothing is labelled outside the brain, skull, scalp and
sinuses are shells and ellipsoids"""

PLAIN_SCAN: Final = "noise is white; no flow,"

DICTIONARY: Final[dict[str, Any]] = {
    "age": {"Description": "Age at the scan", "Units": "year"},
    "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
    "disease_duration": {"Description": "Time since diagnosis", "Units": "year"},
    "dmt": {
        "Description": "Disease-modifying therapy",
        "Levels": {"0": "untreated", "1": "treated"},
    },
    "edss": {"Description": "Expanded Disability Status Scale, 0 to 10"},
    "enhancing_lesions": {
        "Description": "Lesions that take up gadolinium",
        "Levels": {"0": "none", "1": "at least one"},
    },
}


def write_dataset(
    folder: Path,
    cohort: Iterable[Planned],
    scenario: Scenario | None = None,
    given: GivenFiles = NO_FILES,
    visits: int = 1,
) -> Path:
    """Make every participant of a cohort and write them as valid BIDS.

    Parameters
    ----------
    folder
        The dataset; made where missing. Truth goes to ``truth`` beside it.
    cohort
        Participants are made one after the other, and forgotten once written.
    scenario
        What the scanner does to their gradient echoes; a plain scan by default.
    given
        Heads and shapes of lesions that are not drawn.
    visits
        How often each is scanned, nothing but position and noise being another; from 2 on they are
        sessions.

    Returns
    -------
    pathlib.Path
        The folder of the truth.
    """
    # Beside and not inside: nothing that reads the dataset may come upon the truth.
    truth_folder = folder.parent / "truth"
    rows, truths = [], []
    for order, planned in enumerate(cohort):
        log.info("simulating sub-%s", planned.label)
        parameters, effects = planned.parameters, PLAIN
        if scenario is not None:
            parameters, effects = scenario.applied(parameters)
        rows.append(planned.row)
        for visit in range(visits):
            made = participant(parameters, planned.seed, effects, given.of(order), visit)
            name, session = f"sub-{planned.label}", {}
            if visits > 1:
                session = {"session_id": f"ses-{visit + 1}"}
                name = f"{name}_{session['session_id']}"
            write_participant(folder, truth_folder, name, made)
            truths.append(session | _truth_row(planned, made))
    write_json(folder / "dataset_description.json", _description())
    scan = PLAIN_SCAN
    if scenario is not None and scenario != SCENARIOS["plain"]:
        scan = f"gradient echo: {scenario.title};"
    names = ", ".join(path.name for path in given.labels)
    anatomy = GIVEN_ANATOMY.format(names=names) if names else ATLAS_ANATOMY
    text = README.format(version=__version__, scan=scan, anatomy=anatomy)
    write_text(folder / "README", text)
    write_tsv(folder / "participants.tsv", pd.DataFrame(rows))
    write_json(folder / "participants.json", DICTIONARY)
    write_tsv(truth_folder / "participants_truth.tsv", pd.DataFrame(truths))
    return truth_folder


def write_participant(folder: Path, truth_folder: Path, name: str, made: Participant) -> None:
    """Write one visit's scans and truth; ``name`` as in ``sub-01`` or ``sub-01_ses-1``."""
    place = Path(*name.split("_"))
    for scan in made.scans:
        path = folder / place / "anat" / f"{name}_{scan.name}.nii.gz"
        nifti.save(scan.image, path, slope=scan.slope)
        write_json(path.with_name(f"{name}_{scan.name}.json"), dict(scan.sidecar))
    for ending, image in made.truth.images.items():
        nifti.save(image, truth_folder / place / f"{name}_{ending}.nii.gz")
    labels = pd.DataFrame({"index": range(1, len(DEEP_LABELS) + 1), "name": DEEP_LABELS})
    write_tsv(truth_folder / place / f"{name}_desc-deepgray_dseg.tsv", labels)
    write_json(
        truth_folder / place / "truth.json",
        {"participant_id": place.parts[0], **made.truth.numbers},
    )


def _description() -> dict[str, object]:
    return {
        "Name": "Simulated participants for bids_qsmthal",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["The bids_qsmthal developers"],
        "GeneratedBy": [{"Name": "bids_qsmthal", "Version": __version__}],
    }


def _truth_row(planned: Planned, made: Participant) -> dict[str, object]:
    values: Any = made.truth.numbers
    return {
        **planned.row,
        "chi_relative_csf": values["chi_relative_csf"]["LR"],
        "thalamus_mm3": values["volume_mm3"]["thalamus_LR"],
        "gray_matter_mm3": values["volume_mm3"]["gray_matter"],
        "lesion_mm3": values["volume_mm3"]["lesion"],
        "enhancing_count": values["enhancing_count"],
        "protocol": planned.parameters.protocol.name,
        "vendor": planned.parameters.vendor.name,
    }
