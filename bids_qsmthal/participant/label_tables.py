"""Look-up tables beside label images, as BIDS wants them: index, name and colour of each label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bids_qsmthal.core import colors
from bids_qsmthal.core.labels import FOUND, TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.core.image import Image


def of_names(names: Mapping[int, str], shown: Mapping[int, str] | None = None) -> pd.DataFrame:
    """Return the table of labels; ``shown`` are the colours of those whose names do not tell it."""
    chosen = colors.of_labels(names, shown)
    return pd.DataFrame(
        {
            "index": list(names),
            "name": list(names.values()),
            "color": [chosen[number] for number in names],
        }
    )


def deep_gray(labels: Image) -> pd.DataFrame:
    """Return the table of deep gray labels.

    That of what is found in T1w; where labels are external and hold others, what they hold, by
    FreeSurfer's names.
    """
    names = dict(sorted(FOUND.labels.items()))
    present = [int(index) for index in np.unique(labels.data) if index]
    if set(present) <= set(names):
        return of_names(names)
    return of_names({index: TABLE.labels.get(index, f"label_{index}") for index in present})


def thalami() -> pd.DataFrame:
    """Return the table of both thalami as measured."""
    return of_names({1: "left thalamus", 2: "right thalamus"}, colors.THALAMI)


def tissue() -> pd.DataFrame:
    """Return the table of tissues, with the abbreviations of BIDS."""
    names = {1: "Gray matter", 2: "White matter", 3: "Cerebrospinal fluid"}
    return of_names(names, colors.TISSUES).assign(abbreviation=["GM", "WM", "CSF"])
