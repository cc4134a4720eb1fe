"""Every warning in words, and what a reader can do about it: the one place of these sentences.

A sentence is a template of the fields of its warning. Nothing is decided by what stands here: to
reword a sentence changes what people read and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from bids_qsmthal.core import scan_warnings as of
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.report import words
from bids_qsmthal.report.page import Notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.core.scan_warnings import ScanWarning
    from bids_qsmthal.report.page import Level
    from bids_qsmthal.roi import Limit


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said, and what can be done; nothing where nothing can."""

    text: str
    advice: str = ""


ZERO_OF_THE_MAP = (
    "A field determines susceptibility up to a constant, so only differences between regions "
    "count. The map is not shifted; relative susceptibilities in tables have that of the reference "
    "subtracted."
)
MASK = "If an outline is wrong, correct its file (see 'Correct and rate') and run again."
OTHER_ECHOES = "This cannot be corrected afterwards. Export the other echoes if there were any."
THALAMUS = f"Look at the thalamus on T1w and on the map. {MASK}"
LOST_SIGNAL = (
    "Look at the masks and the magnitude: a wrong brain mask can be corrected; signal lost near "
    "air cannot be restored."
)
HOLE = (
    "Look at the phase of every echo there: noise, a fringe line of the coils or an echo of "
    "another scan looks like this. Export the phase again; if the scanner made it like this, "
    "leave the scan out."
)
REFERENCE = (
    "Look at the CSF reference on the map: it should lie in plain fluid, without plexus. Correct "
    "its file, or compare with the number against all CSF in the table of choices."
)
CHOICES = (
    "See how the number changes with the choices, and look for streaks in the map. If only one "
    "choice gives this number, trust the others."
)
PHASE_SIGN = (
    "Bright veins and a bright pallidum belong to the right sign. If they are dark, run again with "
    "--phase-sign -1 or +1."
)
MAIN_FIELD = (
    "If the images were rotated after the scan, give the direction of the main field along the "
    "voxel axes with --b0-direction X Y Z."
)
SIDECARS = "Correct the JSON files: the sidecars of a scan must say what the scanner did."
SCALE = "Say what the numbers of the phase are with --phase-units if this is wrong."
REGISTRATION = (
    "Let the registration flicker and watch the ventricles. If they jump, check that both scans "
    "are of this participant and show the whole head, or supply labels in the space of the "
    "gradient echo with --derivatives."
)
PHASE = (
    "Look at the phase for motion, stripes or alternating slices (--gre-chop), and at the "
    "sidecars for wrong echo times. Leave the scan out if the head moved."
)
GHOST = (
    "Look at the magnitude beside the head and at the map. If the head appears again there, or "
    "stripes run through the map, leave the scan out."
)
NOISE = "Look at the magnitude. A noisy scan gives wide intervals; take them into account."
BRAIN = "Look at the brain outline on T1w. If it is wrong, supply a brain mask (--derivatives)."
TISSUE = (
    "Look at the tissue classes: was this T1w image acquired before contrast agent? Volumes and "
    "thickness depend on it; susceptibility hardly does."
)
LESIONS = (
    "Look at the lesions on FLAIR. If their volume matters, supply a lesion mask with "
    "--derivatives."
)
STREAKS = "Look for streaks in the map, and compare with --inversion tv."
MISSING = "'bids_qsmthal check' tells what cannot be measured without each missing image."

