"""A subject as FreeSurfer 7 leaves it: tables in its own format, with numbers a test knows."""

from __future__ import annotations

from pathlib import Path

# What the tables say: chosen, so that no two numbers are alike.
VOLUMES_MM3 = {
    (4, "Left-Lateral-Ventricle"): 5614.2,
    (10, "Left-Thalamus"): 8123.4,
    (16, "Brain-Stem"): 21044.3,
    (43, "Right-Lateral-Ventricle"): 4912.7,
    (49, "Right-Thalamus"): 7391.6,
    (251, "CC_Posterior"): 1003.9,
}
GRAY_MATTER_MM3, INTRACRANIAL_MM3 = 618273.415926, 1437215.182818
THICKNESS_MM = {"l": 2.41423, "r": 2.41736}
AREA_MM2 = {"l": 84314.7, "r": 85211.2}

GLOBAL = (
    ("BrainSeg", "BrainSegVol", "Brain Segmentation Volume", "1171206.000000", "mm^3"),
    ("Cortex", "CortexVol", "Total cortical gray matter volume", "449731.250000", "mm^3"),
    ("SubCortGray", "SubCortGrayVol", "Subcortical gray matter volume", "61917.000000", "mm^3"),
    ("TotalGray", "TotalGrayVol", "Total gray matter volume", f"{GRAY_MATTER_MM3:.6f}", "mm^3"),
    ("Mask", "MaskVol", "Mask Volume", "1690311.000000", "mm^3"),
    ("MaskVol-to-eTIV", "MaskVol-to-eTIV", "Ratio of MaskVol to eTIV", "1.176101", "unitless"),
    ("SurfaceHoles", "SurfaceHoles", "Total number of defect holes", "49", "unitless"),
    (
        *("EstimatedTotalIntraCranialVol", "eTIV", "Estimated Total Intracranial Volume"),
        *(f"{INTRACRANIAL_MM3:.6f}", "mm^3"),
    ),
)
ASEG_COLUMNS = ("Index", "SegId", "NVoxels", "Volume_mm3", "StructName", "normMean", "normStdDev")
APARC_COLUMNS = ("StructName", "NumVert", "SurfArea", "GrayVol", "ThickAvg", "ThickStd")


def write_tables(folder: Path) -> Path:
    """Write ``stats/aseg.stats`` and ``stats/?h.aparc.stats`` into the folder of a subject."""
    stats = folder / "stats"
    stats.mkdir(parents=True)
    (stats / "aseg.stats").write_text(_aseg())
    for side in ("l", "r"):
        (stats / f"{side}h.aparc.stats").write_text(_aparc(side))
    return folder


def _aseg() -> str:
    rows = [
        f"{row:>3} {index:>3} {round(volume):>9} {volume:>10.1f}  {name:<30} 27.3055    15.4437"
        for row, ((index, name), volume) in enumerate(VOLUMES_MM3.items(), 1)
    ]
    return _table(
        *("Title Segmentation Statistics ", "mri_segstats", "SegVolFile mri/aseg.mgz "),
        [_measure(*words) for words in GLOBAL],
        ASEG_COLUMNS,
        rows,
    )


def _aparc(side: str) -> str:
    measures = [
        _measure("Cortex", "NumVert", "Number of Vertices", "119204", "unitless"),
        _measure(
            *("Cortex", "WhiteSurfArea", "White Surface Total Area"), str(AREA_MM2[side]), "mm^2"
        ),
        _measure("Cortex", "MeanThickness", "Mean Thickness", str(THICKNESS_MM[side]), "mm"),
        *(_measure(*words) for words in GLOBAL),
    ]
    rows = [f"{name:<40} 1069    732   1536  2.144 0.501" for name in ("bankssts", "cuneus")]
    title = "Table of FreeSurfer cortical parcellation anatomical statistics "
    return _table(title, "mris_anatomical_stats", f"hemi {side}h", measures, APARC_COLUMNS, rows)


def _measure(*words: str) -> str:
    return f"# Measure {', '.join(words)}"


def _table(
    title: str,
    program: str,
    source: str,
    measures: list[str],
    columns: tuple[str, ...],
    rows: list[str],
) -> str:
    described = [
        f"# TableCol {number:>2} {kind} {name} "
        for number, name in enumerate(columns, 1)
        for kind in ("ColHeader", "FieldName", "Units    ")
    ]
    lines = [
        *(f"# {title}", "# ", f"# generating_program {program}", "# cvs_version 7.0.0"),
        *("# sysname  Linux", "# BrainVolStatsFixed-NotNeeded because voxelvolume=1mm3"),
        *(*measures, f"# {source}", *described, f"# NRows {len(rows)} "),
        *(f"# NTableCols {len(columns)} ", f"# ColHeaders  {' '.join(columns)}  ", *rows, ""),
    ]
    return "\n".join(lines)
