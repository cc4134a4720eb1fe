"""Figures on the T1-weighted image: tissue, structures, thickness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_qsmthal.core import colors
from bids_qsmthal.core.labels import THALAMUS, region, without_side
from bids_qsmthal.report import panels, words
from bids_qsmthal.report.mosaic import Heat, Overlay, Strip, Window
from bids_qsmthal.report.slices import cut

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.report.contents import AnatomyMaps, AtlasMaps
    from bids_qsmthal.report.page import Figure

# The cortex is 1 to 4.5 mm thick (Fischl and Dale 2000, doi 10.1073/pnas.200033797).
THICKNESS_WINDOW = Window(1.0, 5.0, "thickness (mm)", "viridis")


def thalamus_on_t1w(anatomy: AnatomyMaps) -> Figure | None:
    """Show thalamus and gray matter on the T1-weighted image."""
    if anatomy.t1w is None or anatomy.deep_gray is None:
        return None
    overlays = []
    if anatomy.tissue is not None:
        overlays.append(
            Overlay(anatomy.tissue, "gray matter", colors.TISSUES[1], value=1, filled=True)
        )
    overlays += panels.sides(anatomy.deep_gray, *THALAMUS)
    thalami = anatomy.deep_gray.like(
        np.where(np.isin(anatomy.deep_gray.data, THALAMUS), anatomy.deep_gray.data, 0)
    )
    where = cut(anatomy.t1w, show=anatomy.brain, through=thalami, count=6)
    strip = Strip(
        where, panels.bright(anatomy.t1w, anatomy.brain, "T1w signal"), overlays, columns=3
    )
    return panels.figure(
        [strip],
        "Thalamus and gray matter on T1w",
        "desc-thalamus_T1w",
        "Slices through the thalami.",
    )


def tissue(anatomy: AnatomyMaps) -> Figure | None:
    """Show the tissue classes."""
    if anatomy.t1w is None or anatomy.tissue is None:
        return None
    overlays = [
        Overlay(anatomy.tissue, name, colors.TISSUES[value], value=value, filled=True)
        for value, name in enumerate(("gray matter", "white matter", "CSF"), 1)
    ]
    strip = Strip(
        cut(anatomy.t1w, show=anatomy.brain, through=None),
        panels.bright(anatomy.t1w, anatomy.brain, "T1w signal"),
        overlays,
    )
    return panels.figure(
        [strip],
        "Tissue classes",
        "desc-tissue_dseg",
        "Gray matter should follow the cortical ribbon and the deep nuclei, and lesions should "
        "not be gray matter.",
    )


def thickness(anatomy: AnatomyMaps) -> Figure | None:
    """Show cortical thickness in colour on the T1-weighted image."""
    if anatomy.t1w is None or anatomy.thickness_mm is None:
        return None
    strip = Strip(
        cut(anatomy.t1w, show=anatomy.brain, through=None),
        panels.bright(anatomy.t1w, anatomy.brain, "T1w signal"),
        heat=Heat(anatomy.thickness_mm, THICKNESS_WINDOW),
    )
    return panels.figure(
        [strip],
        "Cortical thickness",
        "desc-thickness_T1w",
        "Thickness of the cortex in mm where it was measured.",
    )


def labels(
    anatomy: AnatomyMaps,
    image: Image | None,
    names: Mapping[int, str],
    title: str,
    name: str,
    *,
    spelled: Callable[[str], str] = words.plain,
) -> Figure | None:
    """Show a label image on the T1-weighted image, one colour a structure of both sides."""
    if image is None or not np.any(image.data):
        return None
    # Ventricles and brainstem reach far beyond the nuclei, which are what is looked at.
    wanted = _without(image, names, BACKGROUND)
    return _tinted(anatomy, wanted, _label_overlays(image, names, spelled), title, name)


def _tinted(
    anatomy: AnatomyMaps, wanted: Image, overlays: list[Overlay], title: str, name: str
) -> Figure | None:
    """Show tints on the T1-weighted image, in the slices in which ``wanted`` is largest."""
    if anatomy.t1w is None:
        return None
    close = cut(anatomy.t1w, show=wanted, through=wanted, count=8)
    strip = Strip(
        close, panels.bright(anatomy.t1w, anatomy.brain, "T1w signal"), overlays, columns=4
    )
    # Said of what is drawn: with colours of a user the sides can differ.
    sides = ", both sides alike" if len({one.name for one in overlays}) < len(overlays) else ""
    return panels.figure(
        [strip],
        title,
        name,
        f"One colour for each structure{sides}; its border has the colour of the legend, "
        "its inside lets the image through. The slices are those in which the structures are "
        "largest.",
    )


BACKGROUND = frozenset(
    (
        *("lateral_ventricle", "inferior_lateral_ventricle", "third_ventricle"),
        *("fourth_ventricle", "brainstem", "cerebellum"),
    )
)
"""Structures that are drawn where they are met, and choose no slice."""


def _without(image: Image, names: Mapping[int, str], regions: frozenset[str]) -> Image:
    """Return a label image without some regions; as it is where nothing else would be left."""
    values = [int(value) for value in np.unique(image.data) if value > 0]
    others = [value for value in values if region(value, names).name not in regions]
    kept = image.like(np.where(np.isin(image.data, others), image.data, 0))
    return kept if others else image


def _label_overlays(
    image: Image, names: Mapping[int, str], spelled: Callable[[str], str]
) -> list[Overlay]:
    """Return a tint for each label; left and right of a structure share colour and name."""
    values = [int(value) for value in np.unique(image.data) if value > 0]
    regions = {value: region(value, names).name for value in values}
    # By all names, not by those in this image alone: the table beside it has the same colours.
    named = (region(value, names).name for value in names)
    shown = colors.of_regions([*named, *regions.values()])
    return [
        Overlay(image, spelled(name), shown[name], value=value, filled=True, edged=True)
        for value, name in regions.items()
    ]


def deep_gray(anatomy: AnatomyMaps) -> Figure | None:
    """Show the deep gray nuclei and the ventricles."""
    title, name = "Deep gray matter and ventricles", "desc-deepgray_dseg"
    return labels(anatomy, anatomy.deep_gray, anatomy.deep_gray_names, title, name)


def nuclei(anatomy: AnatomyMaps) -> Figure | None:
    """Show the nuclei of the thalamus."""
    title, name = "Nuclei of the thalamus", "desc-nuclei_dseg"
    named = anatomy.nuclei_names
    among = {region(value, named).name for value in named}
    spelled = partial(words.nucleus, among=among)
    return labels(anatomy, anatomy.nuclei, named, title, name, spelled=spelled)


def small_nuclei(anatomy: AnatomyMaps) -> Figure | None:
    """Show the parts of the pallidum and the nuclei of the midbrain."""
    title, name = "Small iron-rich nuclei", "desc-smallnuclei_dseg"
    return labels(anatomy, anatomy.small_nuclei, anatomy.small_nuclei_names, title, name)


NAMED = 32
"""Structures that a legend can name: both sides of sixteen."""


def user_atlas(anatomy: AnatomyMaps, atlas: AtlasMaps) -> Figure | None:
    """Show the regions of an atlas of the user, in colours of their own unless they are many."""
    title, name = f"Regions of the atlas {atlas.name}", f"desc-atlas{atlas.name}_dseg"
    present = np.unique(atlas.labels.data[atlas.labels.data > 0]).tolist()
    if not present:
        return None
    overlays = _atlas_overlays(atlas, present)
    if len({one.name for one in overlays}) <= NAMED:
        return _tinted(anatomy, atlas.labels, overlays, title, name)
    if anatomy.t1w is None:
        return None
    # Voxels among others of their region: a dark line is left between two regions.
    within = ndimage.maximum_filter(atlas.labels.data, 3) == ndimage.minimum_filter(
        atlas.labels.data, 3
    )
    shown = atlas.labels.like((within & (atlas.labels.data > 0)).astype(np.uint8))
    strip = Strip(
        cut(anatomy.t1w, show=atlas.labels, through=atlas.labels, count=8),
        panels.bright(anatomy.t1w, anatomy.brain, "T1w signal"),
        [Overlay(shown, "inside a region", colors.SKY, filled=True)],
        columns=4,
    )
    caption = f"The {len(present)} regions, with a gap between any two; the table names them."
    return panels.figure([strip], title, name, caption)


def _atlas_overlays(atlas: AtlasMaps, present: list[int]) -> list[Overlay]:
    """Return a tint for each region by the name that the user gave it.

    Two sides in one colour are one entry of the legend.
    """
    pairs = {value: (without_side(atlas.names[value]), atlas.colors[value]) for value in present}
    both = {pair for pair, count in Counter(pairs.values()).items() if count > 1}
    return [
        Overlay(
            atlas.labels,
            pair[0] if pair in both else atlas.names[value],
            pair[1],
            value=value,
            filled=True,
            edged=True,
        )
        for value, pair in pairs.items()
    ]


STAGES = (tissue, deep_gray, small_nuclei, nuclei, thickness)
"""The figures of the anatomy in its order."""