WARNINGS: Mapping[type[ScanWarning], Wording] = {
    of.BrainVolumeImplausible: Wording(
        "intracranial volume {volume_ml:.0f} mL, expected {lowest_ml:g} to {highest_ml:g} mL",
        BRAIN,
    ),
    of.BrainAtImageEdge: Wording(
        "the brain reaches {faces} of the 6 faces of the image",
        BRAIN,
    ),
    of.TemplateRegistrationFailed: Wording(
        "registration to the template failed (correlation {correlation:.2f}, expected at least "
        "{lowest:g})",
        REGISTRATION,
    ),
    of.RegistrationNotSharp: Wording(
        "registration: a shift by {shift_mm:g} mm makes the match hardly worse; the two scans may "
        "not be of the same head, or one lacks contrast",
        REGISTRATION,
    ),
    of.BrainsDoNotOverlap: Wording(
        "registration: the brain masks overlap by {overlap_percent:.0f} %, expected at least "
        "{lowest_percent:.0f} %",
        REGISTRATION,
    ),
    of.ContrastNotT1w: Wording(
        "intensities of fluid, gray and white matter are {fluid:.0f}, {gray_matter:.0f}, "
        "{white_matter:.0f}; in a T1w image they increase in this order: is this another contrast?",
        TISSUE,
    ),
    of.TissueNotConverged: Wording("tissue classification did not converge", TISSUE),
    of.ThalamiOfImplausibleSize: Wording(
        "thalami are {percent_of_intracranial:.2f} % of the intracranial volume, expected .4-1.6",
        THALAMUS,
    ),
    of.ThicknessImplausible: Wording(
        "mean cortical thickness {thickness_mm:.2f} mm, expected {lowest_mm} to {highest_mm}",
        TISSUE,
    ),
    of.ThalamiElsewhere: Wording(
        "the thalami of {source} and of the registered atlas overlap by {overlap_percent:.0f} %, "
        "expected at least {lowest_percent:.0f} %: one of them is not where the thalami of this "
        "T1w are",
        REGISTRATION,
    ),
    of.FlairNoisy: Wording(
        "FLAIR is noisy (white matter varies by over {limit_percent:.0f} %): small lesions are "
        "missed",
        LESIONS,
    ),
    of.GrayLikeWhiteMatter: Wording(
        "gray and white matter hardly differ on T1w: expect false lesions at the cortex", TISSUE
    ),
    of.LesionsFromFlairAlone: Wording(
        "no T1w with tissue priors: lesions were segmented on FLAIR alone, none within "
        "{surface_mm:g} mm of the brain's surface; expect missed and false lesions",
        LESIONS,
    ),
    of.FlairCoversPart: Wording(
        "FLAIR covers only {cover_percent:.0f} % of the brain",
        LESIONS,
    ),
    of.EnhancementWithoutLesions: Wording(
        "no T2 lesions are known: enhancement was looked for in all white matter; expect vessels "
        "among the findings",
        LESIONS,
    ),
    of.EnhancementReadDifferently: Wording(
        "Enhancing lesions: the table of the dataset says {table}, the images show {images}. The "
        "table counts at group level.",
        LESIONS,
    ),
    of.NoGradientEcho: Wording(
        "There is no gradient echo, so susceptibility was not measured.",
        MISSING,
    ),
    of.PhaseMissing: Wording(
        "The gradient echo has only magnitude: R2* and T2* are measured. Susceptibility needs the "
        "phase, or a total field that another program made from it.",
        "If the scanner kept the phase, or real and imaginary parts, export them beside the "
        "magnitude and run again.",
    ),
    of.FieldWithoutPhase: Wording(
        "The gradient echo has only magnitude: susceptibility comes from an external total field, "
        "which cannot be checked against the phase.",
        "If the scanner kept the phase, or real and imaginary parts, export them beside the "
        "magnitude: unit, sign and scan of the field are then checked against it.",
    ),
    of.PhaseSignUnknown: Wording(
        "Neither the data nor the manufacturer shows the sign of the phase.",
        PHASE_SIGN,
    ),
    of.PhaseIsNoise: Wording(
        "The phase differs from voxel to voxel as noise does (quality {quality:.2f}; noise has "
        "0.50, a smooth phase 1.00), so its sign and its readouts could not be checked. Field and "
        "susceptibility are meaningless.",
        "Look at the phase image: a wrong scale, a conversion with loss or the phase of another "
        "scan looks like this. Export the phase again from the scanner.",
    ),
    of.EchoPhaseIsNoise: Wording(
        "The phase of echo {echoes} differs from voxel to voxel as noise does (quality "
        "{quality:.2f}; noise has 0.50, a smooth phase 1.00), although the magnitude has signal "
        "there, so sign and readouts of the phase could not be checked. Field and susceptibility "
        "are meaningless.",
        "Look at the phase of that echo: a file of another scan or a conversion with loss looks "
        "like this. Export it again from the scanner, or leave that echo out.",
    ),
    of.PhaseSignUnusual: Wording(
        "The data show a phase sign of {sign:+d} (evidence {evidence:+.2f}), but "
        "{manufacturer} usually has {usual_sign:+d}. The sign of the data was used.",
        PHASE_SIGN,
    ),
    of.MainFieldAssumed: Wording(
        "The header of the gradient echo has no affine in the coordinates of the scanner (sform "
        "code {sform_code}, qform code {qform_code}). The direction of the main field was taken "
        "from ImageOrientationPatientDICOM.",
        MAIN_FIELD,
    ),
    of.MainFieldByAlignment: Wording(
        "The header of the gradient echo has no affine in the coordinates of the scanner (code "
        "1). The direction of the main field was taken from its {name}, which aligns the image to "
        "another scan (code 2). If the head was rotated for that, susceptibility is wrong.",
        MAIN_FIELD,
    ),
    of.FrequencyOfAnotherField: Wording(
        "ImagingFrequency {frequency_mhz:g} MHz is that of {its_field_t:.3g} T, but "
        "MagneticFieldStrength says {stated_field_t:.3g} T. The frequency was used; susceptibility "
        "scales with it.",
        SIDECARS,
    ),
    of.FrequencyInOtherUnit: Wording(
        "ImagingFrequency {value:g} was read as {unit}; BIDS requires MHz.",
        SIDECARS,
    ),
    of.FrequencyUnusable: Wording(
        "ImagingFrequency {value} is not a frequency; MagneticFieldStrength was used.",
        SIDECARS,
    ),
    of.NumbersAsText: Wording(
        "In the sidecars {keys} is text or a list of one, which was read as a number.",
        "Correct the sidecars: BIDS wants a number without quotes, and validators refuse others.",
    ),
    of.T1wOfAnotherSession: Wording(
        "T1w is from session {session}, as requested with --t1w-session: anatomy, volumes and "
        "thickness are those of that day.",
        "Check in the registration whether the head has changed, above all lesions and ventricles.",
    ),
    of.ScanUnusable: Wording(
        "The {scan} cannot be used, so results that need it are missing: {reason}",
        "Correct the scan, then run the same command again: the rest is kept.",
    ),
    of.UniformWithNoise: Wording(
        "T1w is the uniform image of MP2RAGE (UNIT1), whose air is noise, and the two inversion "
        "images that would remove it are not there.",
        "Add inv-1_MP2RAGE and inv-2_MP2RAGE of the same scan, or look at the brain's outline.",
    ),
    of.ScanAfterContrast: Wording(
        "The sidecars of the gradient echo name a contrast agent ({agent}), which changes R2* and "
        "the susceptibility of vessels and leaking tissue.",
        "Compare it with scans after contrast only, or leave it out with --bids-filter-file.",
    ),
    of.GapBetweenSlices: Wording(
        "The slices of the gradient echo are {thickness_mm:g} mm thick and {spacing_mm:g} mm "
        "apart: the field in the gaps was not measured.",
        "Background removal and inversion assume that the slices fill the volume. Acquire in 3-D.",
    ),
    of.SlicesElsewhere: Wording(
        "The sidecars of the gradient echo say that its slices are {spacing_mm:g} mm apart, but "
        "the voxels in the header are {voxel_mm} mm: one of them was changed after the scan.",
        "Compare the image with the scan at the console; convert it again from DICOM.",
    ),
    of.ZeroFilled: Wording(
        "The gradient echo was acquired with {acquired} steps of phase encoding and reconstructed "
        "with {reconstructed}: neighbouring voxels are interpolated and share their noise.",
        "Nothing is wrong. When you compare noise, count independent voxels by the acquired size.",
    ),
    of.PhaseScaleByRange: Wording(
        "The header does not give the scale of the phase. Its range, {low:.5g} to {high:.5g}, was "
        "taken as a whole turn.",
        SCALE,
    ),
    of.PhaseScaleUnconfirmed: Wording(
        "The phase of the last echo spans {turns:.2f} of a turn and does not wrap, so the data "
        "cannot confirm its scale.",
        SCALE,
    ),
    of.PhaseUnwrappedAlready: Wording(
        "The phase spans {turns:.1f} turns without wraps: it has already been unwrapped, and was "
        "used as it is. The data cannot confirm its scale.",
        "Give the phase as the scanner stores it if you can.",
    ),
    of.PhaseVoxelsBeyondTurn: Wording(
        "{voxels} voxels lie beyond one turn of phase and were treated as not measured.",
        PHASE,
    ),
    of.PhaseCalledFiltered: Wording(
        "The header of the phase says {labels}, which often goes with high-pass filtered phase; "
        "the data show the slowly varying field of a head, so it was used as not filtered.",
        "Export the phase of the sequence without the filter for SWI if there is one.",
    ),
    of.PhaseLooksFiltered: Wording(
        "The slowly varying part of the phase is {slow_rad:.2f} rad in the last echo "
        "({slow_hz:.2g} Hz), as little as in high-pass filtered phase. It was used because "
        "--phase-filter no says that it was not filtered.",
        "If it was filtered, export the phase of the sequence without the filter for SWI.",
    ),
    of.DistortionCorrectedApart: Wording(
        "ImageType of the magnitude says {magnitude}, that of the phase {phase}: one of them was "
        "corrected for distortion and the other was not, so they do not match in space.",
        "Export both without distortion correction (ND), or both with it.",
    ),
    of.MagnitudeDisplaced: Wording(
        "The magnitude is shifted against the phase by {first:.1f}, {second:.1f}, {third:.1f} "
        "voxels (first to third axis of the file): the phase is noisy where the magnitude is not "
        "dark. Only one of them was corrected for distortion, or moved; susceptibility may be "
        "wrong by some ppb.",
        "Export both without distortion correction (ND), or both with it, from the same scan.",
    ),
    of.MagnitudeDistorted: Wording(
        "Parts of the magnitude are shifted against the phase by up to {first:.1f}, {second:.1f}, "
        "{third:.1f} voxels (first to third axis of the file), as if only one of them had been "
        "corrected for distortion; susceptibility may be wrong by some ppb.",
        "Export both without distortion correction (ND), or both with it, from the same scan.",
    ),
    of.MagnitudeFlipped: Wording(
        "The magnitude fits the phase only when it is mirrored (along axis {axes} of the file, "
        "counted from 1): one of them was flipped, so that left and right may be exchanged.",
        "Convert both from DICOM in the same way, and flip neither.",
    ),
    of.AlternationLeft: Wording(
        "The phase of odd and even echoes differs by a smooth {difference_rad:.2f} rad that "
        "alternating readouts do not explain; susceptibility may be wrong by some ppb.",
        PHASE,
    ),
    of.AcquiredInSlices: Wording(
        "The gradient echo was acquired slice by slice (MRAcquisitionType 2D); phase that steps "
        "from slice to slice was looked for and, where found, removed.",
        "Prefer a 3-D acquisition for susceptibility where you can choose.",
    ),
    of.SliceStepRemoved: Wording(
        "Odd and even slices differ by {step_rad:.2f} rad in the last echo ({step_hz:.2f} Hz), as "
        "in interleaved slices; the step was removed.",
        PHASE,
    ),
    of.SliceStepVaried: Wording(
        "The step between odd and even slices changes within a slice, by {edge_hz:.2f} Hz from the "
        "middle of the head to its edge, as eddy currents do; a linear term was removed.",
        PHASE,
    ),
    of.SliceStepsLeft: Wording(
        "The phase of neighbouring slices differs by {left_hz:.2f} Hz more than a head explains, "
        "as with breathing or motion between slices acquired one by one; susceptibility may be "
        "wrong by some ppb.",
        PHASE,
    ),
    of.OneEcho: Wording(
        "There is only one echo: R2* and the CSF reference are missing, and the phase offset stays "
        "in the field. On simulated scans the error of such a map is larger than its contrast. Do "
        "not compare its values with those of other scans.",
        OTHER_ECHOES,
    ),
    of.NoVentricularCsf: Wording(
        "No ventricular CSF was found by its R2*, so there is no CSF reference.",
        REFERENCE,
    ),
    of.BrainLostToBackground: Wording(
        "{fraction:.0%} of the brain mask was lost in background removal.",
        LOST_SIGNAL,
    ),
    of.InversionNotConverged: Wording(
        "The dipole inversion did not converge.",
        STREAKS,
    ),
    of.BeyondLimit: Wording("{reason} ({called}: {quantity})"),
    of.NoR2StarMap: Wording(
        "There is no R2* map (single echo): veins and choroid plexus are recognised by "
        "susceptibility and magnitude alone.",
        OTHER_ECHOES,
    ),
    of.ThalamusRimKept: Wording(
        "The rim of the thalamus was kept, because too little would have remained without it.",
        THALAMUS,
    ),
    of.NucleiUnresolved: Wording(
        "Too small to be measured, with fewer than {voxels} whole voxels of the gradient echo: "
        "{which}.",
        "Nothing is wrong with the scan, and nothing else is affected. Smaller voxels of the "
        "gradient echo would resolve them.",
    ),
    of.ExternalMask: Wording("The {region} mask was supplied by the user."),
    of.ThalamusUnknown: Wording(
        "The position of the thalami is not known: add a T1w image, or a segmentation with "
        "--derivatives.",
        MISSING,
    ),
}
"""By the class of the warning; ``BeyondLimit`` has its reason and advice from ``LIMITS``."""

