"""The methods a user can choose by name."""

from __future__ import annotations

import inspect
import logging
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bids_qsmthal import anatomy, roi
from bids_qsmthal.anatomy.output_spaces import RESOLUTIONS, OutputSpace
from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.qsm import (
    BACKGROUNDS,
    CSF_REFERENCES,
    INVERSIONS,
    MASKS,
    RELAXATIONS,
    UNWRAPPINGS,
    Device,
    MaskChoice,
    PhaseQuality,
    Reconstruction,
)
from bids_qsmthal.qsm.field import OFFSETS
from bids_qsmthal.qsm.inversion import Medi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_qsmthal.qsm.field import Offset
    from bids_qsmthal.qsm.phase_mask import MaskName

CHOICES: dict[str, Mapping[str, type[Any]]] = {
    "--unwrap": UNWRAPPINGS,
    "--background": BACKGROUNDS,
    "--inversion": INVERSIONS,
}


log = logging.getLogger(__name__)

PLAIN_MEDI = "none"
"""Word for MEDI without a term of the CSF."""


def reconstruction(
    unwrapping: str | None = None,
    background: str | None = None,
    inversion: str | None = None,
    *,
    offset: Offset | None = None,
    medi_csf: str | None = None,
    device: str = "cpu",
) -> Reconstruction:
    """Return the default reconstruction with the named methods in their places.

    Parameters
    ----------
    unwrapping, background, inversion
        Names of methods.
    offset
        How the phase at echo time zero is modelled.
    medi_csf
        Which fluid MEDI keeps uniform, or ``none`` for plain MEDI.
    device
        Where background removal and inversion run.

    Raises
    ------
    UsageError
        A name is not known, or names of methods do not go together.
    UnavailableError
        The device is not there.
    """
    place = Device(device)
    place.check()
    default = Reconstruction()
    fitting = default.fitting
    chosen = replace(
        default,
        fitting=replace(
            fitting,
            unwrapping=_method("--unwrap", unwrapping, fitting.unwrapping),
            offset=offset or fitting.offset,
        ),
        background=_method("--background", background, default.background),
        inversion=_method("--inversion", inversion, default.inversion),
    )
    return _with_fluid(chosen, medi_csf).on(place)


def _with_fluid(chosen: Reconstruction, medi_csf: str | None) -> Reconstruction:
    """Return a reconstruction whose inversion keeps this fluid uniform."""
    if medi_csf is None:
        return chosen
    method = chosen.inversion
    if medi_csf == PLAIN_MEDI:
        if isinstance(method, Medi):
            return replace(chosen, inversion=replace(method, csf_regularisation=0.0))
        # What is asked for holds, so nothing is refused: a preset names it beside any inversion.
        log.warning("--medi-csf none changes nothing: %s has no CSF term.", name_of(method))
        return chosen
    if not isinstance(method, Medi):
        raise UsageError(
            f"--medi-csf {medi_csf} goes with --inversion medi, not with {name_of(method)}."
        )
    return replace(chosen, csf=CSF_REFERENCES[medi_csf]())


def mask(name: MaskName = "brain", threshold: float | None = None) -> MaskChoice:
    """Return in which voxels susceptibility is reconstructed.

    Raises
    ------
    UsageError
        The threshold is no quality of a phase, or has nothing to be the threshold of.
    """
    chosen = MaskChoice(name=name)
    if threshold is None:
        return chosen
    if not chosen.by_phase:
        raise UsageError(
            f"--mask-threshold applies to the quality of the phase, which --mask {name} does not "
            "use; choose --mask brain+phase or phase."
        )
    # NaN fails the comparison, too.
    if not 0.5 < threshold < 1:
        raise UsageError(
            f"--mask-threshold {threshold:g}: expected above 0.5 (noise) and below 1 (no noise)."
        )
    return replace(chosen, reliable=PhaseQuality(threshold=threshold))


REFERENCES = {
    "circles": roi.ReferenceRegion.CIRCLES,
    "atria": roi.ReferenceRegion.ATRIA,
    "ventricles": roi.ReferenceRegion.VENTRICLES,
    "csf": roi.ReferenceRegion.GLOBAL_CSF,
    "brain": roi.ReferenceRegion.BRAIN,
}
"""What the susceptibility is relative to, by the user's word, as ``roi`` calls it."""


