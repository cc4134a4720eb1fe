"""What of digital participants comes from files of the user: heads, and shapes of lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.simulate import label_maps
from bids_qsmthal.simulate.head_model import Given
from bids_qsmthal.simulate.heads import TERRAIN_STEP_MM
from bids_qsmthal.simulate.labelled import placed, read_anatomy
from bids_qsmthal.simulate.lesions import lesion_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GivenFiles:
    """Heads that participants take in turn, and shapes that lesions of all of them take.

    Attributes
    ----------
    labels
        Label maps that were checked; none where the atlas is warped.
    lesion_shapes
        As in ``Given``.
    """

    labels: tuple[Path, ...] = ()
    lesion_shapes: tuple[NDArray[np.float32], ...] = ()

    def of(self, order: int) -> Given:
        """Return what is given for a participant, counted from 0."""
        anatomy = None
        if self.labels:
            # Read again for each: a head takes 150 MB, and a lab may have dozens.
            anatomy = read_anatomy(self.labels[order % len(self.labels)])
        return Given(anatomy=anatomy, lesion_shapes=self.lesion_shapes)


NO_FILES: Final = GivenFiles()


def read_given(labels: Sequence[Path], lesion_masks: Sequence[Path]) -> GivenFiles:
    """Check label maps, all of them before anything is simulated, and read shapes of lesions.

    Parameters
    ----------
    labels
        Label maps (``label_maps``).
    lesion_masks
        Masks whose lesions lend their shapes to all heads.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        Not a label map of a head, or a mask without lesions.
    """
    for path in labels:
        placed(label_maps.read(path).labels, path)
    shapes = tuple(shape for path in lesion_masks for shape in _shapes(path))
    return GivenFiles(labels=tuple(labels), lesion_shapes=shapes)


def _shapes(path: Path) -> tuple[NDArray[np.float32], ...]:
    mask = nifti.load(path)
    shapes = lesion_shapes(mask, TERRAIN_STEP_MM) if mask.data.ndim == 3 else ()
    if not shapes:
        raise DataError(
            f"{path}: holds no lesion of more than a voxel of {TERRAIN_STEP_MM:g} mm; expected a "
            "mask, not zero in lesions. Give another one."
        )
    return shapes
