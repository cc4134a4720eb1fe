"""What a reader can do about each warning."""

from __future__ import annotations

import re

from bids_qsmthal.report import Notice

MASK = "If an outline is wrong, correct its file (see 'Correct and rate') and run again."

ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"[Oo]ne echo|R2\* map",
        "Nothing can be done about it afterwards: export the other echoes if there were any.",
    ),
    (
        r"thalamus_voxels_kept|thalamus_asymmetry|thalamus_volume|thalami are|rim of the thalamus",
        f"Look at the thalamus on T1w and on the map. {MASK}",
    ),
    (
        r"thalamus_lost_to_mask|mask_lost_fraction|lost on the way",
        "Look at the masks and the magnitude: a wrong brain mask can be corrected; signal lost "
        "near air cannot be brought back.",
    ),
    (
        r"reference_|CSF reference",
        "Look at the CSF reference on the map: it should lie in plain fluid, without plexus. "
        "Correct its file, or compare with the number against all CSF in the table of choices.",
    ),
    (
        r"chi_relative_csf_se|chi_relative_csf_ppb",
        "See how the number moves with the choices, and look for streaks in the map; if one "
        "choice alone makes it, trust the others.",
    ),
    (
        r"pallidum|\bsign\b",
        "Bright veins and a bright pallidum belong to the right sign. If they are dark, run again "
        "with --phase-sign -1 or +1.",
    ),
    (r"vein_share", f"Look at the veins on the map. {MASK}"),
    (
        r"overlap|registration|match no worse",
        "Let the registration flicker and watch the ventricles. If they jump, check that both "
        "scans are of this participant and show the whole head; bring labels in the space of the "
        "gradient echo with --derivatives.",
    ),
    (
        r"outlier_fraction|phase does not fit",
        "Look at the phase for motion, stripes or slices that alternate (--gre-chop), and at the "
        "sidecars for wrong echo times. Leave the scan out if it moved.",
    ),
    (
        r"ghost|repeats itself",
        "Look at the magnitude beside the head and at the map: where the head is seen again, or "
        "stripes run through the map, leave the scan out.",
    ),
    (r"snr|noisy", "Look at the magnitude. A noisy scan gives wide intervals; weigh it by them."),
    (
        r"intracranial volume|brain reaches|brain mask",
        "Look at the brain outline on T1w; bring a brain mask with --derivatives if it is wrong.",
    ),
    (
        r"classification|ascend|thickness|hardly differ",
        "Look at the tissue classes: is this a T1w image before contrast agent? Volumes and "
        "thickness depend on it, the susceptibility hardly.",
    ),
    (
        r"lesion|enhancement|FLAIR",
        "Look at the lesions on FLAIR; bring a lesion mask with --derivatives where their volume "
        "matters.",
    ),
    (
        r"[Dd]ipole inversion|MEDI",
        "Look for streaks in the map, and compare with --inversion tv.",
    ),
    (
        r"where the thalamus is|no susceptibility",
        "See 'bids_qsmthal check' for what each missing image costs.",
    ),
)
"""What to do, by what the warning speaks of; the first that fits."""


def notice(warning: str) -> Notice:
    """Return a warning with what to do about it, where anything can be done."""
    for subject, action in ADVICE:
        if re.search(subject, warning):
            return Notice(warning, action)
    return Notice(warning)
