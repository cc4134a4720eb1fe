"""The packaged atlas: MNI152NLin2009cAsym, 1 mm; what each file is, is told in its README."""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np

from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image

SPACE = "MNI152NLin2009cAsym"


@lru_cache(maxsize=32)
def template(name: str) -> Image:
    """Return one file of the atlas, such as ``T1w`` or ``desc-deepgray_dseg``, as stored."""
    with as_file(files("bids_qsmthal") / "data" / "atlas" / f"{name}.nii.gz") as path:
        image = nifti.load(path, dtype=np.uint8)
    # The cache hands out one array to all callers: an edit in place would change the atlas for the
    # next.
    image.data.setflags(write=False)
    return image


def probability(name: str) -> Image:
    """Return a probability or an intensity of the atlas as float32, 0 to 1."""
    stored = template(name)
    # Stored as bytes, 255 standing for 1, which keeps the package small.
    return stored.like(stored.data.astype(np.float32) / 255)


@lru_cache(maxsize=8)
def names(name: str) -> dict[int, str]:
    """Return the label table of an atlas file: index to name."""
    table = files("bids_qsmthal") / "data" / "atlas" / f"{name}.tsv"
    rows = csv.DictReader(table.read_text().splitlines(), delimiter="\t")
    return {int(row["index"]): row["name"] for row in rows}