def regions(
    csf_reference: str = "atria",
    *,
    rim: str = "remove",
    lesions: str = "remove",
    veins: str = "all",
) -> roi.RegionSettings:
    """Return how the regions are measured, with the reference of this name in the first place.

    Parameters
    ----------
    csf_reference
        Where the ladder of references starts.
    rim, lesions
        ``remove`` from the thalamus, or ``keep`` in it.
    veins
        ``all`` are removed, or the ``large`` ones along the border alone.

    Raises
    ------
    UsageError
        The name is not known.
    """
    if csf_reference not in REFERENCES:
        raise UsageError(
            f"--csf-reference {csf_reference}: unknown; choose one of {', '.join(REFERENCES)}."
        )
    default = roi.RegionSettings()
    return replace(
        default,
        reference=replace(default.reference, region=REFERENCES[csf_reference]),
        veins=replace(default.veins, large_only=veins == "large"),
        thalamus=replace(
            default.thalamus, remove_rim=rim == "remove", exclude_lesions=lesions == "remove"
        ),
    )


def output_spaces(words: Sequence[str]) -> tuple[OutputSpace, ...]:
    """Return the spaces that a user wants images in, each once.

    Raises
    ------
    UsageError
        A space or a resolution is not known.
    """
    template = anatomy.atlas.SPACE
    known = {"T1w": OutputSpace("T1w"), template: OutputSpace(template, 1)}
    known["anat"] = known["T1w"]
    # fMRIPrep's examples have res-2, file names of TemplateFlow res-02.
    known |= {
        f"{template}:res-{mm:0{digits}}": OutputSpace(template, mm)
        for mm in RESOLUTIONS
        for digits in (1, 2)
    }
    if unknown := [word for word in words if word not in known]:
        raise UsageError(
            f"--output-spaces {unknown[0]}: expected T1w (or anat), {template}, or "
            f"{template}:res-{RESOLUTIONS[0]} to :res-{RESOLUTIONS[-1]} (mm); no other template "
            "is in the package."
        )
    return tuple(dict.fromkeys(known[word] for word in words))


def name_of(method: object) -> str:
    """Return the name by which a user chooses a method."""
    for methods in (*CHOICES.values(), RELAXATIONS, CSF_REFERENCES):
        for name, kind in methods.items():
            if type(method) is kind:
                return name
    return type(method).__name__


def describe_all() -> str:
    """Return every method with its description and source, for ``--list-methods``."""
    default = Reconstruction()
    defaults = (default.fitting.unwrapping, default.background, default.inversion)
    lines: list[str] = []
    for (option, methods), usual in zip(CHOICES.items(), defaults, strict=True):
        lines.append(f"{option} NAME")
        for name, method in methods.items():
            lines.append(f"  {name}{' (default)' if type(usual) is method else ''}")
            lines.append(textwrap.indent(inspect.getdoc(method) or "", "      "))
            lines.append("")
    lines += _described("--phase-offset", OFFSETS, default.fitting.offset)
    lines += _described("--mask", MASKS, "brain")
    fluids = {name: inspect.getdoc(kind) or "" for name, kind in CSF_REFERENCES.items()}
    lines += _described("--medi-csf", fluids | {PLAIN_MEDI: "Plain MEDI: no CSF term."}, "global")
    return "\n".join(lines) + "\n"


def _described(option: str, choices: Mapping[Any, str], usual: str) -> list[str]:
    lines = [f"{option} NAME"]
    for name, text in choices.items():
        lines += [
            f"  {name}{' (default)' if name == usual else ''}",
            textwrap.indent(text, "      "),
        ]
        lines.append("")
    return lines


def _method(option: str, name: str | None, usual: Any) -> Any:  # noqa: ANN401 - any of the methods
    methods = CHOICES[option]
    if name is None:
        return usual
    if name not in methods:
        raise UsageError(f"{option} {name}: unknown; choose one of {', '.join(sorted(methods))}.")
    return methods[name]()
