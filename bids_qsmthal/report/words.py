"""What readers call the things that tables name by keys: checks, measures, regions, sides."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pandas as pd

CHECKS: Final[Mapping[str, str]] = {
    "thalamus_voxels_kept": "Voxels measured in both thalami",
    "thalamus_lost_to_mask": "Share of the thalami outside the map",
    "thalamus_without_phase": "Share of the worse thalamus whose phase is not reliable",
    "thalamus_to_slab_end_mm": "Distance from the thalami to the end of the map",
    "thalamus_asymmetry": "Difference in size, left against right thalamus",
    "thalamus_volume_mm3": "Volume of both thalami on the gradient echo",
    "acquired_voxel_mm3": "Volume of an acquired voxel",
    "reference_step": "Place of the CSF reference (0-2: atria; 3-4: ventricles; 5: all CSF)",
    "reference_holds_csf": "CSF found for the reference (1: yes)",
    "reference_sd_ppb": "Spread (SD) of susceptibility in the CSF reference",
    "reference_without_phase": "Share of the CSF reference whose phase is not reliable",
    "reference_asymmetry_ppb": "CSF reference, left minus right",
    "reference_against_global_ppb": "CSF reference minus all CSF in the middle of the brain",
    "chi_relative_csf_ppb": "Relative susceptibility of the thalami",
    "chi_relative_csf_se_ppb": "Standard error of the relative susceptibility",
    "field_noise_per_ml_ppb": "Noise of the mean field in 1 mL",
    "csf_purity": "Share of plain fluid in the CSF that is kept uniform",
    "rim_bone_share": "Share of the edge of the brain mask that is bone",
    "pallidum_relative_csf_ppb": "Relative susceptibility of the pallidum",
    "vein_share": "Share of the thalami classified as vein",
    "overlap": "Overlap of the brain masks of gradient echo and T1w",
    "outlier_fraction": "Voxels whose phase does not fit one frequency",
    "ghost": "Ghost of the head in the air beside it",
    "mask_lost_fraction": "Share of the brain lost before inversion",
    "snr": "Signal-to-noise ratio of the first echo",
    "unusable_scan": "A scan that could not be used",
    "gradient_echo": "Gradient echo: what its files or data say",
    "registration_template": "Registration of T1w to the template (correlation)",
    "registration_FLAIR": "Registration of FLAIR to T1w (overlap of the brains)",
    "registration_ceT1w": "Registration of T1w after contrast agent to T1w (overlap)",
    "registration_MEGRE": "Registration of the gradient echo to T1w (overlap)",
    "anatomy": "Brain, tissues and labels",
}
"""By the name of a check in ``quality.tsv``."""

MEASURES: Final[Mapping[str, str]] = {
    "chi_mean": "susceptibility, mean",
    "chi_sd": "susceptibility, SD over voxels",
    "chi_median": "susceptibility, median",
    "chi_relative_csf": "relative susceptibility (minus CSF reference)",
    "chi_relative_csf_se": "relative susceptibility, standard error",
    "chi_relative_csf_ci_low": "relative susceptibility, lower end of the 95 % interval",
    "chi_relative_csf_ci_high": "relative susceptibility, upper end of the 95 % interval",
    "chi_relative_csf_global": "susceptibility minus all CSF in the middle of the brain",
    "chi_relative_brain": "susceptibility minus the whole brain",
    "chi_paramagnetic_mean": "paramagnetic source, mean",
    "chi_diamagnetic_mean": "diamagnetic source, mean",
    "r2star_mean": "R2*, mean",
    "volume": "volume",
    "lesion_volume": "volume of T2 lesions in it",
    "lesion_share": "share that is T2 lesion",
    "thickness_mean": "thickness, mean",
    "lesion_count": "number of T2 lesions",
    "lesion_count_distinct": "number of T2 lesions, confluent ones separated",
    "count": "number of T2 lesions",
    "chi_relative_nawm_mean": "lesion minus normal-appearing white matter, mean over lesions",
    "chi_relative_nawm_weighted": "lesion minus normal-appearing white matter, weighted by volume",
    "chi_relative_nawm_largest": "largest lesion minus normal-appearing white matter",
    "chi_relative_csf_mean": "lesion minus CSF reference, mean over lesions",
    "chi_relative_csf_weighted": "lesion minus CSF reference, weighted by volume",
    "chi_relative_csf_largest": "largest lesion minus CSF reference",
    "rim_count": "lesions with a paramagnetic rim",
    "rim_present": "any paramagnetic rim (1: yes)",
    "rim_assessed": "lesions that have a rim or would show one",
    "enhancing_count": "number of enhancing lesions",
    "enhancing_present": "any enhancing lesion (1: yes)",
    "qsm_converged": "inversion converged (1: yes)",
    "qsm_csf_mm3": "CSF that is kept uniform, volume",
    "qsm_csf_voxels": "CSF that is kept uniform, voxels",
    "qsm_csf_purity": "CSF that is kept uniform, share of plain fluid",
    "qsm_field_noise_hz": "noise of the field",
    "qsm_field_noise_ppb": "noise of the field, as a susceptibility",
    "qsm_mask_lost_fraction": "share of the brain lost before inversion",
    "qsm_rim_lost_fraction": "share of the brain's edge lost before inversion",
    "qsm_rim_bone_share": "share of the brain's edge that is bone",
    "qsm_medi_iterations": "iterations of the inversion",
    "qsm_outlier_fraction": "share of voxels whose phase does not fit",
    "qsm_residual_rad": "phase left by the fit of the field",
    "qsm_snr": "signal-to-noise ratio of the first echo",
}
"""By the name of a measure in ``measures.tsv``."""

NUCLEI: Final[Mapping[str, str]] = {
    "av": "AV: anteroventral",
    "va": "VA: ventral anterior",
    "vamc": "VAmc: ventral anterior, magnocellular",
    "vla": "VLa: ventral lateral anterior",
    "vlp": "VLp: ventral lateral posterior",
    "vpl": "VPL: ventral posterolateral",
    "vm": "VM: ventromedial",
    "pul": "Pul: pulvinar",
    "pul of FreeSurfer": "PuL: lateral pulvinar",
    "pua": "PuA: anterior pulvinar",
    "pui": "PuI: inferior pulvinar",
    "pum": "PuM: medial pulvinar",
    "lgn": "LGN: lateral geniculate",
    "mgn": "MGN: medial geniculate",
    "cm": "CM: centromedian",
    "cem": "CeM: central medial",
    "cl": "CL: central lateral",
    "ld": "LD: laterodorsal",
    "lp": "LP: lateral posterior",
    "l_sg": "L-Sg: limitans, suprageniculate",
    "md_pf": "MD-Pf: mediodorsal, parafascicular",
    "mdl": "MDl: mediodorsal, lateral part",
    "mdm": "MDm: mediodorsal, medial part",
    "mv_re": "MV(Re): reuniens",
    "pc": "Pc: paracentral",
    "pf": "Pf: parafascicular",
    "pt": "Pt: paratenial",
    "pav": "PaV: paraventricular",
    "r": "R: reticular",
    "hb": "Hb: habenula",
    "mtt": "MTT: mammillothalamic tract",
}
"""Nuclei of the thalamus: Su et al. 2019 (doi 10.1016/j.neuroimage.2019.03.021) for the packaged
atlas, Iglesias et al. 2018 (doi 10.1016/j.neuroimage.2018.08.012) for FreeSurfer's."""

