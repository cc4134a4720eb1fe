"""One gradient-echo scan as the sidecars describe it: which file is which echo and part."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.bids import gre_metadata, orientation
from bids_qsmthal.bids.dataset import GRE_SUFFIXES, GreFiles
from bids_qsmthal.bids.sidecars import entities_of, metadata
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply, voxel_sizes_mm
from bids_qsmthal.core.errors import DataError, InvalidBidsError, MissingInputError
from bids_qsmthal.core.scan_warnings import (
    AcquiredInSlices,
    DistortionCorrectedApart,
    NumbersAsText,
    PhaseMissing,
    ScanAfterContrast,
)
from bids_qsmthal.qsm import Acquisition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.bids.orientation import B0
    from bids_qsmthal.core.image import Affine, Image
    from bids_qsmthal.core.scan_warnings import ScanWarning

AFFINE_TOLERANCE_MM = 0.1
"""Echoes of one scan share a grid; headers differ by rounding only (a quaternion in single
precision moves the far corner of a head by up to 0.01 mm). A tenth of a voxel blurs nothing."""

PAIRS = (("mag", "phase"), ("real", "imag"))

SPELLINGS = {
    "mag": ("magnitude", "m", "abs"),
    "phase": ("ph", "pha", "phs", "p"),
    "real": ("re", "r"),
    "imag": ("imaginary", "im", "img", "i"),
}
"""Other words for the parts that BIDS knows."""

PHASE_LABELS = ("ImageType", "SeriesDescription", "ScanOptions", "ProtocolName")
"""Where sidecars say that a phase was filtered."""


@dataclass(frozen=True, slots=True)
class Echo:
    """Where one part of one echo is: a file, or a volume of it."""

    path: Path
    volume: int | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MagnitudeSeries:
    """The magnitude of a gradient-echo scan that has no phase; its timing is known.

    Attributes
    ----------
    first
        One image for each echo, in the order of the echo times.
    b0
        The main field in the world of the images.
    warnings
        What the headers leave in doubt.
    """

    name: str
    first: tuple[Echo, ...]
    acquisition: Acquisition
    manufacturer: str | None
    b0: B0
    warnings: tuple[ScanWarning, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """What each echo has, in the words of BIDS."""
        return ("mag",)

    @property
    def echoes(self) -> tuple[Echo, ...]:
        """Every part of every echo."""
        return self.first

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file once, in the order of reading."""
        return tuple(dict.fromkeys(echo.path for echo in self.echoes))


@dataclass(frozen=True, slots=True, kw_only=True)
class GreSeries(MagnitudeSeries):
    """A gradient-echo scan whose files are complete and whose timing is known.

    Attributes
    ----------
    pair
        ``("mag", "phase")`` or ``("real", "imag")``.
    first, second
        Magnitude and phase, or real and imaginary part, one for each echo.
    phase_labels
        What ``ImageType``, ``SeriesDescription`` and ``ScanOptions`` call the phase.
    """

    pair: tuple[str, str]
    second: tuple[Echo, ...]
    phase_units: str | None
    phase_labels: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """What each echo has, in the words of BIDS."""
        return self.pair

    @property
    def echoes(self) -> tuple[Echo, ...]:
        """Every part of every echo."""
        return (*self.first, *self.second)


def describe(
    files: GreFiles, root: Path, b0_direction: tuple[float, float, float] | None = None
) -> MagnitudeSeries:
    """Check that a scan is complete and read its timing, field and orientation.

    A scan of magnitude alone is a ``MagnitudeSeries``; one of which susceptibility can be made is a
    ``GreSeries``.

    Parameters
    ----------
    files
        The images of the scan.
    root
        Of the dataset.
    b0_direction
        The main field along the voxel axes, where the user gives it.

    Raises
    ------
    MissingInputError
        An echo, a part, or a piece of metadata is missing.
    DataError
        Shapes or affines differ between echoes, echo times make no sense, or the direction of the
        main field is unknown.
    InvalidBidsError
        Echoes are named as runs.
    """
    described = _describe(files, root, b0_direction)
    stored = (metadata(path, root) for path in described.paths)
    keys = gre_metadata.written_otherwise(stored)
    if not keys:
        return described
    doubt = NumbersAsText(", ".join(keys))
    return replace(described, warnings=(*described.warnings, doubt))


