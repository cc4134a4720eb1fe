"""Paramagnetic and diamagnetic sources of a participant, and the regions they are measured in."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage

from bids_qsmthal.bids import protocol
from bids_qsmthal.bids.provenance import plain
from bids_qsmthal.core.image import resample
from bids_qsmthal.core.labels import MIDLINE, TABLE, of_thalamus, region
from bids_qsmthal.participant.pipeline import SEPARATION
from bids_qsmthal.qsm import separation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bids_qsmthal import qsm, roi
    from bids_qsmthal.anatomy import Anatomy, Rigid
    from bids_qsmthal.bids.external import External
    from bids_qsmthal.bids.gre_series import MagnitudeSeries
    from bids_qsmthal.core.grid import Array, Mask
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.core.sources import Source
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

Region = tuple[str, str]
"""Name and hemisphere, as in the table of measures."""


class Part(NamedTuple):
    """Voxels of a region that are measured, and how many of its label were left out."""

    mask: Mask
    lost: int


MINIMUM_VOXELS = 10
"""As for susceptibility (``roi.measured_regions``)."""

WHOLE = 0.999
"""Share of a voxel that a map was made in; the rest is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceScan:
    """The scan that is separated.

    Attributes
    ----------
    grid
        Any image of it.
    nuclei_names
        What the numbers of thalamic nuclei mean.
    white
        White matter on the grid of the scan, where T1w shows it.
    """

    grid: Image
    series: MagnitudeSeries
    external: Mapping[str, External]
    nuclei_names: Mapping[int, str]
    white: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Separated:
    """The sources, the regions that are reported, and who measured R2; None where nobody did."""

    sources: separation.Sources
    regions: Mapping[Region, Part]
    r2: Source | None = None


class Lack(StrEnum):
    """Why sources cannot be separated, which only the maps show; the value is how it is told."""

    R2STAR = "R2* needs two or more echoes"
    CSF = "no CSF was found, so their zero is not known"


def lacking(maps: qsm.Maps, regions: roi.RegionResults | None) -> Lack | None:
    """Return what the maps of a scan lack for a separation; ``None`` where they have all."""
    if not maps.r2star_hz.any():
        return Lack.R2STAR
    return None if _fluid(maps, regions).any() else Lack.CSF


def _fluid(maps: qsm.Maps, regions: roi.RegionResults | None) -> Mask:
    """Return the CSF whose susceptibility is the zero of both sources."""
    return maps.csf_mask if regions is None else regions.csf_reference.data > 0


def separate(
    maps: qsm.Maps,
    regions: roi.RegionResults | None,
    scan: SourceScan,
    *,
    settings: Settings,
    runner: Runner,
) -> Separated | None:
    """Return the sources; ``None`` where nobody asked, or R2* or the place of CSF is not known."""
    if settings.separation is None:
        return None
    lack = lacking(maps, regions)
    if lack is not None:
        log.warning("Sources are not separated: %s.", lack)
        return None
    fluid = _fluid(maps, regions)
    decay = separation.Decay(
        r2star_hz=maps.r2star_hz,
        total_field_hz=maps.total_field_hz,
        mask=maps.mask,
        r2_hz=measured_r2_hz(scan.external, scan.grid),
    )
    sources = runner.run(
        SEPARATION,
        separation.separated,
        maps.chi_ppm - maps.chi_ppm[fluid].mean(dtype=np.float64).astype(np.float32),
        decay,
        scan.series.acquisition,
        method=settings.separation,
        slices=protocol.slice_stack(scan.series, scan.grid.grid),
    )
    given = _external_r2(scan.external)
    return Separated(
        sources=sources,
        regions=regions_of(regions, scan),
        r2=None if given is None else given.source,
    )


def _external_r2(external: Mapping[str, External]) -> External | None:
    """Return the map of R2, else that of T2, if there is one."""
    return external.get("r2") or external.get("t2")


def measured_r2_hz(external: Mapping[str, External], grid: Image) -> Array | None:
    """Return R2 of an external map on the grid of the scan; zero where it has no value."""
    given = _external_r2(external)
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


def provenance(method: separation.R2StarSeparation | None, r2: Source | None) -> Any:  # noqa: ANN401 - JSON
    """Return how sources were told apart, for a sidecar: how R2 was assumed, or who measured it."""
    how = plain(method)
    if r2 is None:
        return how
    return {key: value for key, value in how.items() if key != "irreversible"} | {"R2": str(r2)}


def white_matter(grid: Image, segmented: Anatomy | None, to_t1w: Rigid | None) -> Mask | None:
    """Return the voxels that are mostly white matter by T1w; ``None`` where that is not known."""
    # After a registration that failed, T1w would call anything white matter.
    if segmented is None or to_t1w is None or to_t1w.failed:
        return None
    white: Mask = resample(segmented.wm, grid, world=to_t1w.matrix).data > 0.5
    return white


def regions_of(regions: roi.RegionResults | None, scan: SourceScan) -> dict[Region, Part]:
    """Return thalami, nuclei, deep gray and white matter, and lesions, as far as they are known."""
    if regions is None:
        return {}
    masks = {name: image.data for name, image in regions.masks.items()}
    aside = (masks["veins"] > 0) | (masks["lesions"] > 0)
    found = dict(_sides("thalamus", masks["thalamus"], masks["thalamus_labelled"]))
    if masks["lesions"].any():
        found["lesion", MIDLINE] = Part(masks["lesions"] > 0, 0)
    if "nuclei" in masks:
        inside = masks["thalamus"] > 0
        for index in scan.nuclei_names:
            nucleus = region(index, scan.nuclei_names)
            own = masks["nuclei"] == index
            part = Part(own & inside, int((own & ~inside).sum()))
            found[of_thalamus(nucleus.name), nucleus.hemisphere] = part
    if "deepgray" in masks:
        found |= _deep_gray(masks["deepgray"], aside)
    if scan.white is not None:
        # A rim voxel holds some cortex, whose sources are others.
        found["white_matter", MIDLINE] = _core(scan.white, aside)
    return found


def _sides(name: str, final: Array, labelled: Array) -> Iterator[tuple[Region, Part]]:
    """Yield left, right and both of what is labelled 1 left and 2 right."""
    for hemisphere, sides in (("L", (1,)), ("R", (2,)), ("LR", (1, 2))):
        mask, whole = np.isin(final, sides), np.isin(labelled, sides)
        yield (name, hemisphere), Part(mask, int((whole & ~mask).sum()))


def _deep_gray(labels: Array, aside: Mask) -> dict[Region, Part]:
    """Return the core of each deep nucleus by side, and of both sides together."""
    found: dict[Region, Part] = {}
    for index in np.unique(labels[labels > 0]).tolist():
        row = TABLE.regions.get(int(index))
        # The thalamus has a mask of its own; ventricles hold no sources.
        if row is None or row.name == "thalamus" or "ventricle" in row.name:
            continue
        own = _core(labels == index, aside)
        found[row.name, row.hemisphere] = own
        if row.hemisphere == MIDLINE:
            continue
        if (other := found.get((row.name, "LR"))) is not None:
            own = Part(own.mask | other.mask, own.lost + other.lost)
        found[row.name, "LR"] = own
    return found


def _core(label: Mask, aside: Mask) -> Part:
    """Return a label without its rim, which holds neighbours, unless little would be left."""
    inner = ndimage.binary_erosion(label) & ~aside
    mask = inner if inner.sum() >= MINIMUM_VOXELS else label & ~aside
    return Part(mask, int((label & ~mask).sum()))
