"""One step of the reconstruction on plain NIfTI files: for rankings of methods, and for trying one.

Each command reads images, runs the same code as a participant, and writes one map with a sidecar.
Fields are in Hz, or in ppm of the main field, positive where the phase grows; susceptibility is in
ppm.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import __version__, choices
from bids_qsmthal.bids.derivatives import UNITS_RULE
from bids_qsmthal.bids.provenance import plain
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, OutputError, UsageError
from bids_qsmthal.core.files import write_json
from bids_qsmthal.core.image import Image
from bids_qsmthal.qsm import GYROMAGNETIC_RATIO_HZ_PER_T, RELAXATIONS, Acquisition
from bids_qsmthal.qsm.acquisition import FIELDS_T
from bids_qsmthal.qsm.inversion import Medi
from bids_qsmthal.qsm.measurement import Measurement
from bids_qsmthal.qsm.operators import transforms_on_all_threads

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from bids_qsmthal.core.grid import Array, Mask

log = logging.getLogger(__name__)

Direction = tuple[float, float, float]

MOST_SPAN_RAD = 2 * np.pi * 1.01
"""Wrapped phase spans one turn; 1 % is what rounding and resampling add."""

MOST_BELOW = 0.1
"""Sum of the negative values of a magnitude, as a share of the positive ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step writes.

    Attributes
    ----------
    units
        Of the map, as BIDS writes them.
    method
        The object that made it.
    made_from
        The images, by what they are to the step.
    """

    image: Image
    units: str
    method: object
    made_from: dict[str, Sequence[Path]]

    def write(self, path: Path) -> None:
        """Write the map and its sidecar.

        Raises
        ------
        OutputError
            There is such a file already, or it cannot be written.
        UsageError
            Its name is not that of a compressed NIfTI image.
        """
        sidecar = _check_place(path)
        first = next(iter(self.made_from.values()))[0]
        nifti.save(self.image, path, dtype=np.float32, code=nifti.world_code(first))
        write_json(
            sidecar,
            {
                "Units": self.units,
                "Method": plain(self.method),
                "MethodUnits": UNITS_RULE,
                "Inputs": {what: [one.name for one in files] for what, files in self._inputs()},
                "GeneratedBy": [{"Name": "bids_qsmthal", "Version": __version__}],
            },
        )
        log.info("%s", path)

    def _inputs(self) -> list[tuple[str, Sequence[Path]]]:
        return [(what, files) for what, files in self.made_from.items() if files]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldUnit:
    """The unit of field maps that are read and written, and how many ppm it is."""

    name: str
    ppm: np.float32


def field_unit(name: str, field_strength_t: float) -> FieldUnit:
    """Return the unit ``Hz`` or ``ppm`` at a field strength.

    Raises
    ------
    UsageError
        No scanner has this field.
    """
    low, high = FIELDS_T
    if not low <= field_strength_t <= high:
        raise UsageError(
            f"--field-strength {field_strength_t:g}: expected tesla, {low:g} to {high:g}."
        )
    ppm_per_hz = np.float32(1e6 / (GYROMAGNETIC_RATIO_HZ_PER_T * field_strength_t))
    return FieldUnit(name=name, ppm=np.float32(1) if name == "ppm" else ppm_per_hz)


def _check_place(path: Path) -> Path:
    """Return the sidecar's place; raise where anything would be overwritten."""
    if not path.name.endswith(".nii.gz"):
        raise UsageError(f"{path}: expected a name that ends in .nii.gz.")
    sidecar = path.with_name(f"{path.name.removesuffix('.nii.gz')}.json")
    for place in (path, sidecar):
        if place.exists():
            raise OutputError(f"{place}: exists already; give another name with --out.")
    return sidecar


def taken(name: str, chosen: Namespace, b0_direction: Direction | None) -> None:
    """Take the step of this name with the options of its command, and write what it gives."""
    _check_place(chosen.out)
    match name:
        case "r2star":
            made = r2star(
                *(chosen.magnitude, chosen.echo_times), mask=chosen.mask, method=chosen.method
            )
        case "unwrap":
            made = total_field(
                *(chosen.phase, chosen.magnitude, _acquisition(chosen)),
                mask=chosen.mask,
                unwrapping=chosen.method,
                b0_direction=b0_direction,
            )
            if chosen.field_units == "ppm":
                made = _in_ppm(made, field_unit("Hz", chosen.field_strength))
        case "background":
            made = local_field(
                *(chosen.field, chosen.mask),
                field_unit(chosen.field_units, chosen.field_strength),
                background=chosen.method,
                noise=chosen.noise,
                b0_direction=b0_direction,
            )
        case "invert":
            made = susceptibility(
                *(chosen.field, chosen.mask),
                field_unit(chosen.field_units, chosen.field_strength),
                inversion=chosen.method,
                beside=Beside(magnitude=chosen.magnitude, noise=chosen.noise, csf=chosen.csf),
                b0_direction=b0_direction,
            )
        case _:
            raise ValueError(name)
    made.write(chosen.out)


