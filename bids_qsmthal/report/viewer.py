"""An interactive viewer of the susceptibility map: one HTML file with NiiVue and the images."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core import colors, nifti
from bids_qsmthal.core.crop import Crop
from bids_qsmthal.core.image import Image
from bids_qsmthal.report import gre_figures, page, slices

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from bids_qsmthal.report.contents import GreMaps, RegionMasks
    from bids_qsmthal.report.mosaic import Window


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One image of the viewer.

    Attributes
    ----------
    color
        Of a mask, ``#RRGGBB``; empty for a map in gray.
    low, high
        What is black and white.
    unit
        Of the values, for the read-out.
    """

    name: str
    image: Image
    low: float
    high: float
    unit: str = ""
    color: str = ""
    stored: DTypeLike = np.uint8

    def described(self) -> dict[str, object]:
        """Return what the page's script needs."""
        packed = nifti.packed(self.image, dtype=self.stored)
        return {
            "name": self.name,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "color": self.color,
            "content": base64.b64encode(packed).decode("ascii"),
        }


def layers(gre: GreMaps, regions: RegionMasks) -> list[Layer]:
    """Return the maps and masks to look at, cropped to the brain; none without a map."""
    if gre.chi_ppm is None:
        return []
    box = slices.bounds(gre.chi_ppm, gre.brain)
    chi = _map("susceptibility", gre_figures.in_ppb(gre.chi_ppm), gre_figures.CHI_WINDOW, "ppb")
    shown = [chi]
    if gre.r2star_per_s is not None:
        shown.append(_map("R2*", gre.r2star_per_s, gre_figures.R2STAR_WINDOW, "1/s"))
    if regions.thalamus is not None:
        for side, name, color in ((1, "left", colors.THALAMI[1]), (2, "right", colors.THALAMI[2])):
            inside = regions.thalamus.like(regions.thalamus.data == side)
            shown.append(_mask(f"{name} thalamus", inside, color))
    for name, image, color in (
        ("CSF reference", regions.csf_reference, colors.CSF_REFERENCE),
        ("veins", regions.veins, colors.VEINS),
        ("lesions", regions.lesions, colors.LESIONS),
    ):
        # A switch for what is not there would seem to be broken.
        if image is not None and image.data.any():
            shown.append(_mask(name, image, color))
    return [_cropped(layer, box) for layer in shown]


def viewer_page(title: str, shown: Sequence[Layer], back: str) -> str:
    """Return the HTML document; ``back`` is the address of the report beside it."""
    own, library = (page.source(name) for name in ("viewer.js", "niivue.min.js"))
    return (
        page.environment()
        .get_template("viewer.html")
        .render(
            title=title,
            back=back,
            layers=[layer for layer in shown if layer.color],
            maps=[layer for layer in shown if not layer.color],
            # JSON leaves </script> as it is, and the browser would end the script there.
            images=json.dumps([layer.described() for layer in shown]).replace("<", "\\u003c"),
            library=library,
            script=own,
            # For what NiiVue makes of the images and fonts in the page; still nothing from outside.
            policy=page.policy(own, library) + "; connect-src data: blob:; font-src data:",
        )
    )


def _map(name: str, image: Image, window: Window, unit: str) -> Layer:
    # Whole ppb and whole 1/s in int16: half the size of the file, and finer than gray values.
    whole = image.like(np.rint(image.data))
    return Layer(name, whole, window.low, window.high, unit, stored=np.int16)


def _mask(name: str, image: Image, color: str) -> Layer:
    return Layer(name, image.like(image.data > 0), 0.0, 1.0, color=color)


def _cropped(layer: Layer, box: Crop) -> Layer:
    image = box.of(layer.image)
    return Layer(layer.name, image, layer.low, layer.high, layer.unit, layer.color, layer.stored)
