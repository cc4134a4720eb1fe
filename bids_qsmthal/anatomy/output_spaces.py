"""Images of a participant on the grid of T1w or of the template, each interpolated once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import ndimage

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.warping import map_points
from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.core.image import resample as on_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.anatomy.warping import Points, Warp

T1W: Final = "T1w"

RESOLUTIONS: Final = (1, 2, 3, 4)
"""Voxel sizes of the template that can be asked for, mm; TemplateFlow numbers them so."""

HALF: Final = 0.5
"""A voxel of a mask is in it that lies in it for the most part."""


@dataclass(frozen=True, slots=True)
class OutputSpace:
    """A grid that images are wanted on.

    Attributes
    ----------
    name
        ``T1w``, or the packaged template.
    resolution_mm
        Voxel size of the template's grid; ``None`` for T1w, which has its own.
    """

    name: str
    resolution_mm: int | None = None

    @property
    def entities(self) -> str:
        """How names of files say it."""
        step = "" if self.resolution_mm is None else f"_res-{self.resolution_mm}"
        return f"space-{self.name}{step}"


@dataclass(frozen=True, slots=True, eq=False)
class SampledSpace:
    """The grid of a space in a participant, and where its points lie in the world of T1w.

    Attributes
    ----------
    grid
        Its data are not read.
    t1w_points
        ``None`` where the grid is that of T1w itself.
    """

    grid: Image
    t1w_points: Points | None

    def value(self, image: Image, from_t1w: Affine, *, order: int) -> Image:
        """Return an image on the grid: by splines, or (0) the nearest voxel; zero outside it.

        Parameters
        ----------
        image
            Shape (x, y, z).
        from_t1w
            4x4, from the world of T1w to that of the image.
        order
            Of the spline.
        """
        if self.t1w_points is None:
            return on_grid(image, self.grid, world=from_t1w, order=order)
        to_voxel: Affine = np.linalg.inv(image.affine) @ from_t1w
        places = map_points(to_voxel, self.t1w_points)
        dtype = image.data.dtype if order == 0 else np.dtype(np.float32)
        found = ndimage.map_coordinates(image.data.astype(dtype), places, dtype, order=order)
        return self.grid.like(found)

    def mask(self, image: Image, from_t1w: Affine) -> NDArray[np.bool_]:
        """Return which voxels of the grid lie in a mask for the most part."""
        share = image.like((image.data > 0).astype(np.float32))
        inside: NDArray[np.bool_] = self.value(share, from_t1w, order=1).data > HALF
        return inside


def sampled_space(space: OutputSpace, t1w: Image, to_template: Warp) -> SampledSpace:
    """Return the grid of a space and its points in a participant.

    Raises
    ------
    ValueError
        The way back from the template is not known.
    """
    if space.resolution_mm is None:
        return SampledSpace(t1w, None)
    grid = template_grid(space.resolution_mm)
    return SampledSpace(grid, to_template.t1w_points(grid))


def template_grid(resolution_mm: int) -> Image:
    """Return the grid of the template; that of 2 mm is TemplateFlow's ``res-2``.

    The first voxel centre stays where it is, and every n-th is kept.
    """
    whole = atlas.template("T1w")
    affine = whole.affine.copy()
    affine[:3, :3] *= resolution_mm
    step = slice(None, None, resolution_mm)
    return Image(whole.data[step, step, step], affine)
