"""Which regions of the user's atlases each lesion lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.atlas_regions import MeasuredAtlas

DICTIONARY: Mapping[str, Any] = {
    "id": {"Description": "Number of the lesion, that of desc-qsmthal_lesions."},
    "atlas": {"Description": "Name of the atlas, as given with --atlas."},
    "label": {"Description": "Number of the region in the atlas."},
    "region": {"Description": "Name of the region."},
    "volume_mm3": {
        "Description": "How much of the lesion lies in the region, on the grid of T1w.",
        "Units": "mm3",
    },
    "lesion_share": {
        "Description": "Share of the lesion that lies in the region. Regions of probabilities may "
        "overlap: the shares of one lesion then add up to more than 1.",
        "Units": "1",
    },
    "region_share": {"Description": "Share of the region that is this lesion.", "Units": "1"},
}
"""The columns of the table in their order, as BIDS describes them."""


def lesion_regions(lesions: Image, atlases: Sequence[MeasuredAtlas]) -> pd.DataFrame:
    """Return a row for each lesion and region that share a voxel, the largest part first.

    Parameters
    ----------
    lesions
        The number of each lesion on the grid of T1w, 0 elsewhere.
    atlases
        Carried to the same grid.
    """
    rows = [row for one in atlases for row in _rows(lesions, one)]
    table = pd.DataFrame(rows, columns=[*DICTIONARY])
    order = {one.atlas.name: place for place, one in enumerate(atlases)}
    return table.sort_values(
        ["id", "atlas", "volume_mm3"],
        key=lambda column: column.map(order) if column.name == "atlas" else column,
        ascending=[True, True, False],
        # Equal parts stay in the order of their labels.
        kind="stable",
        ignore_index=True,
    )


def _rows(lesions: Image, one: MeasuredAtlas) -> Iterator[tuple[Any, ...]]:
    number_at, voxel_mm3 = lesions.data.ravel(), lesions.voxel_volume_mm3
    sizes = np.bincount(number_at)
    for label, voxels in zip(one.carried.numbers, one.carried.on_t1w, strict=True):
        shared = np.bincount(number_at[voxels], minlength=sizes.size)
        # Number 0 is what is no lesion.
        for number in np.flatnonzero(shared[1:]) + 1:
            count = int(shared[number])
            yield (
                *(int(number), one.atlas.name, label, one.atlas.names[label]),
                *(count * voxel_mm3, count / int(sizes[number]), count / voxels.size),
            )
