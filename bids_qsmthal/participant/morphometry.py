"""Volumes and thickness, each with who measured it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.bids import external
from bids_qsmthal.core.labels import FOUND, MIDBRAIN, MIDLINE, SMALL_NUCLEI, THALAMUS
from bids_qsmthal.core.sources import OURS, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bids_qsmthal.anatomy import Anatomy, ExternalMeasures
    from bids_qsmthal.bids.external import External


class Method(StrEnum):
    """How a volume or a thickness was measured; tables say it in the words of ``Number.label``."""

    LABEL_VOLUME = "label volume"
    ATLAS_VOLUME = "volume of the registered atlas label"
    TISSUE_FRACTIONS = "sum of tissue fractions"
    RIBBON = "mean over the cortical ribbon"
    EXTERNAL = "as measured by"
    EXTERNAL_BY_AREA = "as measured by, hemispheres weighted by area"


SIDES = ("L", "R", "LR")

TISSUES = {"gray_matter", "white_matter", "csf", "cortical_gray_matter"}
"""Regions whose volume comes from the tissues, not from the labels of nuclei."""

LABELS = {"deepgray", "small_nuclei"}
"""Products whose voxels are counted."""

TISSUE_PARTS = {"cerebral_white_matter", "cerebellar_white_matter"}
"""Parts of a tissue that other programs tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One volume (mm3) or mean thickness (mm)."""

    measure: str
    region: str
    hemisphere: str
    value: float
    method: Method
    source: Source

    @property
    def unit(self) -> str:
        """Unit of the value."""
        return "mm" if self.measure == "thickness_mean" else "mm3"

    @property
    def key(self) -> tuple[str, str, str]:
        """What the number is of: there is one of each."""
        return self.measure, self.region, self.hemisphere

    @property
    def method_label(self) -> str:
        """What tables call the method."""
        if self.method is Method.EXTERNAL:
            return f"as measured by {self.source.program}"
        if self.method is Method.EXTERNAL_BY_AREA:
            return f"as measured by {self.source.program}, hemispheres weighted by area"
        return self.method.value


def numbers(anatomy: Anatomy | None, external_files: Mapping[str, External]) -> tuple[Number, ...]:
    """Return what is known of volumes and thickness.

    What a table says goes before what labels of the same program say, because its program
    counted parts of voxels. Labels that were corrected, or come from elsewhere, go before it.
    """
    ours = _ours(anatomy, external_files) if anatomy else _labelled(external_files)
    item = external_files.get(external.NUMBERS)
    measured = item.measured if item else None
    theirs = list(_theirs(measured, item, external_files)) if item and measured else []
    # Of two numbers for one place the later counts: theirs.
    return tuple({number.key: number for number in (*ours, *theirs)}.values())


def _ours(anatomy: Anatomy, external_files: Mapping[str, External]) -> Iterator[Number]:
    for name, volume_mm3 in anatomy.volumes_mm3.items():
        region, side = _split(name)
        key = _made_from(region)
        # External tissues are labels without fractions: their voxels are counted.
        counted = key in LABELS or (key == "tissue" and key in external_files)
        how = Method.LABEL_VOLUME if counted else Method.TISSUE_FRACTIONS
        yield Number(
            measure="volume",
            region=region,
            hemisphere=side,
            value=volume_mm3,
            method=Method.ATLAS_VOLUME if region in MIDBRAIN else how,
            source=external_files[key].source if key in external_files else OURS,
        )
    for side, thickness_mm in anatomy.thickness_mean_mm.items():
        yield Number(
            measure="thickness_mean",
            region="cortex",
            hemisphere=_whole(side),
            value=thickness_mm,
            method=Method.RIBBON,
            source=external_files["tissue"].source if "tissue" in external_files else OURS,
        )


def _labelled(external_files: Mapping[str, External]) -> Iterator[Number]:
    """Return the volumes of external labels where there is no T1w to put them on."""
    key = next((key for key in ("deepgray", "deepgray_gre") if key in external_files), None)
    if key is None:
        return
    image = external_files[key].image
    voxels = {
        (region, "" if side == MIDLINE else side): float(np.count_nonzero(image.data == index))
        for index, (region, side) in FOUND.regions.items()
    }
    thalami = [voxels[FOUND.regions[index]] for index in THALAMUS]
    # With one thalamus only, the sum would pass for that of both.
    if all(thalami):
        voxels["thalamus", "LR"] = sum(thalami)
    for (region, side), count in voxels.items():
        if count:
            yield Number(
                measure="volume",
                region=region,
                hemisphere=side,
                value=count * image.voxel_volume_mm3,
                method=Method.LABEL_VOLUME,
                source=external_files[key].source,
            )


def _theirs(
    measured: ExternalMeasures, item: External, external_files: Mapping[str, External]
) -> Iterator[Number]:
    def its_own(key: str) -> bool:
        return key not in external_files or external_files[key].source == item.source

    for name, volume_mm3 in measured.volumes_mm3.items():
        region, side = _split(name)
        # The table describes the labels that its program made. Where others, or corrected ones,
        # take their place, it describes what is not used.
        if its_own(_made_from(region)):
            yield Number(
                measure="volume",
                region=region,
                hemisphere=side,
                value=volume_mm3,
                method=Method.EXTERNAL,
                source=item.source,
            )
    for name, volume_mm3 in measured.nuclei_mm3.items():
        if its_own("nuclei"):
            side, _, region = name.partition("-")
            yield Number(
                measure="volume",
                region=region,
                hemisphere=side[:1],
                value=volume_mm3,
                method=Method.EXTERNAL,
                source=item.source,
            )
    for side, thickness_mm in measured.thickness_mean_mm.items():
        if its_own("tissue"):
            yield Number(
                measure="thickness_mean",
                region="cortex",
                hemisphere=_whole(side),
                value=thickness_mm,
                method=Method.EXTERNAL_BY_AREA if side == "whole" else Method.EXTERNAL,
                source=item.source,
            )


def _split(name: str) -> tuple[str, str]:
    """Split ``thalamus_L`` into region and side."""
    region, _, side = name.rpartition("_")
    return (region, side) if side in SIDES else (name, "")


def _whole(side: str) -> str:
    return "LR" if side == "whole" else side


def _made_from(region: str) -> str:
    """Return the product that the volume of a region is counted in."""
    if region == "intracranial":
        return "brain"
    if region in SMALL_NUCLEI:
        return "small_nuclei"
    return "tissue" if region in TISSUES | TISSUE_PARTS else "deepgray"
