"""What is measured in the regions of a user's own atlases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import anatomy
from bids_qsmthal.anatomy.thickness import apart_from_deep_gray, mean_thickness_mm
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.participant.pipeline import ATLASES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bids_qsmthal.anatomy import CarriedAtlas, UserAtlas
    from bids_qsmthal.anatomy.user_atlas import Voxels
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility

MINIMUM_VOXELS = 10
"""As for susceptibility elsewhere (``roi.measured_regions``)."""

CORTICAL = 0.5
"""A region is cortical where more than this share of its gray matter is ribbon of the cortex,
and more than this share of that ribbon is apart from deep gray matter: a nucleus or a tract that
touches the cortex with its rim has no thickness. The white matter of a region does not count;
gyri of AAL are to two thirds white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionNumber:
    """One number of one region; its unit follows from the measure.

    Attributes
    ----------
    region
        Number of the region in its atlas.
    n_voxels, n_lost
        Voxels it is made from, and voxels of the region that were left out.
    """

    measure: str
    region: int
    value: float
    n_voxels: int
    n_lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredAtlas:
    """An atlas, its regions in a participant, and the numbers measured in them."""

    atlas: UserAtlas
    carried: CarriedAtlas
    numbers: tuple[RegionNumber, ...]

    @property
    def space(self) -> str:
        """The space of its file."""
        return anatomy.atlas.SPACE if self.atlas.in_template else "T1w"

    @property
    def method(self) -> str:
        """How its voxels were chosen."""
        if self.atlas.labelled:
            return "atlas, nearest label"
        return f"atlas, probability above {self.atlas.threshold:g}"


def measured(
    atlases: Sequence[UserAtlas],
    structural: Structural,
    susceptibility: Susceptibility | None,
    runner: Runner,
) -> tuple[MeasuredAtlas, ...]:
    """Return the regions of all atlases and their numbers; nothing where the stage is not planned.

    Raises
    ------
    DataError
        No region of an atlas lies in the brain.
    """
    if not atlases or not runner.runs(ATLASES):
        return ()
    prepared = structural.prepared
    # The plan has seen to it: the stage needs T1w.
    assert prepared is not None  # noqa: S101
    scan = _trusted(susceptibility)
    found = runner.run(
        ATLASES,
        anatomy.carried,
        tuple(atlases),
        prepared.to_template,
        prepared.brain,
        None if scan is None else _in_t1w_world(scan),
    )
    pairs = zip(atlases, found.atlases, strict=True)
    return tuple(_measured(one, own, structural, scan) for one, own in pairs)


def _trusted(susceptibility: Susceptibility | None) -> Susceptibility | None:
    """Return the gradient echo where T1w, and so the atlas, can be carried to it."""
    if susceptibility is None or susceptibility.regions is None:
        return None
    # After a registration that failed, the regions would lie anywhere.
    failed = susceptibility.to_t1w is None or susceptibility.to_t1w.failed
    return None if failed else susceptibility


def _in_t1w_world(scan: Susceptibility) -> Image:
    """Return a mask on the grid of the gradient echo, at its place in the world of T1w."""
    return replace(scan.brain, affine=scan.gre_to_t1w @ scan.brain.affine)


def _measured(
    one: UserAtlas, own: CarriedAtlas, structural: Structural, scan: Susceptibility | None
) -> MeasuredAtlas:
    assert structural.prepared is not None  # noqa: S101 - as above
    brain = structural.prepared.brain.data.ravel()
    if not any(brain[voxels].any() for voxels in own.on_t1w):
        raise DataError(
            f"{one.file_name}: no region of the atlas {one.name} lies in the brain of T1w; give "
            "the file of this participant, in the world coordinates of T1w."
        )
    numbers = [*_of_t1w(own, structural), *(_of_gre(own, scan) if scan is not None else ())]
    return MeasuredAtlas(atlas=one, carried=own, numbers=tuple(numbers))


