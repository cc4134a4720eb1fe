"""Maps and masks on the grids of other spaces (``--output-spaces``), each interpolated once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.anatomy.output_spaces import sampled_space
from bids_qsmthal.bids.derivatives import raw_uri
from bids_qsmthal.bids.products import in_space
from bids_qsmthal.participant import label_tables, saving
from bids_qsmthal.participant.susceptibility import Susceptibility

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from bids_qsmthal.anatomy.output_spaces import OutputSpace, SampledSpace
    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.derivatives import Derivatives
    from bids_qsmthal.core.image import Affine, Image
    from bids_qsmthal.participant.relaxation import MagnitudeResults
    from bids_qsmthal.participant.structural import Structural

log = logging.getLogger(__name__)

CUBIC, LINEAR, NEAREST = 3, 1, 0

SPLINES = {CUBIC: "cubic spline", LINEAR: "linear", NEAREST: "nearest voxel"}
"""How a sidecar says it."""


@dataclass(frozen=True, slots=True, eq=False)
class NativeImage:
    """An image on its own grid, and how it is carried to another.

    Attributes
    ----------
    key
        Its row of the catalogue.
    order
        Of the spline.
    inside
        Where it holds values: splines of a map would ring into what it does not cover.
    labels
        What its numbers mean, where it is a label image.
    """

    key: str
    image: Image
    order: int = NEAREST
    inside: Image | None = None
    labels: pd.DataFrame | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Destination:
    """Where images go: the space, its grid in the participant, the folder."""

    space: OutputSpace
    grid: SampledSpace
    out: Derivatives


def save(
    session: Session,
    wanted: Sequence[OutputSpace],
    structural: Structural,
    gre: Susceptibility | MagnitudeResults | None,
    out: Derivatives,
) -> None:
    """Save every map and mask in every space that is wanted; say why where none can be."""
    if not wanted:
        return
    prepared = structural.prepared
    if prepared is None:
        log.warning("no images in other spaces: they need a T1w.")
        return
    t1w_files = (session.t1w, *session.inversions)
    echoes = _trusted(gre)
    for space in wanted:
        grid = sampled_space(space, prepared.t1w, prepared.to_template)
        destination = Destination(space, grid, out)
        if grid.t1w_points is not None:
            _save(destination, _of_t1w(structural), np.eye(4), _uris(session, t1w_files))
        if echoes is not None and echoes.to_t1w is not None:
            from_t1w: Affine = np.linalg.inv(echoes.to_t1w.matrix).astype(np.float64)
            files = (*echoes.signal.series.paths, *t1w_files)
            _save(destination, _of_gre(echoes), from_t1w, _uris(session, files))


def _uris(session: Session, files: Sequence[Path | None]) -> list[str]:
    return [raw_uri(path, session.root) for path in files if path is not None]


def _trusted(
    gre: Susceptibility | MagnitudeResults | None,
) -> Susceptibility | MagnitudeResults | None:
    """Return the gradient echo where its registration says where it lies."""
    if gre is None or (gre.to_t1w is not None and not gre.to_t1w.failed):
        return gre
    log.warning("no maps in other spaces: the registration of the gradient echo to T1w failed.")
    return None


def _of_t1w(structural: Structural) -> Iterator[NativeImage]:
    segmented = structural.anatomy
    if segmented is not None:
        yield NativeImage("t1w", segmented.t1w, CUBIC, segmented.brain)
        yield NativeImage("brain", segmented.brain)
        for key, share in (("gm", segmented.gm), ("wm", segmented.wm), ("csf", segmented.csf)):
            yield NativeImage(key, share, LINEAR)
        table = label_tables.deep_gray(segmented.deepgray)
        yield NativeImage("deepgray", segmented.deepgray, labels=table)
    if structural.lesion_mask is not None:
        yield NativeImage("lesion", structural.lesion_mask)


def _of_gre(gre: Susceptibility | MagnitudeResults) -> Iterator[NativeImage]:
    if not isinstance(gre, Susceptibility):
        yield NativeImage("r2star", gre.r2star_hz, CUBIC, gre.brain)
        return
    maps, image = gre.maps, gre.image
    inside = image(maps.mask)
    yield NativeImage("chi", image(maps.chi_ppm), CUBIC, inside)
    if len(gre.signal.series.first) > 1:
        yield NativeImage("r2star", image(maps.r2star_hz), CUBIC, inside)
    if gre.separated is not None:
        apart = gre.separated.sources
        yield NativeImage("paramagnetic", image(apart.paramagnetic_ppm), CUBIC, inside)
        yield NativeImage("diamagnetic", image(apart.diamagnetic_ppm), CUBIC, inside)
    yield NativeImage("qsm_mask", inside)
    if gre.regions is not None:
        masks = gre.regions.masks
        yield NativeImage("thalamus", masks["thalamus"], labels=label_tables.thalami())
        yield NativeImage("thalamus_mask", saving.binary(masks["thalamus"]))
        yield NativeImage("csf_reference", saving.binary(masks["reference"]))
        yield NativeImage("vein", masks["veins"])


def _save(
    destination: Destination,
    images: Iterator[NativeImage],
    from_t1w: Affine,
    sources: Sequence[str],
) -> None:
    space, grid = destination.space, destination.grid
    for one in images:
        product = in_space(one.key, space.name, space.entities, space.resolution_mm)
        found = grid.value(one.image, from_t1w, order=one.order)
        if one.inside is not None:
            found = found.like(np.where(grid.mask(one.inside, from_t1w), found.data, 0))
        method = {"Interpolation": SPLINES[one.order]}
        dtype = np.float32 if one.order else np.int16
        destination.out.save(product, found, sources=sources, method=method, dtype=dtype)
        if one.labels is not None:
            destination.out.save_labels(product, one.labels)