def _describe(
    files: GreFiles, root: Path, b0_direction: tuple[float, float, float] | None
) -> MagnitudeSeries:
    name = files.paths[0].name
    _check_runs_are_no_echoes(files, root)
    if files.magnitude_alone:
        by_part = _echoes_by_part(files.paths, root)
        if len(by_part["mag"]) > 1:
            _check_phase_not_misnamed(by_part, name)
            return _magnitude_alone(by_part["mag"], name, b0_direction)
    pair, first, second = echoes(files.paths, root)
    for part, found in zip(pair, (first, second), strict=True):
        _check_no_gap(found, f"{files.paths[0].parent}: part-{part}")
    _check_same_echoes(first, second, pair)
    _check_same_grid([*first, *second])
    of_phase = [echo.metadata for echo in second]
    described = _described(first, second, name, b0_direction)
    return GreSeries(
        name=name,
        pair=pair,
        first=first,
        second=second,
        acquisition=described.acquisition,
        manufacturer=described.manufacturer,
        phase_units=gre_metadata.one_word(of_phase, "Units", name),
        phase_labels=gre_metadata.words(of_phase, *PHASE_LABELS),
        b0=described.b0,
        warnings=described.warnings,
    )


def _check_runs_are_no_echoes(files: GreFiles, root: Path) -> None:
    """Raise where the runs of a session differ in their echo time: they are the echoes of one scan.

    Each would give a number of one echo, without R2* and without a phase offset.
    """
    runs = sorted((files.paths[0], *files.other_runs))
    times = [gre_metadata.with_numbers(metadata(path, root)).get("EchoTime") for path in runs]
    stated = [float(time) for time in times if gre_metadata.is_number(time)]
    # A scan that is repeated has its echo times again.
    if len(runs) < 2 or len(set(stated)) < len(runs):
        return
    times_ms = ", ".join(f"{1000 * time:.4g}" for time in stated)
    raise InvalidBidsError(
        f"{runs[0].name}: {len(runs)} runs of one echo each, at {times_ms} ms, which look like "
        "the echoes of one scan; replace run- by echo- in their names. If each is a separate "
        "scan, choose one with --run-label."
    )


def _magnitude_alone(
    echoes: list[Echo], name: str, b0_direction: tuple[float, float, float] | None
) -> MagnitudeSeries:
    """Describe a scan of two or more echoes that has no phase."""
    first = _ordered(echoes, name)
    _check_no_gap(first, f"{first[0].path.parent}: part-mag")
    _check_same_grid(first)
    described = _described(first, (), name, b0_direction)
    return replace(described, warnings=(PhaseMissing(), *described.warnings))


def _described(
    first: tuple[Echo, ...],
    second: tuple[Echo, ...],
    name: str,
    b0_direction: tuple[float, float, float] | None,
) -> MagnitudeSeries:
    """Return what sidecars and headers say of a scan, whatever its parts are."""
    described = [echo.metadata for echo in (*first, *second)]
    acquisition, doubt = _acquisition(first, described, name)
    # That of the phase, where there is one: susceptibility is made from it.
    source = (*second, *first)[0]
    b0 = orientation.main_field(source.path, source.metadata, b0_direction)
    agent = gre_metadata.contrast_agent(described)
    sliced = gre_metadata.words(described, "MRAcquisitionType") == ("2D",)
    doubts = (
        *(doubt, b0.warning, ScanAfterContrast(agent) if agent else None),
        *(AcquiredInSlices() if sliced else None, _corrected_apart(first, second)),
        *gre_metadata.geometry_doubts(described, _voxel_size_mm(source.path)),
    )
    return MagnitudeSeries(
        name=name,
        first=first,
        acquisition=acquisition,
        manufacturer=gre_metadata.one_word(described, "Manufacturer", name),
        b0=b0,
        warnings=tuple(warning for warning in doubts if warning is not None),
    )