def _in_ppm(made: StepResult, hz: FieldUnit) -> StepResult:
    """Return a field in Hz as one in ppm of the main field."""
    return replace(made, image=made.image.like(made.image.data * hz.ppm), units="ppm")


def _acquisition(chosen: Namespace) -> Acquisition:
    return Acquisition(
        echo_times_s=tuple(chosen.echo_times), field_strength_t=chosen.field_strength
    )


def r2star(
    magnitude: Sequence[Path],
    echo_times_s: Sequence[float],
    *,
    mask: Path | None = None,
    method: str = "exponential",
) -> StepResult:
    """Return R2* in 1/s from the magnitude of two or more echoes.

    Raises
    ------
    DataError
        The images do not belong together, or there is one echo.
    """
    echoes = _magnitude(magnitude)
    _check_echoes(echoes, echo_times_s)
    if len(echo_times_s) < 2:
        raise DataError("R2* needs two or more echoes, but one echo time was given.")
    inside = _mask(mask, echoes) if mask else _with_signal(echoes)
    relaxation = RELAXATIONS[method]()
    found = relaxation(echoes.data, inside, tuple(echo_times_s))
    return StepResult(
        image=echoes.like(found),
        units="1/s",
        method=relaxation,
        made_from={"magnitude": magnitude, "mask": [mask] if mask else []},
    )


def total_field(
    phase: Sequence[Path],
    magnitude: Sequence[Path],
    acquisition: Acquisition,
    *,
    mask: Path | None = None,
    unwrapping: str | None = None,
    b0_direction: Direction | None = None,
) -> StepResult:
    """Return the unwrapped total field in Hz from wrapped phase in rad and magnitude.

    Raises
    ------
    DataError
        The images do not belong together, or the phase is not in rad.
    """
    angles, sizes = _stacked(phase, b0_direction), _magnitude(magnitude, b0_direction)
    _check_same(angles, sizes, magnitude[0])
    _check_echoes(angles, acquisition.echo_times_s)
    span = float(np.ptp(angles.data[np.isfinite(angles.data)]))
    if not 1 < span <= MOST_SPAN_RAD:
        raise DataError(
            f"{phase[0]}: the phase spans {span:.4g}, expected one turn in rad (6.28); convert it."
        )
    measured = _with_signal(sizes) & np.isfinite(angles.data).all(axis=-1)
    inside = (_mask(mask, angles) if mask else measured) & measured
    fitting = choices.reconstruction(unwrapping=unwrapping).fitting
    found = fitting(sizes.data, angles.data, inside, angles.grid, acquisition)
    return StepResult(
        image=angles.like(found.frequency_hz),
        units="Hz",
        method=fitting,
        made_from={"phase": phase, "magnitude": magnitude, "mask": [mask] if mask else []},
    )


