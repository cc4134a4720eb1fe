"""Score the FLAIR segmentation of one head against a manual mask.

python benchmarks/lesions.py --t1w T1w.nii.gz --flair FLAIR.nii.gz --truth mask.nii.gz
    --brain brain.nii.gz --priors GM.nii.gz WM.nii.gz CSF.nii.gz --labels dseg.nii.gz
    [--flair-to-t1w matrix.txt]

All but FLAIR on the grid of the T1w; the matrix takes the world of FLAIR to that of the T1w.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from bids_qsmthal import lesions, nifti
from bids_qsmthal.lesions.growth import components


def score(found: np.ndarray, truth: np.ndarray, voxel_mm3: float) -> dict[str, float]:
    """Return overlap, volumes in mL, and lesions of at least 10 mm3 hit, missed and invented."""
    both = (found & truth).sum()
    true_labels, true_count = components(truth)
    size_mm3 = np.bincount(true_labels.ravel(), minlength=true_count + 1)[1:] * voxel_mm3
    hit = np.isin(np.arange(1, true_count + 1), true_labels[found])
    labels, count = components(found)
    return {
        "dice": 2 * both / max(1, found.sum() + truth.sum()),
        "sensitivity": both / max(1, truth.sum()),
        "precision": both / max(1, found.sum()),
        "volume_ml": found.sum() * voxel_mm3 / 1000,
        "true_volume_ml": truth.sum() * voxel_mm3 / 1000,
        "lesions_hit": int((hit & (size_mm3 >= 10)).sum()),
        "lesions_true": int((size_mm3 >= 10).sum()),
        "lesions_false": count - len(np.setdiff1d(np.unique(labels[truth]), [0])),
    }


def main() -> None:
    """Segment, score, print."""
    words = argparse.ArgumentParser(description=__doc__)
    for name in ("t1w", "flair", "truth", "brain", "labels"):
        words.add_argument(f"--{name}", type=Path, required=True)
    words.add_argument("--priors", type=Path, nargs=3, required=True)
    words.add_argument("--flair-to-t1w", type=Path)
    given = words.parse_args()
    gm, wm, csf = (nifti.load(path) for path in given.priors)
    context = lesions.Context(
        brain=nifti.load(given.brain),
        prior_gm=gm,
        prior_wm=wm,
        prior_csf=csf,
        labels=nifti.load(given.labels),
    )
    matrix = None if given.flair_to_t1w is None else np.loadtxt(given.flair_to_t1w)
    t1w, flair, truth = (nifti.load(p) for p in (given.t1w, given.flair, given.truth))
    start = time.process_time()
    found = lesions.segment_flair(flair, t1w, context, flair_to_t1w=matrix)
    print(f"cpu_s: {time.process_time() - start:.1f}")
    for name, value in score(found.mask.data, truth.data > 0, t1w.voxel_volume_mm3).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
