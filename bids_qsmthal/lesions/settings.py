"""Choices of the lesion methods; every constant with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FlairLesions:
    """Settings of the segmentation of lesions.

    Attributes
    ----------
    prior_lesion
        Prior probability that a voxel of white matter is lesion: a tenth, the load of heavily
        affected patients (50 mL in about 450 mL of white matter). The mean of the reference
        study is 2.4 %, but a missed lesion cannot be grown, while a false seed is still judged
        by its neighbours, its peak and its place.
    neighbours
        Strength of the Markov random field: log-odds between half and all neighbours alike. At
        6 a lone voxel needs odds of 400 to be a seed.
    seed_probability
        Posterior above which a voxel is a seed.
    peak_gm_sd
        A lesion's peak must be brighter than this many standard deviations above normal gray
        matter: 1.5 leaves 7 % of gray matter, a lesion is "hyperintense to gray matter".
    smoothing_mm
        Gaussian smoothing of FLAIR, standard deviation; half a voxel at the usual 1 mm.
    reach_mm
        Farthest growth from a seed; the seed is the core of a lesion, whose pale part reaches up to
        10 mm beyond it. The height decides where a lesion ends, this only bounds a leak.
    small_lesion_sd
        Height of a small lesion after a filter of its size, in standard deviations of white
        matter: noise alone passes 5 in every second brain (450 mL of white matter, resolution
        2.1 mm; Worsley et al. 1996, Hum Brain Mapp 4:58-73), and a lesion's peak must be brighter
        than gray matter as well.
    small_lesion_filter_mm
        Standard deviation of that filter, that of a ball of 3 mm along an axis.
    small_lesion_mm
        Largest extent of a small lesion; what is larger the random field finds.
    thick_mm
        Slices are thick from here on: evidence is then taken a second time, with T1w seen through
        slices as thick.
    minimum_extent_mm
        Smallest longest axis, as in the McDonald criteria (doi:10.1016/S1474-4422(17)30470-2).
    """

    prior_lesion: float = 0.1
    neighbours: float = 6.0
    seed_probability: float = 0.5
    peak_gm_sd: float = 1.5
    smoothing_mm: float = 0.5
    reach_mm: float = 10.0
    small_lesion_sd: float = 5.0
    small_lesion_filter_mm: float = 0.7
    small_lesion_mm: float = 10.0
    thick_mm: float = 2.0
    minimum_extent_mm: float = 3.0


@dataclass(frozen=True, kw_only=True)
class EnhancingLesions:
    """Settings of the search for enhancing lesions.

    Attributes
    ----------
    threshold_sd
        Signal above the expected one, in standard deviations of normal white matter and of the
        registration's error. One in 30,000 normal voxels is above 4; a brain has a million, but
        those of a lesion and its rim are some ten thousand.
    registration_error_mm
        Error of the rigid registration that edges must exceed; half a voxel at 1 mm.
    near_lesion_mm
        An enhancing lesion lies in a T2 lesion or within this distance of one.
    surface_mm
        Nothing is sought this close to the brain's surface: dura, sinuses, cortical veins.
    slenderness, vessel_width_mm
        A part longer than this many widths and thinner than this is a vessel. Veins within
        lesions are thin lines below 2 mm (Sati et al. 2016, doi:10.1038/nrneurol.2016.166);
        twice that after blurring.
    minimum_extent_mm
        Smallest longest axis.
    minimum_voxels
        Smallest number of voxels: two along each axis, else one border between tissues, shifted by
        a part of a voxel, looks like a lesion. At 1 mm the smallest extent asks for as many.
    visible_fraction
        An enhancement this strong, as a fraction of the signal of white matter, should be seen;
        used to say how sure an absence is.
    """

    threshold_sd: float = 4.0
    registration_error_mm: float = 0.5
    near_lesion_mm: float = 2.0
    surface_mm: float = 3.0
    slenderness: float = 2.0
    vessel_width_mm: float = 4.0
    minimum_extent_mm: float = 3.0
    minimum_voxels: int = 8
    visible_fraction: float = 0.2