def local_field(
    field: Path,
    mask: Path,
    unit: FieldUnit,
    *,
    background: str | None = None,
    noise: Path | None = None,
    b0_direction: Direction | None = None,
) -> StepResult:
    """Return the field of the sources inside a mask from the total field, both in one unit.

    Raises
    ------
    DataError
        The images do not belong together.
    """
    total = _loaded(field, b0_direction)
    seen = _measurement(total, _mask(mask, total), unit.ppm, noise=noise)
    method = choices.reconstruction(background=background).background
    with transforms_on_all_threads():
        local = method(seen, total.grid)
    if not local.converged:
        log.warning("%s: background removal did not converge", field)
    return StepResult(
        image=total.like(local.field_ppm / unit.ppm),
        units=unit.name,
        method=method,
        made_from={"field": [field], "mask": [mask], "noise": [noise] if noise else []},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Images that an inversion may use beside the field.

    Attributes
    ----------
    magnitude
        Shows the edges that MEDI keeps; echoes are added as squares.
    noise
        Standard deviation of the field, in its unit.
    csf
        The fluid that MEDI+0 keeps uniform, and at zero.
    """

    magnitude: Sequence[Path] = ()
    noise: Path | None = None
    csf: Path | None = None


def susceptibility(
    field: Path,
    mask: Path,
    unit: FieldUnit,
    *,
    inversion: str | None = None,
    beside: Beside = Beside(),
    b0_direction: Direction | None = None,
) -> StepResult:
    """Return susceptibility in ppm from the local field.

    Raises
    ------
    DataError
        The images do not belong together.
    UsageError
        The method needs an image that was not given.
    """
    local = _loaded(field, b0_direction)
    method = choices.reconstruction(inversion=inversion).inversion
    if isinstance(method, Medi) and not beside.magnitude:
        raise UsageError("--inversion medi takes its edges from the magnitude; give --magnitude.")
    seen = _measurement(local, _mask(mask, local), unit.ppm, noise=beside.noise)
    if beside.magnitude:
        echoes = _magnitude(beside.magnitude)
        _check_same(local, echoes, beside.magnitude[0])
        seen = seen._replace(magnitude=np.sqrt(np.einsum("xyze,xyze->xyz", *2 * [echoes.data])))
    if beside.csf:
        seen = seen._replace(csf=_mask(beside.csf, local) & seen.mask)
    with transforms_on_all_threads():
        found = method(seen, local.grid)
    if not found.converged:
        log.warning("%s: the inversion did not converge", field)
    chi_ppm = found.chi_ppm
    if seen.csf.any():
        # A field tells susceptibility up to a constant; the fluid is where it is known.
        chi_ppm = np.where(seen.mask, chi_ppm - chi_ppm[seen.csf].mean(dtype=np.float64), 0)
    return StepResult(
        image=local.like(chi_ppm),
        units="ppm",
        method=method,
        made_from={
            "field": [field],
            "mask": [mask],
            "magnitude": beside.magnitude,
            "noise": [beside.noise] if beside.noise else [],
            "csf": [beside.csf] if beside.csf else [],
        },
    )


def _measurement(
    field: Image, mask: Mask, ppm_per_unit: np.float32, *, noise: Path | None
) -> Measurement:
    """Return a field and how well it is known: equally well everywhere where nothing is given."""
    known = mask & np.isfinite(field.data)
    deviation: Array = np.ones(field.shape, np.float32)
    if noise:
        given = _loaded(noise)
        _check_same(field, given, noise)
        # Zero is what programs write where they did not look.
        deviation = np.where(given.data > 0, given.data, np.inf).astype(np.float32)
    return Measurement(
        field_ppm=np.where(known, field.data, 0).astype(np.float32) * ppm_per_unit,
        noise_ppm=np.where(known, deviation, np.inf).astype(np.float32) * ppm_per_unit,
        magnitude=np.ones(field.shape, np.float32),
        mask=known,
        csf=np.zeros(field.shape, np.bool_),
    )


def _loaded(path: Path, b0_direction: Direction | None = None) -> Image:
    """Return an image of three dimensions, with the main field as the user states it."""
    image = nifti.load(path)
    if image.data.ndim != 3:
        raise DataError(f"{path}: shape {image.data.shape}, expected one volume.")
    return image if b0_direction is None else _towards(image, b0_direction)


def _stacked(paths: Sequence[Path], b0_direction: Direction | None = None) -> Image:
    """Return echoes as one image, (x, y, z, echo): of a 4-D file, or of one file an echo."""
    images = [nifti.load(path) for path in paths]
    for path, image in zip(paths[1:], images[1:], strict=True):
        _check_same(images[0], image, path)
    stacked = np.concatenate([np.atleast_3d(one.data).reshape(*one.shape, -1) for one in images], 3)
    whole = images[0].like(np.ascontiguousarray(stacked, np.float32))
    return whole if b0_direction is None else _towards(whole, b0_direction)


def _magnitude(paths: Sequence[Path], b0_direction: Direction | None = None) -> Image:
    """Return the echoes of a magnitude; raise where they cannot be one."""
    echoes = _stacked(paths, b0_direction)
    if not _with_signal(echoes).any():
        raise DataError(
            f"{paths[0]}: no voxel is above 0 in every echo, expected a magnitude; export it again."
        )
    # Interpolation leaves small negative values; a phase is negative in about half of its range.
    below, above = (np.abs(part).sum(dtype=np.float64) for part in _signs(echoes.data))
    if below > MOST_BELOW * above:
        raise DataError(
            f"{paths[0]}: values down to {np.nanmin(echoes.data):.4g}, expected a magnitude, which "
            "is never negative; is this the phase?"
        )
    return echoes


def _signs(values: Array) -> tuple[Array, Array]:
    """Return the negative and the positive part of values; what is no number is in neither."""
    return np.where(values < 0, values, 0), np.where(values > 0, values, 0)


def _towards(image: Image, b0_direction: Direction) -> Image:
    """Return the image with a main field along a direction of its voxel axes."""
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    world = axes @ np.asarray(b0_direction, np.float64)
    x, y, z = (world / np.linalg.norm(world)).tolist()
    return Image(image.data, image.affine, (x, y, z))


def _mask(path: Path, like: Image) -> Mask:
    image = _loaded(path)
    _check_same(like, image, path)
    inside: Mask = image.data > 0
    if not inside.any():
        raise DataError(f"{path}: the mask is empty, expected some voxels above 0.")
    return inside


def _with_signal(magnitude: Image) -> Mask:
    """Return where every echo has signal; scanners write zero where they masked."""
    return np.asarray((magnitude.data > 0).all(axis=-1))


def _check_same(first: Image, other: Image, path: Path) -> None:
    """Raise where two images do not lie on one grid."""
    if first.shape != other.shape or not np.allclose(first.affine, other.affine, atol=1e-3):
        raise DataError(
            f"{path}: its grid ({other.shape}) is not that of the first image ({first.shape}), "
            "expected equal shapes and affines; resample it."
        )


def _check_echoes(image: Image, echo_times_s: Sequence[float]) -> None:
    if image.data.shape[3] != len(echo_times_s):
        raise DataError(
            f"{image.data.shape[3]} echoes and {len(echo_times_s)} echo times were given; "
            "expected one echo time per echo."
        )
