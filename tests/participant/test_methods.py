"""What is said to have run is what the results hold; warnings and sources reach the page."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.bids.dataset import GreFiles, Session
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.core.scan_warnings import (
    InversionNotConverged,
    NoGradientEcho,
    NoR2StarMap,
    PhaseSignUnusual,
    RegistrationNotSharp,
    ThalamusRimKept,
    ThalamusUnknown,
)
from bids_qsmthal.core.sources import EDITED, OURS, SEEDED, Program, ProgramName, Source, dataset
from bids_qsmthal.participant import measures, page, quality
from bids_qsmthal.participant.methods import methods_run
from bids_qsmthal.participant.morphometry import Method, Number
from bids_qsmthal.participant.structural import Structural
from bids_qsmthal.qsm import Acquisition, MaskChoice, Reconstruction
from bids_qsmthal.qsm.separation import R2StarSeparation
from bids_qsmthal.report import ExternalNumbers, ScanRun
from bids_qsmthal.roi import ReferenceLevel, ReferenceRegion, RegionSettings
from tests.report.test_methods import PHASE, SCALE

FREESURFER = dataset("fs", Program(ProgramName.FREESURFER, "FreeSurfer 7.4.1"))
MINE = dataset("mine")
SETTINGS: Any = SimpleNamespace(
    reconstruction=Reconstruction(),
    regions=RegionSettings(),
    separation=R2StarSeparation(),
    mask=MaskChoice(),
)


def rigid(**parts: Any) -> Any:
    return SimpleNamespace(warnings=(), failed=False, quality={"overlap": 0.97}, **parts)


def structural(**parts: Any) -> Structural:
    return Structural(**parts)


def lesions(count: int) -> Any:
    return SimpleNamespace(count=count, mask="mask", warnings=())


def susceptibility(**parts: Any) -> Any:
    """Return what a gradient echo gave: everything ours, measured in the atria."""
    regions = SimpleNamespace(
        warnings=(NoR2StarMap(),),
        reference=ReferenceLevel(region=ReferenceRegion.ATRIA, erosion_mm=2.0, step=0),
        masks={"lesions": SimpleNamespace(data=np.zeros(3, bool))},
        checks=(),
    )
    defaults = {
        "maps": SimpleNamespace(
            csf_mask=np.ones(3, bool),
            offset="voxel",
            warnings=(InversionNotConverged(),),
            quality={"snr": 80.0, "outlier_fraction": 0.01, "mask_lost_fraction": 0.02},
        ),
        "signal": SimpleNamespace(
            series=SimpleNamespace(
                acquisition=Acquisition(echo_times_s=(0.005, 0.01), field_strength_t=3),
                first=(),
                second=(),
                echoes=(),
            ),
            report=PHASE,
            warnings=(),
            scale=SCALE,
        ),
        "combined": SimpleNamespace(grid=Grid((4, 5, 6), (1.0, 1.0, 2.0), (0.0, 0.6, 0.8))),
        "to_t1w": None,
        "regions": regions,
        "separated": None,
        "lesions": None,
    }
    return SimpleNamespace(**(defaults | parts))


def test_what_the_maps_and_the_scan_hold_is_what_ran() -> None:
    scan = methods_run(SETTINGS, structural(), susceptibility()).scan
    assert scan == ScanRun(
        acquisition=Acquisition(echo_times_s=(0.005, 0.01), field_strength_t=3),
        grid=Grid((4, 5, 6), (1.0, 1.0, 2.0), (0.0, 0.6, 0.8)),
        phase=PHASE,
        scale=SCALE,
        reconstruction=Reconstruction(),
        offset="voxel",
        csf_held=True,
    )


def test_sources_are_told_apart_where_it_was_asked_for_and_could_be() -> None:
    for separated, ran, r2 in (
        (SimpleNamespace(r2=None), R2StarSeparation(), None),
        (SimpleNamespace(r2=MINE), R2StarSeparation(), MINE),
        (None, None, None),
    ):
        scan = methods_run(SETTINGS, structural(), susceptibility(separated=separated)).scan
        assert scan is not None
        assert (scan.separation, scan.r2) == (ran, r2)


def test_no_fluid_and_external_maps_are_known() -> None:
    maps = SimpleNamespace(csf_mask=np.zeros(3, bool), offset="none", warnings=())
    sources = {"chi": MINE, "r2star": EDITED}
    scan = methods_run(SETTINGS, structural(sources=sources), susceptibility(maps=maps)).scan
    assert scan is not None
    assert not scan.csf_held
    assert (scan.chi, scan.r2star) == (MINE, EDITED)


@pytest.mark.parametrize(
    ("parts", "with_scan", "brains"),
    [
        ({"prepared": object()}, True, {"T1w": OURS}),
        ({"prepared": object(), "sources": {"brain": EDITED}}, False, {"T1w": EDITED}),
        (
            {"prepared": object(), "sources": {"brain_gre": MINE}},
            True,
            {"T1w": OURS, "gradient echo": MINE},
        ),
        ({}, True, {"gradient echo": OURS}),
        ({"flair": object(), "lesions": lesions(1)}, False, {"FLAIR": OURS}),
        ({"flair": object(), "sources": {"lesion": SEEDED}}, False, {"FLAIR": OURS}),
        ({"flair": object(), "sources": {"lesion": MINE}}, False, {}),
    ],
)
def test_every_brain_that_was_looked_for_has_its_maker(
    parts: dict[str, Any], brains: dict[str, Source], *, with_scan: bool
) -> None:
    scan = susceptibility() if with_scan else None
    run = methods_run(SETTINGS, structural(**({"numbers": ()} | parts)), scan)
    assert run.brains == brains


def test_anatomy_is_said_as_far_as_it_is_ours() -> None:
    ours = methods_run(SETTINGS, structural(prepared=object(), lesions=lesions(2)), None).anatomy
    assert ours is not None
    assert (ours.classified, ours.lesions_filled, ours.thalamus_refined) == (True, True, True)
    none = methods_run(SETTINGS, structural(prepared=object(), lesions=lesions(0)), None).anatomy
    assert none is not None
    assert not none.lesions_filled
    sources = {"deepgray": FREESURFER, "tissue": FREESURFER}
    theirs = methods_run(SETTINGS, structural(prepared=object(), sources=sources), None)
    assert theirs.anatomy is not None
    assert (theirs.anatomy.classified, theirs.anatomy.thalamus_refined) == (False, False)
    assert theirs.external_labels == {"deep gray matter": FREESURFER, "tissues": FREESURFER}
    assert methods_run(SETTINGS, structural(), None).anatomy is None


@pytest.mark.parametrize("name", ["flair_to_t1w", "ce_to_t1w"])
def test_scans_are_registered_where_one_was(name: str) -> None:
    assert methods_run(SETTINGS, structural(**{name: rigid()}), None).scans_registered
    assert methods_run(SETTINGS, structural(), susceptibility(to_t1w=rigid())).scans_registered
    assert not methods_run(SETTINGS, structural(), susceptibility()).scans_registered


@pytest.mark.parametrize(
    ("method", "thickness"), [(Method.RIBBON, False), (Method.EXTERNAL_BY_AREA, True)]
)
def test_thickness_is_external_where_the_table_has_it(method: Method, *, thickness: bool) -> None:
    number = Number(
        measure="thickness_mean",
        region="cortex",
        hemisphere="LR",
        value=2.4,
        method=method,
        source=FREESURFER,
    )
    found = structural(sources={"numbers": FREESURFER}, numbers=(number,))
    wanted = ExternalNumbers(source=FREESURFER, thickness=thickness)
    assert methods_run(SETTINGS, found, None).external_numbers == wanted


def test_masks_of_the_number_have_their_makers() -> None:
    sources = {"thalamus": EDITED, "vein": MINE, "csf_reference": SEEDED}
    run = methods_run(SETTINGS, structural(sources=sources), susceptibility()).regions
    assert run is not None
    assert (run.thalamus, run.veins, run.reference_mask) == (EDITED, MINE, SEEDED)
    assert run.first_choice is ReferenceRegion.ATRIA
    assert (run.rim_removed, run.lesions_removed) == (True, False)


def test_a_kept_rim_and_lesions_in_the_scan_are_known() -> None:
    regions = susceptibility().regions
    regions.warnings = (ThalamusRimKept(),)
    regions.masks = {"lesions": SimpleNamespace(data=np.ones(3, bool))}
    run = methods_run(SETTINGS, structural(), susceptibility(regions=regions)).regions
    assert run is not None
    assert (run.rim_removed, run.lesions_removed) == (False, True)


def test_lesions_and_enhancement_have_their_makers_only_where_there_are_any() -> None:
    corrected = replace(OURS, corrected=True)
    found = structural(
        lesions=lesions(1),
        enhancement=SimpleNamespace(warnings=()),
        sources={"lesion": corrected, "enhancing": MINE},
    )
    run = methods_run(SETTINGS, found, None)
    assert (run.lesions, run.enhancement) == (corrected, MINE)
    empty = methods_run(SETTINGS, structural(), None)
    assert (empty.lesions, empty.enhancement) == (None, None)


def test_the_page_has_the_warnings_of_maps_registration_and_regions(tmp_path) -> None:
    session = Session(tmp_path, "01", gre=GreFiles((), ()))
    shifted = rigid()
    shifted.warnings = (RegistrationNotSharp(4.0),)
    said = page._gre_warnings(session, susceptibility(to_t1w=shifted), None)
    assert said == [InversionNotConverged(), RegistrationNotSharp(4.0), NoR2StarMap()]
    contradicted = susceptibility()
    unusual = PhaseSignUnusual(1, 0.4, "GE", -1)
    contradicted.signal.warnings = (unusual,)
    assert unusual in page._gre_warnings(session, contradicted, None)
    unknown = susceptibility(regions=None)
    assert page._gre_warnings(session, unknown, None)[-1] == ThalamusUnknown()
    assert page._gre_warnings(Session(tmp_path, "01"), None, None) == [NoGradientEcho()]


def test_a_map_without_a_number_is_to_be_looked_at() -> None:
    assert quality.decision(structural(), susceptibility(regions=None)) is Decision.CHECK
    converged = susceptibility()
    converged.maps.warnings = ()
    assert quality.decision(structural(), converged) is Decision.INCLUDE
    assert quality.decision(structural(), None) is Decision.INCLUDE


def test_a_map_of_noise_is_excluded_also_where_nothing_says_where_the_thalamus_is() -> None:
    found = susceptibility(regions=None)
    verdicts = {row.name: row.decision for row in quality.check_rows(structural(), found)}
    assert verdicts["snr"] is verdicts["outlier_fraction"] is Decision.INCLUDE
    assert verdicts["gradient_echo"] is Decision.CHECK  # the inversion has not converged
    found.maps.quality = {"snr": 2.0, "outlier_fraction": 0.87, "mask_lost_fraction": 1.0}
    verdicts = {row.name: row.decision for row in quality.check_rows(structural(), found)}
    for name in found.maps.quality:
        assert verdicts[name] is Decision.EXCLUDE
    assert quality.decision(structural(), found) is Decision.EXCLUDE


def test_each_region_is_named_by_the_source_of_its_own_mask() -> None:
    table = pd.DataFrame(
        {
            "region": ["thalamus", "csf_reference", "pallidum", "csf_global", "brain"],
            "source": ["external", "external", "segmentation", "R2*", "QSM mask"],
        }
    )
    sources = {"thalamus": EDITED, "csf_reference": MINE, "deepgray": FREESURFER}
    assert list(measures._with_sources(table, sources)["source"]) == [
        "manual edit",
        "mine",
        "fs (FreeSurfer 7.4.1)",
        "R2*",
        "QSM mask",
    ]
    on_gre = sources | {"deepgray_gre": EDITED}
    assert measures._with_sources(table, on_gre)["source"][2] == "manual edit"
    ours = measures._with_sources(table[2:3], {})
    assert list(ours["source"]) == ["bids_qsmthal"]
