"""Quantitative susceptibility mapping: arrays in, arrays out, no files."""

from bids_qsmthal.qsm.acquisition import GYROMAGNETIC_RATIO_HZ_PER_T, Acquisition
from bids_qsmthal.qsm.grid import Array, Grid, Mask

__all__ = ["GYROMAGNETIC_RATIO_HZ_PER_T", "Acquisition", "Array", "Grid", "Mask"]
