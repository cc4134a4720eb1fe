"""What is done with a participant: the stages in the order in which they run, as one list.

Running and counting them, ``--dry-run``, ``check`` and the live progress read this list, and
nothing else decides whether a stage runs. A stage is named by its value, never by its title.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from bids_qsmthal.anatomy import Anatomy, CarriedAtlases, Prepared, Rigid
from bids_qsmthal.anatomy.visits import VisitFrame
from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import Enhancement, Lesions, LesionsChanged
from bids_qsmthal.qsm import Maps, Variants
from bids_qsmthal.qsm.separation import Sources
from bids_qsmthal.roi import LesionIron, RegionResults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.external import ExternalFile
    from bids_qsmthal.settings import Settings


@dataclass(frozen=True, slots=True)
class Input:
    """What a stage needs: a scan, or one of several things that serve alike.

    Attributes
    ----------
    name
        As a reader calls it.
    keys
        Roles of scans (names of the filter file) or external products; any one of them will do.
    """

    name: str
    keys: tuple[str, ...]

    def among(self, available: frozenset[str]) -> bool:
        """Say whether any of it is there."""
        return not available.isdisjoint(self.keys)


GRE = Input("GRE", ("gre",))
T1W = Input("T1w", ("t1w",))
CE_T1W = Input("post-contrast T1w", ("t1w_gad",))
FLAIR = Input("FLAIR", ("flair",))
LESIONS = Input("FLAIR or lesion mask", ("flair", "lesion"))
PHASE = Input("phase of the gradient echo", ("gre_phase", "total_field"))
"""What a gradient echo of magnitude alone lacks; a total field of another program stands in."""
MEASURED_PHASE = Input("measured phase", ("gre_phase",))
THALAMI = Input("T1w or labels of the thalamus", ("t1w", "deepgray", "deepgray_gre", "thalamus"))
"""What says where the thalamus is: T1w, or labels made by others."""

SCANS = (GRE, T1W, CE_T1W, FLAIR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the pipeline.

    Attributes
    ----------
    needs
        What neither the stage nor the external product in its place can do without.
    scan
        What only the stage itself needs.
    external
        The product of other programs, or of a user's edits, that takes its place.
    instead
        Where this is there, the result comes from it and the stage is not needed.
    on_request
        It is considered only where an option asks for it, or a scan of magnitude alone.
    makes
        Keys of the images in ``bids.products`` that come from it.
    share
        CPU time, as a share of that of a participant with all four scans (measured: a simulated
        head of 1.5 x 1.5 x 2 mm; images and pages counted with the last two). Other matrices
        shift it, and with it the estimate of the time left. Stages on request come on top.
    lack
        What a user goes without where it cannot run.
    gives
        The types that its result may have.
    """

    title: str
    needs: tuple[Input, ...] = ()
    scan: Input | None = None
    external: str = ""
    instead: Input | None = None
    on_request: bool = False
    makes: tuple[str, ...] = ()
    share: float
    lack: str = ""
    gives: tuple[type, ...]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """All that must be there for it to run."""
        return (*self.needs, self.scan) if self.scan else self.needs


PREPARE_T1W = Stage(
    title="T1w: bias field, brain, template",
    needs=(T1W,),
    makes=("t1w", "brain"),
    share=0.29,
    gives=(Prepared,),
)
FLAIR_TO_T1W = Stage(
    title="FLAIR to T1w",
    needs=(T1W, FLAIR),
    share=0.03,
    gives=(Rigid,),
)
BRAIN_IN_FLAIR = Stage(
    title="brain in FLAIR",
    needs=(FLAIR,),
    external="lesion",
    instead=T1W,
    share=0.03,
    gives=(Image,),
)
T2_LESIONS = Stage(
    title="T2 lesions",
    scan=FLAIR,
    external="lesion",
    makes=("lesion", "lesion_probability", "lesion_flair"),
    share=0.11,
    lack="no T2 lesions",
    # An image where lesions are grown from seeds.
    gives=(Lesions, Image),
)
SEGMENT_T1W = Stage(
    title="tissue, deep gray nuclei, cortical thickness",
    needs=(T1W,),
    makes=("tissue", "gm", "wm", "csf", "deepgray", "nuclei", "small_nuclei", "thickness"),
    share=0.10,
    lack="no volumes, no cortical thickness",
    gives=(Anatomy,),
)
CE_T1W_TO_T1W = Stage(
    title="post-contrast T1w to T1w",
    needs=(T1W, CE_T1W),
    share=0.04,
    gives=(Rigid,),
)
ENHANCING_LESIONS = Stage(
    title="enhancing lesions",
    needs=(T1W,),
    scan=CE_T1W,
    external="enhancing",
    makes=("enhancing",),
    share=0.04,
    lack="no enhancing lesions",
    gives=(Enhancement,),
)
GRE_TO_T1W = Stage(
    title="gradient echo to T1w",
    needs=(GRE, T1W),
    share=0.04,
    gives=(Rigid,),
)
BRAIN_IN_GRE = Stage(
    title="brain in the gradient echo",
    needs=(GRE,),
    external="brain_gre",
    instead=T1W,
    makes=("brain_gre",),
    share=0.03,
    gives=(Image,),
)
PHASE_MASK = Stage(
    title="mask by the quality of the phase",
    needs=(GRE, MEASURED_PHASE),
    on_request=True,
    # It goes into the mask of the reconstruction, which is saved with the maps.
    share=0.01,
    gives=(Image,),
)
RELAXATION = Stage(
    title="R2* from the magnitude alone",
    needs=(GRE,),
    # In the place of the next stage, which fits R2* as well.
    on_request=True,
    makes=("r2star", "t2star"),
    share=0.02,
    gives=(Image,),
)
SUSCEPTIBILITY = Stage(
    title="field, background, susceptibility",
    needs=(GRE, PHASE),
    makes=("chi", "r2star", "t2star", "local_field", "total_field", "noise", "qsm_mask"),
    share=0.07,
    lack="no maps of susceptibility and R2*",
    gives=(Maps,),
)
VARIANTS = Stage(
    title="other backgrounds, split echoes",
    needs=(GRE, PHASE, THALAMI),
    external="chi",
    share=0.13,
    gives=(Variants,),
)
REGIONS = Stage(
    title="thalamus, veins, reference",
    needs=(GRE, PHASE, THALAMI),
    makes=(
        "deepgray_gre",
        "thalamus",
        "thalamus_mask",
        "csf_reference",
        "vein",
        "lesion_gre",
        "nuclei_gre",
        "small_nuclei_gre",
    ),
    share=0.10,
    lack="no susceptibility of the thalamus",
    gives=(RegionResults,),
)