LIMITS: Mapping[str, Wording] = {
    "thalamus_voxels_kept": Wording("too few thalamus voxels are left to measure", THALAMUS),
    "thalamus_lost_to_mask": Wording(
        "part of the thalamus lies outside the QSM mask",
        LOST_SIGNAL,
    ),
    "thalamus_without_phase": Wording(
        "in part of a thalamus the echoes do not follow one frequency: susceptibility there comes "
        "from the surrounding voxels alone",
        HOLE,
    ),
    "thalamus_to_slab_end_mm": Wording(
        "the map ends near the thalami: their field reaches beyond it, and the number may be "
        "wrong by some ppb",
        "Plan the slab so that it extends 25 mm beyond the thalami on either side.",
    ),
    "thalamus_asymmetry": Wording("left and right thalamus differ considerably in size", THALAMUS),
    "thalamus_volume_mm3": Wording("the thalami have an implausible volume", THALAMUS),
    "acquired_voxel_mm3": Wording(
        "the voxels are so coarse that ventricles and thalamus are a few voxels wide: the number "
        "may be wrong by more than its interval says",
        "Scan with voxels of 10 mm3 or less, such as 2 x 2 x 2 or 1 x 1 x 3 mm.",
    ),
    "reference_step": Wording("the CSF reference is not in the atria", REFERENCE),
    "reference_without_phase": Wording(
        "in part of the CSF reference the echoes do not follow one frequency: susceptibility there "
        "comes from the surrounding voxels alone",
        HOLE,
    ),
    "reference_holds_csf": Wording(
        "no CSF was found: the number is relative to the whole brain", REFERENCE
    ),
    "reference_sd_ppb": Wording(
        "susceptibility varies considerably within the CSF reference",
        REFERENCE,
    ),
    "reference_asymmetry_ppb": Wording(
        "the left and the right CSF reference disagree",
        REFERENCE,
    ),
    "reference_against_global_ppb": Wording(
        "the CSF reference and global CSF disagree",
        REFERENCE,
    ),
    "chi_relative_csf_ppb": Wording(
        "the relative susceptibility of the thalamus is unusual",
        CHOICES,
    ),
    "chi_relative_csf_se_ppb": Wording(
        "the 95 % interval of the relative susceptibility is wider than 3 ppb to either side, "
        "because of coarse voxels, noise, or a CSF reference whose sides differ",
        f"Differences smaller than the interval mean nothing. {CHOICES}",
    ),
    "csf_purity": Wording("the CSF that is kept uniform contains tissue", REFERENCE),
    "rim_bone_share": Wording(
        "the brain mask holds bone: its edge is far more diamagnetic than brain can be, which "
        "bends the whole map, and the number may be wrong by 3 ppb and more",
        f"Look at the brain mask on the magnitude: it should end inside the skull. {MASK}",
    ),
    "field_noise_per_ml_ppb": Wording(
        "the CSF reference is hardly usable as zero, and above 0.4 ppb unusable: with so noisy a "
        "phase for these echo times and voxels, numbers are often wrong by more than 3 ppb",
        f"{NOISE} More or later echoes, or less noise, are the remedy.",
    ),
    "pallidum_relative_csf_ppb": Wording(
        "the pallidum is not paramagnetic as it should be: either the sign of the phase is wrong, "
        "or the labels do not lie on the pallidum",
        PHASE_SIGN,
    ),
    "vein_share": Wording(
        "a large part of the thalamus was classified as vein",
        f"Look at the veins on the map. {MASK}",
    ),
    "overlap": Wording(
        "the brains of gradient echo and T1w overlap too little: the registration may have failed",
        REGISTRATION,
    ),
    "outlier_fraction": Wording(
        "the phase does not fit one frequency in many voxels: motion or corrupted phase",
        PHASE,
    ),
    "ghost": Wording(
        "the head repeats itself in the air beside it: motion or flow during the scan",
        GHOST,
    ),
    "mask_lost_fraction": Wording(
        "a large part of the brain was lost before the inversion",
        LOST_SIGNAL,
    ),
    "snr": Wording("the magnitude of the gradient echo is noisy", NOISE),
}
"""What it means that a quality measure is beyond its limits, by its name in ``roi.LIMITS``."""


