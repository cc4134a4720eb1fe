"""Paramagnetic and diamagnetic sources of a participant, and the regions they are measured in."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.bids import protocol
from bids_qsmthal.core.image import resample
from bids_qsmthal.core.labels import of_thalamus, region
from bids_qsmthal.participant.pipeline import SEPARATION
from bids_qsmthal.qsm import separation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal import qsm, roi
    from bids_qsmthal.bids.external import External
    from bids_qsmthal.bids.gre_series import GreSeries
    from bids_qsmthal.core.grid import Array, Mask
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

Region = tuple[str, str]
"""Name and hemisphere, as in the table of measures."""


WHOLE = 0.999
"""Share of a voxel that a map was made in; the rest is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """The scan that is separated.

    Attributes
    ----------
    grid
        Any image of it.
    nuclei_names
        What the numbers of thalamic nuclei mean.
    """

    grid: Image
    series: GreSeries
    external: Mapping[str, External]
    nuclei_names: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Separated:
    """The sources, and the regions that are reported."""

    sources: separation.Sources
    regions: Mapping[Region, Mask]


def separate(
    maps: qsm.Maps,
    regions: roi.RegionResults | None,
    scan: Scan,
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
    decay = separation.Decay(
        r2star_hz=maps.r2star_hz,
        total_field_hz=maps.total_field_hz,
        mask=maps.mask,
        r2_hz=measured_r2_hz(scan.external, scan.grid),
    )
    sources = runner.run(
        SEPARATION,
        separation.separated,
        maps.chi_ppm - _fluid_ppm(maps, regions),
        decay,
        scan.series.acquisition,
        method=settings.separation,
        slices=protocol.slice_stack(scan.series, scan.grid.grid),
    )
    return Separated(sources=sources, regions=regions_of(regions, scan.nuclei_names))


def measured_r2_hz(external: Mapping[str, External], grid: Image) -> Array | None:
    """Return R2 of an external map on the grid of the scan; zero where it has no value."""
    given = external.get("r2") or external.get("t2")
    if given is None:
        return None
    values: Array = resample(given.image, grid).data
    # Zeros are where the map was not made; no value is mixed with one.
    made = given.image.like((given.image.data > 0).astype(np.float32))
    values = np.where(resample(made, grid).data > WHOLE, values, 0)
    if "r2" in external:
        return values
    rate_hz: Array = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
    return rate_hz


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