LESION_IRON = Stage(
    title="susceptibility and rims of lesions",
    # White matter, which lesions are compared with, is found on T1w.
    needs=(GRE, PHASE, T1W, LESIONS),
    makes=("lesion_labels", "lesion_labels_gre", "rim"),
    share=0.05,
    lack="no susceptibility of lesions",
    gives=(LesionIron,),
)
SEPARATION = Stage(
    title="paramagnetic and diamagnetic sources",
    needs=(GRE, PHASE),
    # Its level depends on a rate that no gradient echo shows (qsm.separation).
    on_request=True,
    makes=("paramagnetic", "diamagnetic"),
    share=0.02,
    gives=(Sources,),
)
ATLASES = Stage(
    title="regions of your atlases",
    needs=(T1W,),
    on_request=True,
    # Its label images have names of the user (bids.products.of_atlas).
    share=0.03,
    gives=(CarriedAtlases,),
)

# In the order in which they run. With all four scans the shares of those that nobody has to ask for
# add up to 1: the brain in FLAIR and that in the gradient echo are looked for only where there is
# no T1w.
STAGES = (
    *(PREPARE_T1W, FLAIR_TO_T1W, BRAIN_IN_FLAIR, T2_LESIONS, SEGMENT_T1W),
    *(CE_T1W_TO_T1W, ENHANCING_LESIONS),
    *(GRE_TO_T1W, BRAIN_IN_GRE, PHASE_MASK, RELAXATION, SUSCEPTIBILITY, VARIANTS),
    *(REGIONS, LESION_IRON),
    *(SEPARATION, ATLASES),
)

NO_PHASE = (
    f"no {PHASE.name}: no map of susceptibility, no susceptibility of the thalamus and of lesions"
)
"""What a user goes without where a gradient echo has magnitude alone; R2* is made."""

VISIT_FRAME = Stage(
    title="visits in one frame",
    share=0.08,
    gives=(VisitFrame,),
)
VOLUME_CHANGE = Stage(
    title="change of volumes",
    share=0.01,
    gives=(tuple,),
)
LESION_CHANGE = Stage(
    title="new and vanished lesions",
    share=0.01,
    gives=(LesionsChanged,),
    makes=("lesion_change",),
)
VISIT_STAGES = (VISIT_FRAME, LESION_CHANGE, VOLUME_CHANGE)
"""What is done with a person after the single visits, in the order in which it runs."""


class LeftOutReason(Enum):
    """Why a stage is left out; the text takes what it is about."""

    ABSENT = "there is no {}"
    UNUSABLE = "the {} cannot be used"
    UNWANTED = "no {} was asked for"
    EXTERNAL = "its result comes from {}"
    CARRIED_OVER = "its result is carried over from {}"