def sentence(warning: ScanWarning) -> str:
    """Return a warning in words."""
    # Not asdict: it would take apart values that are dataclasses themselves.
    values = {item.name: getattr(warning, item.name) for item in fields(warning)}
    return WARNINGS[type(warning)].text.format(**values, **_derived(warning))


def notice(warning: ScanWarning) -> Notice:
    """Return a warning in words with what to do about it, where anything can be done."""
    wording = LIMITS[warning.measure] if isinstance(warning, of.BeyondLimit) else None
    text = sentence(warning)
    advice = (wording or WARNINGS[type(warning)]).advice
    # A scan that is there and was not used is no remark on a result: a result is missing.
    level: Level = "error" if isinstance(warning, of.ScanUnusable) else "warning"
    # capitalize() would make small letters of T1w and CSF.
    return Notice(f"{text[:1].upper()}{text[1:]}", advice, level)


def threshold(limit: Limit) -> str:
    """Return beyond which values a quality measure is checked, and leads to exclusion."""
    parts = []
    for decision, (low, high) in (
        (Decision.CHECK, limit.check),
        (Decision.EXCLUDE, limit.exclude),
    ):
        if math.isfinite(low):
            parts.append(f"{decision} < {low:g}")
        if math.isfinite(high):
            parts.append(f"{decision} > {high:g}")
    return "; ".join(parts)


def _derived(warning: ScanWarning) -> dict[str, str]:
    """Return the words of a sentence that are no field of its warning."""
    if isinstance(warning, of.BeyondLimit):
        # A ratio or a count has no unit that a reader would say.
        unit = "" if warning.unit in ("1", "fraction") else f" {warning.unit}"
        return {
            "reason": LIMITS[warning.measure].text,
            "called": words.within(words.check(warning.measure)),
            "quantity": f"{warning.value:.4g}{unit}",
        }
    if isinstance(warning, of.EnhancementReadDifferently):
        table = "present" if warning.present_in_table else "none"
        return {"table": table, "images": str(warning.count_in_images or "none")}
    if isinstance(warning, of.NucleiUnresolved):
        sides = {"L": "left", "R": "right"}
        named = [f"{sides[side]} {words.region(name)}" for name, side in warning.nuclei]
        return {"which": ", ".join(named)}
    return {}
