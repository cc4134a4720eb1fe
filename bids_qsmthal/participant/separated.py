"""Paramagnetic and diamagnetic sources of a participant, and the regions they are measured in."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.bids import protocol
from bids_qsmthal.core.labels import of_thalamus, region
from bids_qsmthal.participant.pipeline import SEPARATION
from bids_qsmthal.qsm import separation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal import qsm, roi
    from bids_qsmthal.bids.gre_series import GreSeries
    from bids_qsmthal.core.grid import Mask
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

Region = tuple[str, str]
"""Name and hemisphere, as in the table of measures."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Separated:
    """The sources, and the regions that are reported."""

    sources: separation.Sources
    regions: Mapping[Region, Mask]


def separate(  # noqa: PLR0913 - maps, regions, and where they are
    maps: qsm.Maps,
    regions: roi.RegionResults | None,
    grid: Image,
    series: GreSeries,
    nuclei_names: Mapping[int, str],
    *,
    settings: Settings,
    runner: Runner,
) -> Separated | None:
    """Return the sources; ``None`` where they were not asked for, or R2* is not known."""
    if settings.separation is None:
        return None
    if not maps.r2star_hz.any():
        log.warning("No sources apart: one echo has no R2*; scan two or more echoes.")
        return None
    sources = runner.run(
        SEPARATION,
        separation.separated,
        maps.chi_ppm - _fluid_ppm(maps, regions),
        maps.r2star_hz,
        maps.total_field_hz,
        maps.mask,
        grid.grid,
        series.acquisition,
        method=settings.separation,
        in_slices=protocol.read(series).dimensions == "2D",
    )
    return Separated(sources=sources, regions=regions_of(regions, nuclei_names))


def _fluid_ppm(maps: qsm.Maps, regions: roi.RegionResults | None) -> np.float32:
    """Return the susceptibility of CSF, where it is known; MEDI+0 has it at zero."""
    fluid = maps.csf_mask if regions is None else regions.masks["reference"].data > 0
    return np.float32(maps.chi_ppm[fluid].mean()) if fluid.any() else np.float32(0)


def regions_of(
    regions: roi.RegionResults | None, nuclei_names: Mapping[int, str]
) -> dict[Region, Mask]:
    """Return thalami, nuclei and lesions, as far as they are known."""
    if regions is None:
        return {}
    thalamus = regions.masks["thalamus"].data
    found: dict[Region, Mask] = {
        ("thalamus", "L"): thalamus == 1,
        ("thalamus", "R"): thalamus == 2,
        ("thalamus", "LR"): thalamus > 0,
    }
    if "lesions" in regions.masks:
        found["lesion", "LR"] = regions.masks["lesions"].data > 0
    if "nuclei" in regions.masks:
        labels = regions.masks["nuclei"].data
        for index in nuclei_names:
            nucleus = region(index, nuclei_names)
            found[of_thalamus(nucleus.name), nucleus.hemisphere] = labels == index
    return found