def _of_t1w(own: CarriedAtlas, structural: Structural) -> Iterator[RegionNumber]:
    """Yield volume, lesions and thickness, each where it is known."""
    voxel_mm3 = own.labels.voxel_volume_mm3
    mask = structural.lesion_mask
    ribbon = _ribbon(structural)
    lesions = None if mask is None else mask.data.ravel() > 0
    for region, voxels in zip(own.numbers, own.on_t1w, strict=True):
        count = voxels.size
        yield RegionNumber(measure="volume", region=region, value=count * voxel_mm3, n_voxels=count)
        if lesions is not None:
            in_lesions = int(lesions[voxels].sum())
            share = in_lesions / count if count else np.nan
            for measure, value in (
                ("lesion_volume", in_lesions * voxel_mm3),
                ("lesion_share", share),
            ):
                yield RegionNumber(measure=measure, region=region, value=value, n_voxels=count)
        if ribbon is not None:
            yield from ribbon.thickness(region, voxels)


@dataclass(frozen=True, slots=True, eq=False)
class _Ribbon:
    """The cortex of a participant, as flat arrays: thickness, gray matter, away from deep gray."""

    thickness_mm: NDArray[np.float32]
    gray: NDArray[np.float32]
    apart: NDArray[np.bool_]

    def thickness(self, region: int, voxels: Voxels) -> Iterator[RegionNumber]:
        """Yield the mean thickness of a region that is cortical."""
        thickness_mm, gray = self.thickness_mm[voxels], self.gray[voxels]
        inside = thickness_mm > 0
        count = int(inside.sum())
        # The ribbon is made of voxels that are mostly gray.
        of_gray = int((inside | (gray > 0.5)).sum())
        apart = int(self.apart[voxels].sum())
        if count < MINIMUM_VOXELS or count <= CORTICAL * of_gray or apart <= CORTICAL * count:
            return
        yield RegionNumber(
            measure="thickness_mean",
            region=region,
            value=mean_thickness_mm(thickness_mm, gray, inside),
            n_voxels=count,
            n_lost=voxels.size - count,
        )


def _ribbon(structural: Structural) -> _Ribbon | None:
    """Return the cortex; ``None`` where its thickness was not measured."""
    if structural.thickness_mm is None or structural.anatomy is None:
        return None
    apart = apart_from_deep_gray(structural.thickness_mm, structural.anatomy.deepgray)
    return _Ribbon(
        structural.thickness_mm.data.ravel(),
        structural.anatomy.gm.data.ravel(),
        apart.data.ravel(),
    )


def _of_gre(own: CarriedAtlas, scan: Susceptibility) -> Iterator[RegionNumber]:
    """Yield susceptibility and R2*, without veins and where there is a map."""
    maps, regions = scan.maps, scan.regions
    assert regions is not None  # noqa: S101 - _trusted has looked
    usable = maps.mask.ravel() & (regions.masks["veins"].data.ravel() == 0)
    chi_ppb = 1000 * maps.chi_ppm.ravel().astype(np.float64)
    reference_ppb = float(chi_ppb[regions.masks["reference"].data.ravel() > 0].mean())
    decays = maps.r2star_hz.any()
    for region, voxels in zip(own.numbers, own.on_gre, strict=True):
        used = voxels[usable[voxels]]
        chi_mean_ppb = _mean(chi_ppb, used)
        values = {"chi_mean": chi_mean_ppb, "chi_relative_csf": chi_mean_ppb - reference_ppb}
        if decays:
            values["r2star_mean"] = _mean(maps.r2star_hz.ravel(), used)
        for measure, value in values.items():
            yield RegionNumber(
                measure=measure,
                region=region,
                value=value,
                n_voxels=used.size,
                n_lost=voxels.size - used.size,
            )


def _mean(values: NDArray[np.floating], voxels: Voxels) -> float:
    """Return a mean over voxels; NaN where they are too few to be one."""
    if voxels.size < MINIMUM_VOXELS:
        return float("nan")
    return float(values[voxels].mean(dtype=np.float64))