def echoes(
    paths: Sequence[Path], root: Path
) -> tuple[tuple[str, str], tuple[Echo, ...], tuple[Echo, ...]]:
    """Return what the two parts of a scan are, and both by echo time; voxels are not read.

    Raises
    ------
    MissingInputError
        A part or an echo time is missing.
    DataError
        Echo times make no sense.
    """
    name = paths[0].name
    found = _echoes_by_part(paths, root)
    parts = _pair(found, name)
    first, second = (_ordered(found[part], name) for part in parts)
    return parts, first, second


def _voxel_size_mm(path: Path) -> list[float]:
    sizes: list[float] = voxel_sizes_mm(nifti.shape_and_affine(path)[1]).tolist()
    return sizes


DISTORTION = frozenset({"DIS2D", "DIS3D", "ND"})
"""Words of ImageType: corrected for distortion in two or three dimensions, or not."""


def _corrected_apart(
    first: Sequence[Echo], second: Sequence[Echo]
) -> DistortionCorrectedApart | None:
    """Return a warning where magnitude and phase went through other distortion corrections."""
    said = [
        {word.upper() for word in gre_metadata.words([echo.metadata for echo in part], "ImageType")}
        & DISTORTION
        for part in (first, second)
    ]
    # A header that is silent contradicts nothing.
    if not all(said) or said[0] == said[1]:
        return None
    return DistortionCorrectedApart(*(", ".join(sorted(words)) for words in said))


def _acquisition(
    first: Sequence[Echo], described: Sequence[dict[str, Any]], name: str
) -> tuple[Acquisition, ScanWarning | None]:
    """Return timing and field, and a warning where frequency and field strength disagree."""
    try:
        nominal = Acquisition(
            echo_times_s=tuple(_echo_time_s(echo) for echo in first),
            field_strength_t=gre_metadata.field_strength_t(described, name),
        )
    except DataError as error:
        raise DataError(f"{name}: {error} Correct its sidecar.") from error
    frequency_hz, doubt = gre_metadata.imaging_frequency_hz(
        described, nominal.nominal_frequency_hz, name
    )
    return replace(nominal, imaging_frequency_hz=frequency_hz), doubt


def _echoes_by_part(paths: Sequence[Path], root: Path) -> dict[str, list[Echo]]:
    found: dict[str, list[Echo]] = defaultdict(list)
    for path in paths:
        part = dict(entities_of(path)[0]).get("part", "mag")
        sidecar = gre_metadata.with_numbers(metadata(path, root))
        times = sidecar.get("EchoTime")
        _check_volumes(path, times)
        if isinstance(times, list):
            # A 4-D file with a list of echo times: each volume becomes an echo with its own time.
            found[part] += [
                Echo(path, volume, {**sidecar, "EchoTime": time})
                for volume, time in enumerate(times)
            ]
        else:
            found[part].append(Echo(path, None, sidecar))
    return found


def _check_volumes(path: Path, times: object) -> None:
    shape, _ = nifti.shape_and_affine(path)
    # The product over nothing is 1: a 3-D file is one volume.
    volumes = math.prod(shape[3:])
    if isinstance(times, list) and len(times) != volumes:
        raise DataError(
            f"{path.name}: EchoTime lists {len(times)} times but the file holds {volumes} "
            "volumes, expected one for each; correct the JSON file."
        )
    if not isinstance(times, list) and volumes > 1:
        raise MissingInputError(
            f"{path.name}: {volumes} volumes but EchoTime is {gre_metadata.shown(times)}, expected "
            "a list of seconds, one for each volume; add it to the JSON file."
        )


def _pair(echoes: dict[str, list[Echo]], name: str) -> tuple[str, str]:
    for pair in PAIRS:
        if all(echoes.get(part) for part in pair):
            return pair
    have = ", ".join(f"part-{part}" for part in sorted(echoes))
    renamed = [
        f"part-{found} to part-{part}"
        for part, words in SPELLINGS.items()
        for found in sorted(echoes)
        if found.lower() in (*words, part) and found != part
    ]
    if renamed:
        raise MissingInputError(
            f"{name}: the scan has only {have}, expected part-mag with part-phase, or part-real "
            f"with part-imag; rename {' and '.join(renamed)}."
        )
    _check_phase_not_misnamed(echoes, name)
    raise MissingInputError(
        f"{name}: the scan has only {have}; susceptibility needs part-mag with part-phase, "
        "or part-real with part-imag, and R2* two echoes or more. Export what is missing."
    )


