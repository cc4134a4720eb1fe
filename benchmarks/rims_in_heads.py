"""How well rims are told in whole heads, in the lesions that the app found itself.

``python benchmarks/rims_in_heads.py FOLDER OUT.tsv [--seed S] [--least-edges N]``

FOLDER is one of ``benchmarks/cohort.py``: simulated people, their truth, and what the app made of
them. Susceptibility is added to the true lesions (a third get a rim of 20 to 80 ppb and one to two
voxels, a third are solid with 15 to 60 ppb), its field to the local field that the app found, and
the default inversion is run anew. Then each lesion is asked with its true mask and with that of the
app. What this leaves out: the added sources are not in the phase, so background removal is spared.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rims import ASKED, areas, by_visibility
from scipy import ndimage

from bids_qsmthal.anatomy.ants_bridge import read_itk_affine_text
from bids_qsmthal.core import nifti
from bids_qsmthal.core.grid import Array, Grid
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.qsm import Acquisition
from bids_qsmthal.qsm.inversion import Medi
from bids_qsmthal.qsm.measurement import Measurement
from bids_qsmthal.roi import LesionScan, RimRule, measured_lesions
from bids_qsmthal.roi.morphology import signed_depth_mm
from bids_qsmthal.simulate.fields import dipole_field
from bids_qsmthal.simulate.rims import RIM_PPB, SOLID_PPB, LesionKind

LEAST_EDGES = 2.0
"""Depth of the true lesions that get sources, in voxels of the gradient echo: a rim of one voxel
then leaves as much inside. Many lesions of these heads are long and thin, or confluent."""

FINER = 2
"""Points along each edge of a voxel on which sources are drawn."""

SAME = 0.5
"""Share of a found lesion that one true lesion must cover to be the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What the app made of a person, and the true lesions."""

    made: Path
    stem: str
    truth: Path
    raw: Path

    def image(self, ending: str) -> Image:
        """Return an output."""
        return nifti.load(self.made / f"{self.stem}_{ending}.nii.gz")

    @property
    def gre_to_t1w(self) -> Affine:
        """A point of the gradient echo's world in that of T1w."""
        name = f"{self.stem}_from-T1w_to-MEGRE_mode-image_xfm.txt"
        return read_itk_affine_text((self.made / name).read_text())

    @property
    def true_lesions(self) -> Image:
        """Number of each true lesion, on T1w."""
        mask = nifti.load(self.truth / f"{self.stem}_space-T1w_label-lesion_mask.nii.gz")
        return mask.like(ndimage.label(mask.data > 0, np.ones((3, 3, 3)))[0].astype(np.int32))

    def magnitude(self) -> tuple[Image, Acquisition]:
        """Return the root sum of squares of the echoes, and the scan."""
        # Of a signal in real and imaginary parts, both count.
        parts = sorted(
            path
            for path in (self.raw / "anat").glob("*_MEGRE.nii.gz")
            if not path.name.endswith("_part-phase_MEGRE.nii.gz")
        )
        echoes = [nifti.load(path) for path in parts]
        sidecars = (path.with_name(path.name.replace(".nii.gz", ".json")) for path in parts)
        told = [json.loads(path.read_text()) for path in sidecars]
        combined = np.sqrt(sum(echo.data**2 for echo in echoes)).astype(np.float32)
        scan = Acquisition(
            echo_times_s=tuple(sorted({one["EchoTime"] for one in told})),
            field_strength_t=told[0]["MagneticFieldStrength"],
        )
        return echoes[0].like(combined), scan


def added_ppb(
    lesions: Image, edge_mm: float, least_edges: float, generator: np.random.Generator
) -> tuple[Image, dict[int, LesionKind]]:
    """Return sources on T1w, and what each true lesion that is large enough became."""
    size_mm = lesions.grid.voxel_size_mm
    chi = np.zeros(lesions.shape, np.float32)
    kinds = {}
    for number in range(1, int(lesions.data.max()) + 1):
        mask = lesions.data == number
        depth_mm = signed_depth_mm(mask, size_mm)
        deepest_mm = float(depth_mm.max())
        if deepest_mm < least_edges * edge_mm:
            continue
        kind = LesionKind(int(generator.integers(3)))
        kinds[number] = kind
        if kind is LesionKind.SOLID:
            chi[mask] = generator.uniform(*SOLID_PPB)
        if kind is LesionKind.RIM:
            width_mm = min(edge_mm * generator.uniform(1, 2), deepest_mm / 2)
            # Shares of a voxel: on a grid of 1 mm a sharp rim would be one or two voxels wide.
            share = np.clip(0.5 + width_mm - depth_mm, 0, 1)
            chi[mask] = (generator.uniform(*RIM_PPB) * share)[mask]
    return lesions.like(chi), kinds


