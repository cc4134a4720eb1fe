"""A digital participant: every scan with its sidecar, and what is true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core.affine import starting_at
from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.simulate.compositions import compositions
from bids_qsmthal.simulate.echoes import Scene, echo_signals, smooth_field
from bids_qsmthal.simulate.effects import PLAIN, Effects
from bids_qsmthal.simulate.gradient_echo import fields, fine_model
from bids_qsmthal.simulate.head_model import NOTHING_GIVEN, Given, Head
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.parameters import Parameters, Vendor
from bids_qsmthal.simulate.poses import draw_poses, rigid, scan_affine
from bids_qsmthal.simulate.progression import NO_PROGRESSION, Progression, progressed
from bids_qsmthal.simulate.structural import (
    WHITE_LEVEL,
    flair_grid,
    flair_scan,
    structural_scan,
    t1w_grid,
    t1w_signal,
    t1w_with_truth,
)
from bids_qsmthal.simulate.tissues import vein_r2star_hz
from bids_qsmthal.simulate.truth import (
    Truth,
    gre_images,
    source_values,
    structural_images,
    structural_values,
    susceptibility_values,
)
from bids_qsmthal.simulate.vendors import encoded

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedScan:
    """One file of the dataset.

    Attributes
    ----------
    name
        What follows ``sub-<label>_``: entities and suffix.
    image
        Integers as stored.
    slope
        Stored value to value, for the header.
    sidecar
        Metadata.
    """

    name: str
    image: Image
    sidecar: Mapping[str, Any]
    slope: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Participant:
    """Scans and truth of one digital participant."""

    scans: tuple[SimulatedScan, ...]
    truth: Truth


def participant(
    parameters: Parameters,
    seed: int,
    effects: Effects = PLAIN,
    given: Given = NOTHING_GIVEN,
    visit: int = 0,
    progression: Progression = NO_PROGRESSION,
) -> Participant:
    """Make a digital participant; the same arguments give the same bytes.

    Parameters
    ----------
    parameters, seed
        Of the person and the scans.
    effects
        What the gradient echo has beyond a plain one.
    given
        What of the person is not drawn.
    visit
        Counted from 0. Another visit has another position and other noise; the person is the same.
    progression
        What of the person has changed since the first visit.
    """
    anatomy, tissue, (poses, gre, structural) = _of_visit(seed, visit)
    head = progressed(draw_head(parameters, anatomy, given), progression)
    pose = draw_poses(parameters.motion, poses)
    gre_scans, gre_truth = _gradient_echo(head, pose["gre"], parameters, effects, (gre, tissue))
    scans, truth = _structural(head, pose, parameters, structural)
    values: dict[str, object] = {
        **truth.numbers,
        **gre_truth.numbers,
        "phase_sign": parameters.vendor.phase_sign,
        "chopped": parameters.vendor.chopped,
        "calcified_plexus": parameters.calcified_plexus,
        **_motion(pose),
        "parameters": {**asdict(parameters), "seed": seed},
    }
    if given.anatomy is not None:
        values["anatomy"] = given.anatomy.name
    images = {**truth.images, **gre_truth.images}
    return Participant((*gre_scans, *scans), Truth(values, images))


def gradient_echo_scan(
    parameters: Parameters,
    seed: int,
    effects: Effects = PLAIN,
    given: Given = NOTHING_GIVEN,
    visit: int = 0,
) -> Participant:
    """Make the gradient echo alone: the same bytes as in ``participant``."""
    anatomy, tissue, (poses, gre, _) = _of_visit(seed, visit)
    head = draw_head(parameters, anatomy, given)
    pose = draw_poses(parameters.motion, poses)
    scans, truth = _gradient_echo(head, pose["gre"], parameters, effects, (gre, tissue))
    return Participant(tuple(scans), truth)


def head_scans(parameters: Parameters, seed: int, given: Given = NOTHING_GIVEN) -> Participant:
    """Make T1w, post-contrast T1w and FLAIR alone: the same bytes as in ``participant``."""
    anatomy, poses, _, structural = _sources(seed)
    head = draw_head(parameters, anatomy, given)
    pose = draw_poses(parameters.motion, poses)
    scans, truth = _structural(head, pose, parameters, structural)
    values: dict[str, object] = {
        **truth.numbers,
        **_motion(pose),
        "parameters": {**asdict(parameters), "seed": seed},
    }
    return Participant(tuple(scans), Truth(values, truth.images))


def _of_visit(
    seed: int, visit: int
) -> tuple[np.random.Generator, np.random.Generator, list[np.random.Generator]]:
    """Return the randomness of anatomy and of tissue, and of the scans of one visit.

    The latter are poses, gradient echo and structural scans; the first visit has the person's own.
    """
    anatomy, *scans = _sources(seed)
    # Tissue is drawn by children of the gradient echo's: they follow from the seed alone.
    tissue = scans[1]
    return anatomy, tissue, scans if visit == 0 else _sources([seed, visit])[1:]


def _sources(seed: int | list[int]) -> list[np.random.Generator]:
    """Return the randomness of anatomy, poses, gradient echo, structural scans."""
    # A stream of its own for each part: one part made alone gets the same numbers as in the whole.
    return [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]


def _motion(pose: Mapping[str, Affine]) -> dict[str, object]:
    """Return where the head lay in each scan, and the ways from scans to T1w."""
    ways = {
        f"world_{name}_to_t1w": (pose["t1w"] @ np.linalg.inv(pose[name])).tolist()
        for name in ("gre", "flair", "gad")
    }
    return {"rigid_head_to_world": {name: turn.tolist() for name, turn in pose.items()}, **ways}


def _gradient_echo(
    head: Head,
    pose: Affine,
    parameters: Parameters,
    effects: Effects,
    generators: tuple[np.random.Generator, np.random.Generator],
) -> tuple[list[SimulatedScan], Truth]:
    """Return the files of the gradient-echo scan, and what is true on its grid.

    ``generators`` are those of the scan and of the person's tissue, which all visits share.
    """
    generator, tissue = generators
    protocol = parameters.protocol
    turn = rigid((parameters.oblique_deg, parameters.tilt_deg, 0.0), (0, 0, 0))
    affine = scan_affine(
        protocol.shape,
        protocol.voxel_size_mm,
        rotation=turn,
        centre_mm=(pose[:3] @ (0, -18, 6, 1)).tolist(),
    )
    if effects.tissue is not None:
        head = replace(head, chi_ppb=effects.tissue.moved(head.chi_ppb))
    sources = None
    if effects.sources is not None:
        # A stream of its own: the noise stays that of the plain scan.
        sources = effects.sources.drawn(head.chi_ppb, tissue.spawn(1)[0])
        head = replace(head, chi_ppb=sources.chi_ppb)
    model = fine_model(head, pose, affine, protocol, sources)
    field = fields(head, pose, model, protocol.acquisition.centre_frequency_hz)
    if effects.slab is not None:
        # After the fields: what lies beyond the slab still makes its part of them.
        model, field = effects.slab.cut(model, field, protocol.oversampling[2])
        affine = starting_at(affine, (0, 0, effects.slab.first))
    to_head = np.linalg.inv(pose) @ model.affine
    blood = None
    if effects.flow is not None:
        vein_hz = vein_r2star_hz(protocol.acquisition.effective_field_t)
        blood = effects.flow.blood(head, to_head, model.grid.shape, vein_hz)
    scene = Scene(model, field.total_hz, to_head, blood)
    signals = echo_signals(scene, parameters, effects, generator)
    scans = _stored(signals, affine, parameters, effects)
    # Only the axes are read: B0 in the frame of the image, whose shape does not matter here.
    grid = Image(model.chi_ppm, affine).grid
    values = {
        **susceptibility_values(model),
        **source_values(model),
        "b0_direction_image_axes": list(grid.b0_direction),
        "echo_times_s": list(protocol.acquisition.echo_times_s),
        "gre_voxel_mm": list(protocol.voxel_size_mm),
    }
    if effects != PLAIN:
        values["effects"] = asdict(effects)
    return scans, Truth(values, gre_images(model, field, affine, protocol.oversampling))


def _stored(
    signals: Iterable[NDArray[np.complex64]],
    affine: Affine,
    parameters: Parameters,
    effects: Effects,
) -> list[SimulatedScan]:
    """Return the echoes as the scanner stores them."""
    scans = []
    for echo, signal in enumerate(signals, start=1):
        for stored in encoded(signal, parameters.vendor):
            sidecar = _gre_sidecar(parameters, echo)
            if effects.slices is not None:
                sidecar["MRAcquisitionType"] = "2D"
            if stored.units is not None:
                sidecar["Units"] = stored.units
            name = f"echo-{echo}_part-{stored.part}_MEGRE"
            scans.append(SimulatedScan(name, Image(stored.integers, affine), sidecar, stored.slope))
    return scans


def _structural(
    head: Head,
    pose: Mapping[str, Affine],
    parameters: Parameters,
    generator: np.random.Generator,
) -> tuple[list[SimulatedScan], Truth]:
    """Return T1w, post-contrast T1w and FLAIR, and what is true on the T1w grid."""
    voxel_mm = parameters.t1w_voxel_mm
    grid = t1w_grid(voxel_mm)
    t1w, truth = t1w_with_truth(head, pose["t1w"], grid)
    # Another pose on the same grid: the participant moved between both scans.
    gad = structural_scan(head, pose["gad"], grid, t1w_signal(gadolinium=True))
    turn = rigid((generator.normal(0, 5), 0, 0), (0, 0, 0))
    flair = flair_scan(head, pose["flair"], flair_grid(voxel_mm, parameters.flair_thickness, turn))
    scans = []
    for name, image in (("T1w", t1w), ("ce-gadolinium_T1w", gad), ("FLAIR", flair)):
        data = received(image.data, parameters, generator)
        sidecar = _structural_sidecar(name, parameters.vendor)
        if name == "FLAIR":
            sidecar["SliceThickness"] = parameters.flair_thickness * voxel_mm
            sidecar["MRAcquisitionType"] = "2D" if parameters.flair_thickness > 1 else "3D"
        scans.append(SimulatedScan(name, image.like(data), sidecar))
    images = structural_images(truth)
    images["space-FLAIR_label-lesion_mask"] = flair_lesions(head, pose["flair"], flair)
    return scans, Truth(structural_values(truth), images)


def flair_lesions(head: Head, pose: Affine, flair: Image) -> Image:
    """Return the lesions where FLAIR voxels lie."""
    mask = np.zeros(flair.shape, np.uint8)
    to_head = np.linalg.inv(pose) @ flair.affine
    for chunk in compositions(head, to_head, flair.shape, brain_only=True):
        mask.reshape(-1)[chunk.flat] = chunk.masks()["lesion"]
    return flair.like(mask)


def received(
    signal: Float, parameters: Parameters, generator: np.random.Generator
) -> NDArray[np.int16]:
    """Return a magnitude image: receive field, Rician noise, integers."""
    level = 1 + np.float32(parameters.bias) * smooth_field(signal.shape, generator)
    sigma = np.float32(WHITE_LEVEL / parameters.t1w_snr)
    # The magnitude of complex noise is Rician, as in a scanner: its mean in air is not zero.
    real = signal * level + sigma * generator.standard_normal(signal.shape, dtype=np.float32)
    imaginary = sigma * generator.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.round(np.hypot(real, imaginary)), dtype=np.int16)


def _gre_sidecar(parameters: Parameters, echo: int) -> dict[str, Any]:
    protocol = parameters.protocol
    sidecar = {
        "EchoTime": protocol.acquisition.echo_times_s[echo - 1],
        "EchoNumber": echo,
        "RepetitionTime": protocol.repetition_time_s,
        "FlipAngle": protocol.flip_angle_deg,
        **_scanner(parameters.vendor, protocol.acquisition.field_strength_t),
        "MRAcquisitionType": "3D",
    }
    if protocol.acquisition.imaging_frequency_hz is not None:
        # BIDS has it in MHz.
        sidecar["ImagingFrequency"] = protocol.acquisition.imaging_frequency_hz / 1e6
    return sidecar


TIMING: Final = {
    "T1w": {
        "RepetitionTime": 2.3,
        "EchoTime": 0.00298,
        "InversionTime": 0.9,
        "FlipAngle": 9,
        "MRAcquisitionType": "3D",
    },
    "FLAIR": {
        "RepetitionTime": 9.0,
        "EchoTime": 0.095,
        "InversionTime": 2.5,
        "FlipAngle": 150,
        "MRAcquisitionType": "2D",
    },
}


def _structural_sidecar(name: str, vendor: Vendor) -> dict[str, Any]:
    sidecar = {**_scanner(vendor, 3.0), "Modality": "MR", **TIMING[name.rpartition("_")[2]]}
    if name.startswith("ce-"):
        sidecar["ContrastBolusIngredient"] = "GADOLINIUM"
    return sidecar


def _scanner(vendor: Vendor, field_strength_t: float) -> dict[str, Any]:
    return {
        "MagneticFieldStrength": field_strength_t,
        "Manufacturer": vendor.manufacturer,
        "ManufacturersModelName": vendor.model,
    }