def _check_phase_not_misnamed(echoes: dict[str, list[Echo]], name: str) -> None:
    """Raise where what a scan lacks seems to lie beside it under another name."""
    have = ", ".join(f"part-{part}" for part in sorted(echoes))
    lacking = {"mag": "phase", "phase": "mag", "real": "imag", "imag": "real"}
    elsewhere = [
        other
        for part in sorted(echoes)
        for other in _of_part(next(iter(echoes.values()))[0].path.parent, lacking.get(part, ""))
    ]
    if len(echoes) == 1 and elsewhere:
        raise MissingInputError(
            f"{name}: the scan has only {have}, but {elsewhere[0]} lies beside it with other "
            "entities; if both belong to one scan, give them the same acq, rec, dir and run."
        )
    similar = _like_phase(next(iter(echoes.values()))[0].path.parent)
    if similar and set(echoes) == {"mag"}:
        raise MissingInputError(
            f"{name}: the scan has only part-mag, but {', '.join(similar)} look like its phase; "
            "rename them to the name of the magnitude with part-phase in place of part-mag."
        )


def _of_part(folder: Path, part: str) -> list[str]:
    """Return the gradient echoes of a folder that have a part in their names."""
    found = (path.name for suffix in GRE_SUFFIXES for path in folder.glob(f"*_{suffix}.nii*"))
    return sorted(name for name in found if f"_part-{part}_" in name and name[0] != ".")


def _like_phase(folder: Path, most: int = 4) -> list[str]:
    """Return images of a folder whose names speak of phase in words that BIDS does not have."""
    names = (path.name for path in folder.glob("*.nii*") if not path.name.startswith("."))
    found = [name for name in names if "part-" not in name and re.search(r"_ph(ase)?[_.]", name)]
    return sorted(found)[:most]


def _echo_time_s(echo: Echo) -> float:
    time = echo.metadata.get("EchoTime")
    if not gre_metadata.is_number(time):
        what = "add EchoTime to" if time is None else "correct EchoTime in"
        raise MissingInputError(
            f"{echo.path.name}: EchoTime in its sidecar is {gre_metadata.shown(time)}, expected "
            f"seconds, as a number without quotes, such as 0.005; {what} the JSON file."
        )
    return float(time)


def _ordered(echoes: list[Echo], name: str) -> tuple[Echo, ...]:
    ordered = sorted(echoes, key=_echo_time_s)
    times = [_echo_time_s(echo) for echo in ordered]
    if len(set(times)) < len(times):
        files = ", ".join(dict.fromkeys(echo.path.name for echo in ordered))
        raise DataError(
            f"{name}: echoes with the same EchoTime {times} s ({files}), expected each once; "
            "remove the duplicate or correct its sidecar."
        )
    # The times decide; a file number that contradicts them shows that a sidecar is wrong.
    by_number = sorted(echoes, key=_echo_number)
    if by_number != ordered:
        raise DataError(
            f"{name}: echo times {[_echo_time_s(echo) for echo in by_number]} s do not ascend "
            "with the echo numbers of the file names; correct the sidecars."
        )
    return tuple(ordered)


def _echo_number(echo: Echo) -> int:
    if echo.volume is not None:
        return echo.volume
    number = dict(entities_of(echo.path)[0]).get("echo", "0")
    return int(number) if number.isdigit() else 0


def _check_no_gap(echoes: Sequence[Echo], where: str) -> None:
    """Raise where the numbers of the file names leave one out."""
    numbers = [_echo_number(echo) for echo in echoes if echo.volume is None]
    # Some converters count from 0. A gap would go unnoticed: any set of echo times can be fitted.
    if numbers not in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
        raise MissingInputError(
            f"{where} has the echoes {', '.join(map(str, numbers))}, expected 1 to "
            f"{max(numbers)}: an echo is missing; add it, or renumber the others."
        )