REGIONS: Final[Mapping[str, str]] = {
    "csf": "CSF",
    "csf_reference": "CSF reference",
    "pallidum_external": "pallidum, external part",
    "pallidum_internal": "pallidum, internal part",
    "csf_global": "all CSF in the middle of the brain",
    "normal_appearing_white_matter": "normal-appearing white matter",
    "lesion": "T2 lesions",
    "lesion_rim": "T2 lesions with a rim",
    "lesion_thalamus": "T2 lesions in the thalami",
    "lesion_deep_white_matter": "T2 lesions, deep white matter",
    "lesion_infratentorial": "T2 lesions, infratentorial",
    "lesion_juxtacortical": "T2 lesions, juxtacortical",
    "lesion_periventricular": "T2 lesions, periventricular",
    "enhancing": "enhancing lesions",
}
"""Regions whose key is more than a name with underscores."""

SIDES: Final[Mapping[str, str]] = {"L": "left", "R": "right", "LR": "both"}

ARTEFACTS: Final[Mapping[str, str]] = {
    "motion": "motion, ghosts",
    "signal-loss": "signal loss near air reaches the thalami",
    "streaks": "streaks or shadows in the map",
    "phase": "phase: wraps, stripes, alternating slices",
    "registration": "registration off",
    "brain-mask": "brain mask wrong",
    "thalamus": "outline of a thalamus wrong",
    "reference": "CSF reference not in plain fluid",
    "lesions": "lesions missed or false",
    "coverage": "part of the head not in the image",
    "other": "other (say in the reason)",
}
"""What a reader may tick; the key is what the rating's file has."""


