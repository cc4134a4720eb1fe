"""What a digital participant is made from: protocols, vendors, and one person's parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from bids_qsmthal.qsm import Acquisition


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One multi-echo gradient-echo protocol.

    Attributes
    ----------
    name
        How the protocol is asked for.
    voxel_size_mm, shape
        Of the images.
    oversampling
        How many fine voxels make one image voxel, for each axis; the scan is simulated on the fine
        grid and cut out of its k-space.
    acquisition
        Echo times and field strength.
    repetition_time_s, flip_angle_deg
        They set the contrast of the magnitude.
    """

    name: str
    voxel_size_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    oversampling: tuple[int, int, int]
    acquisition: Acquisition
    repetition_time_s: float
    flip_angle_deg: float


def _echoes(first_s: float, spacing_s: float, number: int) -> Acquisition:
    times = tuple(round(first_s + spacing_s * echo, 6) for echo in range(number))
    return Acquisition(echo_times_s=times, field_strength_t=3.0)


COARSE: Final = Protocol(
    name="coarse",
    voxel_size_mm=(1.5, 1.5, 2.0),
    shape=(116, 140, 68),
    oversampling=(2, 2, 2),
    acquisition=_echoes(0.005, 0.005, 4),
    repetition_time_s=0.03,
    flip_angle_deg=15.0,
)
"""Fast to reconstruct: for demonstrations and tests."""

CLINICAL: Final = Protocol(
    name="clinical",
    voxel_size_mm=(0.75, 0.75, 3.0),
    shape=(240, 288, 48),
    oversampling=(1, 1, 4),
    acquisition=_echoes(0.0043, 0.0047, 11),
    repetition_time_s=0.057,
    flip_angle_deg=20.0,
)
"""A common clinical resolution with thick slices."""

STUDY: Final = Protocol(
    name="study",
    voxel_size_mm=(0.5, 0.5, 2.0),
    shape=(352, 416, 70),
    oversampling=(1, 1, 3),
    acquisition=_echoes(0.0043, 0.0047, 11),
    repetition_time_s=0.057,
    flip_angle_deg=20.0,
)
"""Resolution, repetition time and first echo of Chiang et al., AJNR 2018;39:467-472."""

PROTOCOLS: Final = {protocol.name: protocol for protocol in (COARSE, CLINICAL, STUDY)}


FIELD_OF_VIEW_MM: Final = (174.0, 210.0, 136.0)
"""Of protocols of one's own: a head of usual size, from ear to ear and to the top."""

FINE_MM: Final = 0.9
"""Voxels of protocols of one's own are split into parts of about this."""


def with_voxels(protocol: Protocol, voxel_size_mm: tuple[float, float, float]) -> Protocol:
    """Return a protocol with voxels of another size over the whole head."""
    x, y, z = (
        # Even: half of the matrix lies on either side of the middle.
        2 * round(length / size / 2)
        for length, size in zip(FIELD_OF_VIEW_MM, voxel_size_mm, strict=True)
    )
    fine_x, fine_y, fine_z = (max(1, round(size / FINE_MM)) for size in voxel_size_mm)
    return replace(
        protocol,
        name="x".join(f"{size:g}" for size in voxel_size_mm),
        voxel_size_mm=voxel_size_mm,
        shape=(x, y, z),
        oversampling=(fine_x, fine_y, fine_z),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """How a scanner writes complex images.

    Attributes
    ----------
    name
        How the convention is asked for.
    manufacturer, model
        As written to the sidecars.
    storage
        ``integer``: phase in steps of pi/4096; ``milliradian``: phase in mrad with slope and
        intercept; ``complex``: real and imaginary part.
    phase_sign
        +1 where phase grows with positive frequency offset, -1 where it falls.
    chopped
        Whether alternate slices are negated.
    """

    name: str
    manufacturer: str
    model: str
    storage: Literal["integer", "milliradian", "complex"]
    phase_sign: Literal[1, -1] = 1
    chopped: bool = False


SIEMENS: Final = Vendor(name="siemens", manufacturer="Siemens", model="Prisma", storage="integer")
PHILIPS: Final = Vendor(
    name="philips", manufacturer="Philips", model="Ingenia", storage="milliradian"
)
GE: Final = Vendor(
    name="ge", manufacturer="GE", model="DISCOVERY MR750", storage="complex", phase_sign=-1
)
GE_CHOPPED: Final = Vendor(
    name="ge-chopped",
    manufacturer="GE",
    model="DISCOVERY MR750",
    storage="complex",
    phase_sign=-1,
    chopped=True,
)
VENDORS: Final = {vendor.name: vendor for vendor in (SIEMENS, PHILIPS, GE, GE_CHOPPED)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """One participant and the scans made of them.

    Attributes
    ----------
    protocol, vendor
        Of the gradient-echo scan.
    thalamus_chi_ppb
        Mean susceptibility of the thalami relative to ventricular CSF.
    lesion_ml, enhancing
        Volume of T2 lesions, and how many of them take up gadolinium.
    enhancing_radius_mm
        Smallest and largest radius of those.
    atrophy
        0.2 leaves ventricles and thalami as in the template, 1 is severe: larger ventricles,
        smaller thalami, a thinner cortex.
    scale
        Linear size of the head relative to the template, which is about 5 % larger than the
        average adult head.
    deformation_mm
        Root mean square of the random local deformation of the template.
    oblique_deg, tilt_deg
        Rotation of the gradient-echo slab about the left-right and the anterior-posterior axis.
    motion
        Root mean square of rotations (degrees) and translations (mm) between scans.
    snr
        White matter of the first echo over the standard deviation of the noise in each of the
        real and imaginary parts.
    t1w_snr
        The same for the structural images.
    t1w_voxel_mm
        Of the T1w scans; FLAIR has the same in plane.
    flair_thickness
        Of FLAIR's slices, in voxels of T1w; 1 is a 3-D scan.
    bias
        Half-range of the receive field, relative.
    coil_phase_rad
        Half-range of the smooth phase offset that all echoes have.
    calcified_plexus
        Whether the choroid plexus of the atria is calcified.
    """

    protocol: Protocol = COARSE
    vendor: Vendor = SIEMENS
    thalamus_chi_ppb: float = -18.0
    lesion_ml: float = 8.0
    enhancing: int = 0
    enhancing_radius_mm: tuple[float, float] = (2.6, 4.5)
    atrophy: float = 0.3
    scale: float = 0.95
    deformation_mm: float = 2.5
    oblique_deg: float = 0.0
    tilt_deg: float = 0.0
    motion: float = 0.8
    snr: float = 60.0
    t1w_snr: float = 30.0
    t1w_voxel_mm: float = 1.0
    flair_thickness: int = 3
    bias: float = 0.25
    coil_phase_rad: float = 1.5
    calcified_plexus: bool = False