def _check_same_echoes(
    first: tuple[Echo, ...], second: tuple[Echo, ...], parts: tuple[str, str]
) -> None:
    times = [[_echo_time_s(echo) for echo in part] for part in (first, second)]
    # A microsecond allows for rounding and is far below any echo spacing.
    if len(times[0]) != len(times[1]) or not np.allclose(times[0], times[1], rtol=0, atol=1e-6):
        raise MissingInputError(
            f"{first[0].path.name}: part-{parts[0]} has echo times {times[0]} s but "
            f"part-{parts[1]} has {times[1]} s; an echo is missing or a sidecar is wrong."
        )


def _check_same_grid(echoes: Sequence[Echo]) -> None:
    reference, affine = nifti.shape_and_affine(echoes[0].path)
    for echo in echoes:
        shape, other = nifti.shape_and_affine(echo.path)
        if shape[:3] != reference[:3]:
            raise DataError(
                f"{echo.path.name}: shape {shape[:3]} differs from {reference[:3]} of "
                f"{echoes[0].path.name}; all echoes and parts must share one grid."
            )
        apart_mm = _farthest_mm(affine, other, reference)
        if apart_mm > AFFINE_TOLERANCE_MM:
            raise DataError(
                f"{echo.path.name}: its affine differs from that of {echoes[0].path.name} by up to "
                f"{apart_mm:.3g} mm; all echoes and parts must share one grid."
            )
    if min(reference[:3]) < 2:
        raise DataError(f"{echoes[0].path.name}: shape {reference} is 2-D, expected a volume.")


def _farthest_mm(affine: Affine, other: Affine, shape: Sequence[int]) -> float:
    """Return how far two affines put the same voxel apart, at most over a grid."""
    # Affine maps differ most at a corner.
    corners = np.stack(np.meshgrid(*([0, n - 1] for n in shape[:3]), indexing="ij"), -1)
    steps = apply(other, corners.reshape(-1, 3)) - apply(affine, corners.reshape(-1, 3))
    return float(np.linalg.norm(steps, axis=1).max())


def load(series: GreSeries) -> tuple[NDArray[np.float32], NDArray[np.float32], Affine]:
    """Read every echo; ``series.b0`` is the main field in the world of the affine.

    Returns
    -------
    first, second
        Magnitude and phase as stored (or real and imaginary part), shape (x, y, z, echo).
    affine
        Voxel indices to RAS+ mm.

    Raises
    ------
    DataError
        A file is damaged, or an echo holds nothing.
    """
    # Each file once, although every echo of a 4-D file names it.
    images = _loaded(series.paths)
    first, second = (_stacked(part, images) for part in (series.first, series.second))
    return first, second, images[series.first[0].path].affine


def load_magnitude(series: MagnitudeSeries) -> tuple[NDArray[np.float32], Affine]:
    """Read the magnitude of every echo as stored, shape (x, y, z, echo), and its affine.

    Raises
    ------
    DataError
        A file is damaged, or an echo holds nothing.
    """
    images = _loaded(series.paths)
    return _stacked(series.first, images), images[series.first[0].path].affine


READERS = 2
"""Files that are inflated at a time: more wait for the disk, and for the memory of the machine."""


def _loaded(paths: Sequence[Path]) -> dict[Path, Image]:
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(paths, pool.map(nifti.load, paths), strict=True))


def _stacked(echoes: Sequence[Echo], images: Mapping[Path, Image]) -> NDArray[np.float32]:
    volumes = [volume(images[echo.path].data, echo) for echo in echoes]
    whole = np.empty((*volumes[0].shape, len(volumes)), np.float32)
    # Plane by plane: the echoes of a voxel lie side by side, and a plane of them in the cache.
    for x, plane in enumerate(whole):
        np.stack([one[x] for one in volumes], axis=-1, out=plane)
    return whole


def volume(data: NDArray[Any], echo: Echo) -> NDArray[Any]:
    """Return one echo of what its file holds; raise ``DataError`` where it holds nothing."""
    found: NDArray[Any] = data if echo.volume is None else data[..., echo.volume]
    finite = np.isfinite(found)
    if not finite.any():
        raise DataError(
            f"{echo.path.name}: no voxel holds a number, expected a signal; export it again."
        )
    # Empty exports are constant; their phase would pass as a perfect fit.
    if found[finite].min() == found[finite].max():
        raise DataError(
            f"{echo.path.name}: every voxel is {found[finite][0]:g}, expected a signal; "
            "export the image again."
        )
    return found
