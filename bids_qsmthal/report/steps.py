"""From the objects that ran to the sentences of the methods text: which, with which values.

A step is decided by the type of a method and its fields, never by a name in prose. Its sentence
stands in ``templates/methods.yaml`` under the step's name and choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bids_qsmthal import choices
from bids_qsmthal.core.sources import Maker, ProgramName
from bids_qsmthal.qsm.csf import VentricularCsf
from bids_qsmthal.qsm.inversion import ClosedFormL2, Medi, ThresholdedDivision, TotalVariation
from bids_qsmthal.qsm.medi import SplitBregman
from bids_qsmthal.qsm.relaxation import Arlo, WeightedExponential
from bids_qsmthal.qsm.separation import Proportional
from bids_qsmthal.roi import ReferenceRegion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bids_qsmthal.core.sources import Source
    from bids_qsmthal.qsm import Reconstruction
    from bids_qsmthal.qsm.phase import PhaseReport
    from bids_qsmthal.qsm.relaxation import Relaxation
    from bids_qsmthal.qsm.scaling import Scale
    from bids_qsmthal.qsm.separation import R2StarSeparation
    from bids_qsmthal.report.methods_run import (
        AnatomyRun,
        AtlasRun,
        ExternalNumbers,
        LesionIronRun,
        MagnitudeRun,
        MethodsRun,
        RegionsRun,
        ScanRun,
    )

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Step:
    """One sentence: the step, which of its sentences, and the values in it."""

    name: str
    choice: str
    values: Mapping[str, Value] = field(default_factory=dict)


def steps(run: MethodsRun) -> Iterator[Step]:
    """Yield a step for each thing that ran."""
    yield Step("app", "any", {"version": run.version})
    if run.scan is not None:
        yield from _scan(run.scan)
    yield from _magnitude(run.magnitude)
    yield from _brains(run.brains)
    if run.anatomy is not None:
        yield from _anatomy(run.anatomy)
        yield Step("registration", "scans" if run.scans_registered else "template")
    yield from _external(run.external_labels, run.external_numbers)
    if run.lesions is not None:
        yield from _lesions(run.lesions)
    if run.enhancement is not None:
        choice = "subtraction" if run.enhancement.maker is Maker.OURS else "external"
        yield Step("enhancement", choice, {"source": origin(run.enhancement)})
    if run.lesion_iron is not None:
        yield from _lesion_iron(run.lesion_iron)
    if run.regions is not None:
        yield from _regions(run.regions)
    yield from map(_user_atlas, run.atlases)
    if run.analysis is not None:
        chiang = run.analysis == CHIANG_ANALYSIS
        yield Step("statistics", "chiang2018" if chiang else "own", {"analysis": run.analysis})


CHIANG_ANALYSIS = "chiang2018"
"""Name of the packaged analysis."""


def origin(source: Source) -> str:
    """Return who made something, within a sentence."""
    if source.maker is Maker.READER:
        return "a file that a reader drew or corrected"
    return str(source)


def _magnitude(run: MagnitudeRun | None) -> Iterator[Step]:
    if run is not None:
        yield Step("echoes", "magnitude", _acquisition_values(run))
        yield _relaxation(run.relaxation, run)


def _brains(brains: Mapping[str, Source]) -> Iterator[Step]:
    # One sentence for all scans in which the network found the brain.
    if any(source.maker is Maker.OURS for source in brains.values()):
        yield Step("brain", "deepbet")
    for scan, source in brains.items():
        if source.maker is not Maker.OURS:
            yield Step("brain", "external", {"scan": scan, "source": origin(source)})


def _anatomy(run: AnatomyRun) -> Iterator[Step]:
    if run.uniform is not None:
        yield Step("uniform_image", run.uniform.value)
    if run.session:
        yield Step("t1w_session", "other", {"session": run.session})
    yield Step("bias_field", "n4")
    yield Step("atlas", "refined" if run.thalamus_refined else "whole", {"atlas": run.atlas})
    # Filling serves the classification; without one it is not worth a sentence.
    if run.lesions_filled and run.classified:
        yield Step("lesion_filling", "any")
    if run.classified:
        yield Step("tissue", "mixture")
    if run.thickness:
        yield Step("thickness", "distance")


PROGRAMS = {
    ProgramName.FREESURFER: "freesurfer",
    ProgramName.FASTSURFER: "fastsurfer",
    ProgramName.SYNTHSEG: "synthseg",
}
"""The sentence of each program that labels and measures anatomy."""


def _external(labels: Mapping[str, Source], numbers: ExternalNumbers | None) -> Iterator[Step]:
    # One sentence for each program, with all that was taken from it.
    for source in dict.fromkeys(labels.values()):
        names = [name for name, own in labels.items() if own == source]
        values = {"labels": _listed(names), **_program_values(source)}
        yield Step("external_labels", _program_choice(source), values)
    if numbers is not None:
        values = {"thickness": numbers.thickness, **_program_values(numbers.source)}
        yield Step("external_numbers", _program_choice(numbers.source), values)


def _program_choice(source: Source) -> str:
    return "other" if source.program is None else PROGRAMS.get(source.program.name, "other")


def _program_values(source: Source) -> dict[str, Value]:
    return {
        "source": origin(source),
        "program": str(source.program),
        "dataset": source.dataset,
    }


def _lesions(source: Source) -> Iterator[Step]:
    of_maker = {Maker.OURS: "outlier", Maker.READER: "manual", Maker.SEEDS: "seeds"}
    choice = of_maker.get(source.maker, "external")
    if source.program is not None and source.program.name is ProgramName.LST_AI:
        choice = "lst_ai"
    yield Step("lesions", choice, {"source": source.dataset})
    if source.corrected:
        yield Step("lesion_correction", "any")


def _lesion_iron(run: LesionIronRun) -> Iterator[Step]:
    yield Step("lesion_susceptibility", "any")
    values: dict[str, Value] = {
        "least_mm": f"{run.least_mm:.2g}",
        "threshold": f"{run.threshold:g}",
    }
    if run.rims.maker is Maker.OURS:
        yield Step("rims", "score", values)
    else:
        yield Step("rims", "external", {"source": origin(run.rims)})


def _scan(run: ScanRun) -> Iterator[Step]:
    reconstruction, echoes = run.reconstruction, len(run.acquisition.echo_times_s)
    yield Step("echoes", "one" if echoes == 1 else "several", _acquisition_values(run))
    if run.chi.maker is not Maker.OURS:
        yield Step("external_susceptibility", "any", {"source": origin(run.chi)})
    if run.phase is not None:
        yield _scale(run.scale)
        yield from _phase(run.phase)
    if run.total_field.maker is Maker.OURS:
        yield Step("phase_offset", run.offset)
        yield Step("unwrapping", choices.name_of(reconstruction.fitting.unwrapping))
        yield Step("field_fit", "one_echo" if echoes == 1 else "nonlinear")
    else:
        values = {"source": origin(run.total_field)}
        yield Step("field_fit", _noise_of_given_field(run), values)
    if run.r2star.maker is not Maker.OURS or echoes > 1:
        yield _relaxation(reconstruction.relaxation, run)
    if run.separation is not None:
        in_slices = run.protocol.dimensions == "2D"
        yield _separation(run.separation, in_slices=in_slices, r2=run.r2)
    # A field that was given without a phase has no quality of the phase.
    if run.mask.by_phase and run.phase is not None:
        yield Step("mask", run.mask.name, {"threshold": f"{run.mask.reliable.threshold:g}"})
    yield Step("background", choices.name_of(reconstruction.background))
    # An external map was made by a method that we do not know.
    if run.chi.maker is Maker.OURS:
        yield from _inversion(reconstruction, csf_held=run.csf_held)


def _noise_of_given_field(run: ScanRun) -> str:
    """Return the sentence of how the noise of an external total field was found."""
    if run.phase is None:
        return "external_alone"
    return "external_one" if len(run.acquisition.echo_times_s) == 1 else "external"


def _acquisition_values(run: ScanRun | MagnitudeRun) -> dict[str, Value]:
    times_ms = [1000 * time for time in run.acquisition.echo_times_s]
    return {
        "echoes": len(times_ms),
        "first_ms": f"{times_ms[0]:.3g}",
        "last_ms": f"{times_ms[-1]:.3g}",
        "field_strength_t": f"{run.acquisition.effective_field_t:.4g}",
        "voxel_size_mm": " x ".join(f"{size:.3g}" for size in run.grid.voxel_size_mm),
    }


def _scale(scale: Scale | None) -> Step:
    if scale is None:
        return Step("phase_scale", "complex")
    values: dict[str, Value] = {"turn": f"{scale.turn:g}", "confirmed": scale.warning is None}
    return Step("phase_scale", scale.source, values)


def _phase(report: PhaseReport) -> Iterator[Step]:
    if report.chopped:
        yield Step("chop", report.chop_source)
    if report.bipolar_rad:
        # The report holds the deviation of either direction from their middle.
        yield Step("bipolar", "any", {"difference_rad": f"{2 * report.bipolar_rad:.2f}"})
    if report.echo_constant_rad:
        largest_rad = f"{report.echo_constant_rad:.2f}"
        yield Step("echo_constants", "any", {"largest_rad": largest_rad})
    if report.slice_step_rad:
        yield Step("slice_step", "any", {"step_rad": f"{report.slice_step_rad:.2f}"})
    yield Step("phase_sign", report.sign_source, {"negated": report.sign < 0})


def _relaxation(method: Relaxation, run: ScanRun | MagnitudeRun) -> Step:
    """Return what fitted R2*; ARLO gives way where echoes are few or uneven."""
    if run.r2star.maker is not Maker.OURS:
        return Step("relaxation", "external", {"source": origin(run.r2star)})
    if isinstance(method, Arlo) and not method.fits(run.acquisition.echo_times_s):
        method = WeightedExponential()
    return Step("relaxation", choices.name_of(method))


def _separation(method: R2StarSeparation, *, in_slices: bool, r2: Source | None) -> Step:
    values: dict[str, Value] = {
        "relaxivity": f"{method.relaxivity_hz_per_ppm:g}",
        "slices": in_slices,
    }
    if r2 is not None:
        return Step("source_separation", "measured", values | {"source": origin(r2)})
    if isinstance(method.irreversible, Proportional):
        return Step(
            "source_separation",
            "proportional",
            values | {"ratio": f"{method.irreversible.ratio:g}"},
        )
    return Step("source_separation", "broken_line", values)


def _inversion(reconstruction: Reconstruction, *, csf_held: bool) -> Iterator[Step]:
    method = reconstruction.inversion
    name = choices.name_of(method)
    if isinstance(method, Medi | TotalVariation):
        held = isinstance(method, Medi) and method.csf_regularisation > 0 and csf_held
        values: dict[str, Value] = {"regularisation": f"{method.regularisation:g}"}
        if isinstance(method, Medi):
            values["csf_regularisation"] = f"{method.csf_regularisation:g}"
            values["ventricular"] = isinstance(reconstruction.csf, VentricularCsf)
        yield Step("inversion", "medi0" if held else name, values)
        solver = "admm" if isinstance(method.solver, SplitBregman) else "gauss_newton"
        yield Step("solver", solver)
    elif isinstance(method, ClosedFormL2):
        yield Step("inversion", name, {"regularisation": f"{method.weight_mm2:g}"})
    elif isinstance(method, ThresholdedDivision):
        yield Step("inversion", name, {"threshold": f"{method.threshold:g}"})
    else:
        yield Step("inversion", name)


REFERENCES = {
    ReferenceRegion.CIRCLES: "circles",
    ReferenceRegion.ATRIA: "atria",
    ReferenceRegion.VENTRICLES: "ventricles",
    ReferenceRegion.GLOBAL_CSF: "csf",
    ReferenceRegion.BRAIN: "brain",
    ReferenceRegion.EXTERNAL: "external",
}
"""The sentence of each region of the reference."""


def _regions(run: RegionsRun) -> Iterator[Step]:
    values: dict[str, Value]
    if run.thalamus.maker is Maker.OURS:
        # In the order in which voxels are left out (roi.thalamus).
        removed = ["at its rim"] if run.rim_removed else []
        veins = "in large veins along its border" if run.large_veins_only else "in veins"
        removed += [veins, "in fluid", *(["in lesions"] if run.lesions_removed else [])]
        kept = [*(["rim"] if run.rim_kept else []), *(["lesions"] if run.lesions_kept else [])]
        values = {
            "removed": _listed([*removed, "outside the map"]),
            "kept": f"its {_listed(kept)}" if kept else "",
        }
        yield Step("thalamus", "carried", values)
    else:
        yield Step("thalamus", "external", {"source": origin(run.thalamus)})
    if run.veins.maker is not Maker.OURS:
        yield Step("veins", "external", {"source": origin(run.veins)})
    region = run.reference.region
    # Levels that were tried held too little fluid; those that were not had no labels.
    lower = region not in (run.first_choice, ReferenceRegion.EXTERNAL)
    values = {
        "tried": lower and run.reference.step > 0,
        "unlabelled": lower and run.reference.step == 0,
        "source": origin(run.reference_mask),
        "radius_mm": "" if run.reference.radius_mm is None else f"{run.reference.radius_mm:g}",
    }
    yield Step("csf_reference", REFERENCES[region], values)
    brain = region is ReferenceRegion.BRAIN
    yield Step("relative_susceptibility", "brain" if brain else "csf")


def _user_atlas(run: AtlasRun) -> Step:
    values: dict[str, Value] = {"name": run.name, "space": run.space, "carried": run.in_template}
    if run.threshold is None:
        return Step("user_atlas", "labels", values)
    return Step("user_atlas", "probabilities", values | {"threshold": f"{run.threshold:g}"})


def _listed(names: list[str]) -> str:
    """Return names as a sentence lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
