"""What each tissue is made of, at 3 T.

Susceptibility relative to cerebrospinal fluid: deep gray means of healthy middle-aged adults
(Li 2014, doi 10.1002/mrm.24782; Langkammer 2012, doi 10.1016/j.neuroimage.2012.05.049; rounded),
white matter -30 ppb, air 0.36 and bone -11.3 against -9.05 ppm of water (Schenck 1996,
doi 10.1118/1.597854). Relaxation: Wansapura 1999 (J Magn Reson Imaging 9:531-538) and Stanisz 2005
(doi 10.1002/mrm.20605), rounded. R2* of deep gray follows its iron, as susceptibility does. The
nuclei of the thalamus vary about its mean (see ``compositions``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bids_qsmthal.qsm import Array


@dataclass(frozen=True, slots=True)
class Tissue:
    """One tissue: susceptibility (ppb against CSF), R2* (1/s), T1 (s), T2 (s), proton density."""

    chi_ppb: float
    r2star_hz: float
    t1_s: float
    t2_s: float
    proton_density: float


TISSUES: Final = {
    "gray": Tissue(10.0, 17.0, 1.35, 0.090, 0.84),
    "white": Tissue(-30.0, 20.0, 0.85, 0.070, 0.70),
    "csf": Tissue(0.0, 2.0, 4.20, 1.500, 1.00),
    "thalamus": Tissue(-20.0, 20.0, 1.06, 0.078, 0.78),
    "thalamus_lateral": Tissue(-20.0, 20.0, 0.95, 0.073, 0.74),
    "caudate": Tissue(42.0, 22.0, 1.27, 0.082, 0.82),
    "putamen": Tissue(62.0, 27.0, 1.19, 0.075, 0.80),
    "pallidum": Tissue(122.0, 40.0, 0.96, 0.058, 0.74),
    "hippocampus": Tissue(12.0, 16.0, 1.35, 0.092, 0.84),
    "amygdala": Tissue(12.0, 16.0, 1.38, 0.092, 0.84),
    "brainstem": Tissue(-15.0, 20.0, 0.93, 0.072, 0.72),
    "red_nucleus": Tissue(85.0, 34.0, 0.95, 0.060, 0.74),
    "substantia_nigra": Tissue(95.0, 38.0, 0.97, 0.060, 0.74),
    "dentate": Tissue(80.0, 35.0, 1.00, 0.064, 0.75),
    # Enhancing lesions differ in T1 after contrast alone (``GADOLINIUM_T1_S``).
    "lesion": Tissue(5.0, 13.0, 1.60, 0.150, 0.88),
    "enhancing": Tissue(5.0, 13.0, 1.60, 0.150, 0.88),
    "calcification": Tissue(-600.0, 60.0, 1.20, 0.060, 0.50),
    "plexus": Tissue(10.0, 12.0, 1.80, 0.150, 0.90),
    "dura": Tissue(0.0, 30.0, 1.00, 0.040, 0.45),
    # Fields need the susceptibility of what follows; its signal is faint or none.
    "skull": Tissue(-2250.0, 150.0, 0.60, 0.010, 0.05),
    "marrow": Tissue(-200.0, 80.0, 0.45, 0.050, 0.45),
    "fat": Tissue(600.0, 35.0, 0.38, 0.070, 0.85),
    "muscle": Tissue(0.0, 30.0, 1.20, 0.038, 0.75),
    "eye": Tissue(0.0, 2.0, 3.80, 1.200, 1.00),
    "mucosa": Tissue(0.0, 20.0, 1.60, 0.080, 0.85),
    "air": Tissue(9400.0, 0.0, 1.00, 0.050, 0.0),
}
"""Order of the rows of every composition."""

NAMES: Final = tuple(TISSUES)
ROW: Final = {name: row for row, name in enumerate(NAMES)}

GADOLINIUM_T1_S: Final = {"enhancing": 0.55, "plexus": 0.50, "dura": 0.45, "mucosa": 0.50}
"""T1 of what takes up contrast agent, some ten minutes after 0.1 mmol/kg."""

VEIN_CHI_PPM: Final = 0.30
"""Venous blood against CSF at 55-60 % oxygenation (0.27 ppm (1 - Y) Hct 4 pi and its spread)."""

VEIN_R2STAR_HZ: Final = 45.0


def property_of(name: str) -> Array:
    """Return one property of all tissues, in the order of ``NAMES``."""
    return np.array([getattr(tissue, name) for tissue in TISSUES.values()], dtype=np.float32)


def t1_with_gadolinium_s() -> Array:
    """Return T1 of all tissues after contrast agent."""
    values = property_of("t1_s")
    for name, t1_s in GADOLINIUM_T1_S.items():
        values[ROW[name]] = t1_s
    return values
