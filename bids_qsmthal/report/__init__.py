"""What the researcher reads: pages and figures, made from values."""

from bids_qsmthal.report.change_contents import (
    CHANGE_WORDS,
    ChangeReport,
    LesionStep,
    VisitShown,
)
from bids_qsmthal.report.change_page import change_page
from bids_qsmthal.report.contents import (
    AnatomyMaps,
    AtlasMaps,
    GreMaps,
    LesionIronMaps,
    LesionMaps,
    ParticipantReport,
    RegionMasks,
    Registration,
    RimCandidate,
)
from bids_qsmthal.report.defacing import defaced, near_brain
from bids_qsmthal.report.methods_run import (
    AnatomyRun,
    AtlasRun,
    ExternalNumbers,
    LesionIronRun,
    MethodsRun,
    RegionsRun,
    ScanRun,
)
from bids_qsmthal.report.page import (
    Figure,
    Flicker,
    Listing,
    Notice,
    Page,
    Prose,
    Section,
    Table,
    Tile,
    Verdict,
    render,
)
from bids_qsmthal.report.saving import write_page, write_participant

__all__ = [
    "CHANGE_WORDS",
    "AnatomyMaps",
    "AnatomyRun",
    "AtlasMaps",
    "AtlasRun",
    "ChangeReport",
    "ExternalNumbers",
    "Figure",
    "Flicker",
    "GreMaps",
    "LesionIronMaps",
    "LesionIronRun",
    "LesionMaps",
    "LesionStep",
    "Listing",
    "MethodsRun",
    "Notice",
    "Page",
    "ParticipantReport",
    "Prose",
    "RegionMasks",
    "RegionsRun",
    "Registration",
    "RimCandidate",
    "ScanRun",
    "Section",
    "Table",
    "Tile",
    "Verdict",
    "VisitShown",
    "change_page",
    "defaced",
    "near_brain",
    "render",
    "write_page",
    "write_participant",
]