def field_of(chi: Image, onto: Image, world: Affine) -> Array:
    """Return the field of sources on T1w at the voxels of the gradient echo, unit of ``chi``."""
    finer = np.diag([*[1 / FINER] * 3, 1.0])
    finer[:3, 3] = (1 / FINER - 1) / 2
    shape = tuple(FINER * n for n in onto.shape)
    points = Image(np.zeros(shape, np.float32), onto.affine @ finer, onto.b0_direction)
    sources = resample(chi, points, world=world).data
    field = dipole_field(sources, points.grid)
    x, y, z = onto.shape
    blocks = field.reshape(x, FINER, y, FINER, z, FINER)
    means: Array = blocks.mean(axis=(1, 3, 5)).astype(np.float32)
    return means


def rows(head: Head, least_edges: float, generator: np.random.Generator) -> list[dict[str, object]]:
    """Return a row a lesion that was asked, by true and by own masks."""
    magnitude, scan = head.magnitude()
    truth, world = head.true_lesions, head.gre_to_t1w
    mask = head.image("space-MEGRE_desc-qsm_mask").data > 0
    reference = head.image("space-MEGRE_label-CSF_desc-reference_mask")
    edge_mm = min(magnitude.grid.voxel_size_mm[:2])
    sources, kinds = added_ppb(truth, edge_mm, least_edges, generator)
    per_hz = np.float32(1e6 / scan.centre_frequency_hz)
    noise_hz = head.image("desc-noise_fieldmap").data
    noise_ppm = np.where(noise_hz > 0, noise_hz * per_hz, np.inf).astype(np.float32)
    local_ppm = head.image("desc-local_fieldmap").data * per_hz
    local_ppm = local_ppm + np.where(mask, field_of(sources, magnitude, world), 0) / np.float32(1e3)
    grid: Grid = magnitude.grid
    seen = Measurement(local_ppm, noise_ppm, magnitude.data, mask, reference.data > 0)
    chi_ppm = Medi()(seen, grid).chi_ppm
    made: list[dict[str, object]] = []
    own = head.image("space-T1w_desc-lesions_dseg")
    for name, labels in (("true", truth), ("own", own.like(own.data.astype(np.int32)))):
        found = measured_lesions(
            LesionScan(
                labels=labels,
                white=head.image("space-T1w_label-WM_probseg"),
                gre_to_t1w=world,
                chi_ppm=magnitude.like(chi_ppm),
                field_ppm=magnitude.like(local_ppm),
                noise_ppm=magnitude.like(noise_ppm),
                usable=magnitude.like(mask),
                veins=head.image("space-MEGRE_label-vein_mask"),
                reference=reference,
            ),
            rule=RimRule(),
        )
        for row in found.table.dropna(subset="rim_probability").to_dict("records"):
            number = same(labels.data == row["id"], truth.data)
            if number in kinds:
                made.append(
                    {"head": head.stem, "mask": name, "rim": kinds[number] is LesionKind.RIM}
                    | {"true_lesion": number, "kind": int(kinds[number])}
                    | {key: row[key] for key in ("id", *ASKED)}
                )
    return made


def same(lesion: NDArray[np.bool_], truth: NDArray[np.int32]) -> int:
    """Return the number of the true lesion that a lesion is; 0 for none."""
    counts = np.bincount(truth[lesion])
    counts[0] = 0
    best = int(counts.argmax())
    return best if counts[best] > SAME * lesion.sum() else 0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least-edges", type=float, default=LEAST_EDGES)
    asked = parser.parse_args()
    made: list[dict[str, object]] = []
    for place in sorted((asked.folder / "derivatives").glob("sub-*/anat")):
        stem = place.parent.name
        head = Head(place, stem, asked.folder / "truth" / stem, asked.folder / "bids" / stem)
        generator = np.random.default_rng([asked.seed, int(stem.removeprefix("sub-"))])
        made += rows(head, asked.least_edges, generator)
        print(stem, len(made), flush=True)
    table = pd.DataFrame(made)
    table.to_csv(asked.out, sep="\t", index=False)
    # The app takes confluent lesions apart: a true lesion has a rim if a part of it has one.
    keys = ["mask", "head", "true_lesion", "rim"]
    table["shown"] = np.isfinite(table["rim_visible_ppb"])
    parts = table.groupby(keys, as_index=False)[["rim_probability", "shown"]].max()
    for name, group in parts.groupby("mask"):
        rim, p = group["rim"].to_numpy(bool), group["rim_probability"].to_numpy()
        roc, precision = areas(rim, p)
        called = p >= RimRule().threshold
        false = (called & ~rim).sum() / group["head"].nunique()
        print(f"{name}: {rim.size} lesions, {rim.sum()} rims, ROC {roc:.3f}, PR {precision:.3f},")
        print(f"  found {(called & rim).sum() / rim.sum():.2f}, false a head {false:.2f}")
        print("  " + by_visibility(rim, called, group["shown"].to_numpy(bool)))


if __name__ == "__main__":
    main()