@dataclass(frozen=True, slots=True)
class StageLeftOut:
    """A stage that does not run, and why.

    Attributes
    ----------
    what
        The input that is missing, the source of the external product, or the scan that serves.
    """

    stage: Stage
    reason: LeftOutReason
    what: str

    @property
    def why(self) -> str:
        """The reason in words."""
        return f"left out, {self.reason.value.format(self.what)}"

    def __str__(self) -> str:
        return f"{self.stage.title}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done with one participant.

    Attributes
    ----------
    available
        Roles of its scans, and external products.
    stages
        Those that run, in order.
    considered
        Those and the ones that were left out: all that were asked for.
    """

    available: frozenset[str]
    stages: tuple[Stage, ...]
    considered: tuple[Stage, ...]
    left_out: tuple[StageLeftOut, ...]

    @property
    def outcomes(self) -> tuple[tuple[str, str], ...]:
        """Title of every stage in order, and ``done`` or why it was left out."""
        reasons = {one.stage: one.why for one in self.left_out}
        return tuple((stage.title, reasons.get(stage, "done")) for stage in self.considered)

    @property
    def costs(self) -> tuple[str, ...]:
        """For each scan that is missing what the user goes without."""
        missing = [scan for scan in SCANS if not scan.among(self.available)]
        phase = (NO_PHASE,) if RELAXATION in self.stages else ()
        return (*phase, *(self._cost(scan) for scan in missing if self._lacks(scan)))

    def _cost(self, scan: Input) -> str:
        return f"no {scan.name}: {', '.join(self._lacks(scan))}"

    def _lacks(self, scan: Input) -> list[str]:
        return [
            # The need is not the scan itself: it names other things that serve alike.
            f"{one.stage.lack} (external labels would do)" if need != scan else one.stage.lack
            for one in self.left_out
            if one.reason in {LeftOutReason.ABSENT, LeftOutReason.UNUSABLE} and one.stage.lack
            for need in one.stage.inputs
            # What serves alike may be there, and the stage be left out for another reason.
            if scan.keys[0] in need.keys
            and not need.among(self.available)
            # Without phase no other scan would help.
            and not (RELAXATION in self.stages and PHASE in one.stage.needs)
        ]


def requested(settings: Settings) -> frozenset[Stage]:
    """Return the stages that the options ask for beyond the usual ones."""
    asked = {
        BRAIN_IN_GRE: settings.mask.name == "magnitude",
        PHASE_MASK: settings.mask.by_phase,
        SEPARATION: settings.separation is not None,
        ATLASES: bool(settings.atlases),
    }
    return frozenset(stage for stage, wanted in asked.items() if wanted)


def plan(
    session: Session,
    external_files: Mapping[str, ExternalFile],
    requested: frozenset[Stage] = frozenset(),
) -> Plan:
    """Decide which stages run on the scans of a participant and the results of other programs.

    ``requested`` are those of the stages on request that are wanted.
    """
    alone = session.gre is not None and session.gre.magnitude_alone
    # A total field of another program takes the place of the phase.
    without_field = alone and not PHASE.among(frozenset(external_files))
    wanted = requested | ({RELAXATION} if without_field else set())
    considered = tuple(one for one in STAGES if one in wanted or not one.on_request)
    scans = {
        GRE: session.gre,
        PHASE: None if alone else session.gre,
        T1W: session.t1w,
        CE_T1W: session.t1w_gad,
        FLAIR: session.flair,
    }
    roles = [scan.keys[0] for scan, there in scans.items() if there is not None]
    available = frozenset((*roles, *external_files))
    # All stages, not only those that run: --dry-run and check say why one does not.
    reasons = dict.fromkeys(session.leaving_out, LeftOutReason.UNWANTED)
    reasons |= {scan.role: LeftOutReason.UNUSABLE for scan in session.unusable}
    decided = {
        stage: _left_out(stage, available, reasons, external_files, wanted=stage in wanted)
        for stage in considered
    }
    return Plan(
        available=available,
        considered=considered,
        stages=tuple(stage for stage, left_out in decided.items() if left_out is None),
        left_out=tuple(left_out for left_out in decided.values() if left_out is not None),
    )


def _left_out(
    stage: Stage,
    available: frozenset[str],
    reasons: Mapping[str, LeftOutReason],
    external_files: Mapping[str, ExternalFile],
    *,
    wanted: bool,
) -> StageLeftOut | None:
    # This order decides which reason is said. What nothing can replace comes first.
    for need in stage.needs:
        if not need.among(available):
            return StageLeftOut(stage, _why_absent(need, reasons), need.name)
    if stage.external in external_files:
        return StageLeftOut(
            stage, LeftOutReason.EXTERNAL, str(external_files[stage.external].source)
        )
    # What was asked for is made, though another scan would serve.
    if not wanted and stage.instead is not None and stage.instead.among(available):
        return StageLeftOut(stage, LeftOutReason.CARRIED_OVER, stage.instead.name)
    if stage.scan is not None and not stage.scan.among(available):
        return StageLeftOut(stage, _why_absent(stage.scan, reasons), stage.scan.name)
    return None


def _why_absent(need: Input, reasons: Mapping[str, LeftOutReason]) -> LeftOutReason:
    return next((reasons[key] for key in need.keys if key in reasons), LeftOutReason.ABSENT)
