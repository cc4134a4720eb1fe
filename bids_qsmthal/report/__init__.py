"""What the researcher reads: pages and figures, made from values."""

from bids_qsmthal.report.contents import (
    AnatomyMaps,
    GreMaps,
    LesionIronMaps,
    LesionMaps,
    ParticipantReport,
    RegionMasks,
    Registration,
    RimCandidate,
)
from bids_qsmthal.report.defacing import defaced
from bids_qsmthal.report.methods_run import (
    AnatomyRun,
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
    "AnatomyMaps",
    "AnatomyRun",
    "ExternalNumbers",
    "Figure",
    "Flicker",
    "GreMaps",
    "LesionIronMaps",
    "LesionIronRun",
    "LesionMaps",
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
    "defaced",
    "render",
    "write_page",
    "write_participant",
]
