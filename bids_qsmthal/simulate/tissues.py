"""What each tissue is made of, at 3 T.

Susceptibility relative to cerebrospinal fluid: deep gray means of healthy middle-aged adults
(Langkammer 2012, doi 10.1016/j.neuroimage.2012.05.049; rounded),
white matter -30 ppb, air 0.36 and bone -11.3 against -9.05 ppm of water (Schenck 1996,
doi 10.1118/1.597854). Relaxation: Wansapura 1999 (J Magn Reson Imaging 9:531-538) and Stanisz 2005
(doi 10.1002/mrm.20605), rounded. R2* of deep gray follows its iron, as susceptibility does. The
nuclei of the thalamus vary about its mean (see ``compositions``).

The subthalamic nucleus has .6 of the susceptibility of the substantia nigra (60 and 100 ppb at 7 T:
Schaefer 2012, doi 10.1002/hbm.21404). Both parts of the pallidum have one mean. No figure was found
for the accumbens: it is assumed to lie between cortex and caudate, nearer to the latter.
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
    "accumbens": Tissue(30.0, 20.0, 1.29, 0.084, 0.82),
    "pallidum_external": Tissue(122.0, 40.0, 0.96, 0.058, 0.74),
    "pallidum_internal": Tissue(122.0, 40.0, 0.96, 0.058, 0.74),
    "hippocampus": Tissue(12.0, 16.0, 1.35, 0.092, 0.84),
    "amygdala": Tissue(12.0, 16.0, 1.38, 0.092, 0.84),
    "brainstem": Tissue(-15.0, 20.0, 0.93, 0.072, 0.72),
    "red_nucleus": Tissue(85.0, 34.0, 0.95, 0.060, 0.74),
    "substantia_nigra": Tissue(95.0, 38.0, 0.97, 0.060, 0.74),
    "subthalamic_nucleus": Tissue(60.0, 30.0, 0.95, 0.064, 0.74),
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

DEOXYGENATED_PPM: Final = 4 * np.pi * 0.18
"""Deoxygenated against oxygenated red cells (Weisskoff 1992, doi 10.1002/mrm.1910240219); others
measured 0.27 in place of 0.18 (Spees 2001, doi 10.1002/mrm.1072), with which veins would be half as
strong again."""

HEMATOCRIT: Final = 0.40
VENOUS_OXYGENATION: Final = 0.67

VEIN_CHI_PPM: Final = round(DEOXYGENATED_PPM * HEMATOCRIT * (1 - VENOUS_OXYGENATION), 2)
"""Venous blood against CSF: 0.30, which is also what maps of the straight sinus show. Oxygenated
blood counts as CSF."""

FIELD_T: Final = 3.0
"""Field at which the relaxation of ``TISSUES`` holds."""

FLUIDS: Final = ("csf", "eye")
"""Water whose relaxation does not depend on the field."""


def property_of(name: str) -> Array:
    """Return one property of all tissues, in the order of ``NAMES``."""
    return np.array([getattr(tissue, name) for tissue in TISSUES.values()], dtype=np.float32)


def r2star_at_hz(field_t: float, at_3_t_hz: Array | None = None) -> Array:
    """Return R2* of all tissues at a field: that of tissue grows in proportion to it.

    ``at_3_t_hz`` takes the place of the tissues' own at 3 T.

    Measured at 1.5, 3 and 7 T in gray and white matter and caudate (Peters 2007,
    doi 10.1016/j.mri.2007.02.014).
    """
    plain = property_of("r2star_hz") if at_3_t_hz is None else at_3_t_hz
    return np.asarray(plain * _growth(field_t, 1.0))


def t1_at_s(field_t: float) -> Array:
    """Return T1 of all tissues at a field: that of tissue grows with its power 0.38.

    Measured from 0.2 to 7 T in gray and white matter, and in CSF, which has one T1 (Rooney 2007,
    doi 10.1002/mrm.21122).
    """
    return np.asarray(property_of("t1_s") * _growth(field_t, 0.38))


def vein_r2star_hz(field_t: float) -> float:
    """Return R2* of venous blood at a field: faster than in proportion to it.

    Between linear and quadratic (Blockley 2008, Magn Reson Med 60:1313-1320): its power 1.5.
    """
    return float(45.0 * (field_t / FIELD_T) ** 1.5)


def _growth(field_t: float, power: float) -> Array:
    """Return a factor for each tissue; 1 for fluids, and for all at ``FIELD_T``."""
    # A "3 T" scanner of 2.89 T has the tissues of 3 T: they are not known to 4 %.
    near = abs(field_t / FIELD_T - 1) < 0.05
    factor = 1.0 if near else (field_t / FIELD_T) ** power
    return np.array([1.0 if name in FLUIDS else factor for name in NAMES], np.float32)


def t1_with_gadolinium_s() -> Array:
    """Return T1 of all tissues after contrast agent."""
    values = property_of("t1_s")
    for name, t1_s in GADOLINIUM_T1_S.items():
        values[ROW[name]] = t1_s
    return values