def check(name: str) -> str:
    """Return what a reader calls a check."""
    return CHECKS.get(name, plain(name))


def measure(name: str) -> str:
    """Return what a reader calls a measure."""
    return MEASURES.get(name, plain(name))


def nucleus(name: str, among: Collection[str] = ()) -> str:
    """Return the abbreviation of a nucleus as atlases print it, and what it stands for.

    ``among`` are the nuclei beside it: FreeSurfer's PuL and the whole pulvinar of the packaged
    atlas have one key, but only FreeSurfer has a medial one.
    """
    if name == "pul" and "pum" in among:
        return NUCLEI["pul of FreeSurfer"]
    return NUCLEI.get(name, plain(name))


def region(name: str, among: Collection[str] = ()) -> str:
    """Return what a reader calls a region of the tables; those of a user's atlas stay as named."""
    whole, _, part = name.partition("_")
    if whole == "thalamus" and part in NUCLEI:
        beside = {other.removeprefix("thalamus_") for other in among}
        return f"thalamus, {nucleus(part, beside)}"
    return name if ":" in name else REGIONS.get(name, plain(name))


def within(text: str) -> str:
    """Return a heading as it stands within a sentence; CSF stays CSF."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def plain(name: str) -> str:
    """Return a key with spaces for its underscores."""
    return name.replace("_", " ")


def measures_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of measures as readers read it; the file keeps its keys."""
    among = set(table["region"])
    return (
        _units(table)
        .assign(
            measure=table["measure"].map(measure),
            region=[region(name, among) for name in table["region"]],
            hemisphere=table["hemisphere"].map(lambda side: SIDES.get(side, side)),
        )
        .rename(columns={"hemisphere": "side", "n_voxels": "voxels", "n_lost": "voxels left out"})
    )


def _units(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the 1 that stands for the unit of a count: it looks like a number."""
    return table.replace({"unit": {"1": ""}})


def _bound(found: re.Match[str]) -> str:
    """Return the sign of a limit, and the minus of its number as elsewhere on the page."""
    minus = "\N{MINUS SIGN}" if found[0].endswith("-") else ""
    return f"\N{NO-BREAK SPACE}{found[1]}\N{NO-BREAK SPACE}{minus}"


def checks_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of checks as readers read it; the file keeps its keys."""
    shown = _units(table.assign(name=table["name"].map(check)))
    if "threshold" in shown:
        # A limit is not broken between its sign and its number.
        shown["threshold"] = shown["threshold"].str.replace(r" ([<>]) -?", _bound, regex=True)
    return shown.rename(columns={"name": "check", "threshold": "limit", "source": "why this limit"})


LESION_COLUMNS = {
    "id": "lesion",
    "location": "location",
    "volume_mm3": "volume (mm3)",
    "chi_relative_nawm_ppb": "relative to NAWM (ppb)",
    "chi_relative_nawm_ppb_se": "standard error (ppb)",
    "chi_relative_csf_ppb": "relative to CSF (ppb)",
    "r2star_hz": "R2* (1/s)",
    "rim": "rim",
    "rim_probability": "probability of a rim",
    "rim_visible_ppb": "a rim would be seen from (ppb)",
}
"""What a reader of the page asks about a lesion, by the columns of the file. All of them would
not fit on a printed page."""


def lesion_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of lesions as readers read it; the file keeps its keys and has more."""
    present = [name for name in LESION_COLUMNS if name in table]
    return table[present].rename(columns=LESION_COLUMNS)
