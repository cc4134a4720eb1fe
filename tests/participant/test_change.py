"""The change of a person over visits, from what finished sessions left."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from bids_qsmthal.anatomy import itk_affine_text
from bids_qsmthal.anatomy.visits import HalfWay, VisitFrame
from bids_qsmthal.bids import manifest
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant import change
from bids_qsmthal.settings import Resources, Selection, Settings

SHAPE = (48, 48, 40)


def _ball(centre, radius_mm):
    axes = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    away = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)))
    return np.clip(0.5 + (radius_mm - away), 0, 1)


def _image(data):
    return Image(np.asarray(data, np.float32), lattice(1.0, (0.0, 0.0, 0.0)))


def write_visit(out, session, seed, *, ventricle_mm=5.0, chi_ppb=-20.0, with_gre=True):
    """Write the outputs of one session: a head of balls, and its manifest."""
    name = f"sub-01_ses-{session}"
    folder = out / "sub-01" / f"ses-{session}" / "anat"
    brain, white = _ball((24, 24, 20), 18.0), _ball((24, 24, 20), 16.5)
    thalami = [_ball((x, 17, 20), 6.0) for x in (16, 32)]
    ventricles = [_ball((x, 33, 20), ventricle_mm) for x in (16, 32)]
    csf = 1 - brain + sum(ventricles)
    wm = white * (1 - sum(thalami) - sum(ventricles))
    gm = brain - white + sum(thalami)
    signal = ndimage.gaussian_filter(0.3 * csf + 0.8 * gm + 1.1 * wm, 0.6)
    noise = np.random.default_rng(seed).normal(0, 0.01, SHAPE)
    labels = sum(
        index * (part > 0.5)
        for index, part in zip((10, 49, 4, 43), [*thalami, *ventricles], strict=True)
    )
    images = {
        "desc-preproc_T1w": signal + noise,
        "space-T1w_desc-brain_mask": brain > 0.5,
        "space-T1w_label-GM_probseg": gm,
        "space-T1w_label-WM_probseg": wm,
        "space-T1w_label-CSF_probseg": csf,
        "space-T1w_desc-deepgray_dseg": labels,
    }
    if with_gre:
        both = (thalami[0] > 0.9) + 2 * (thalami[1] > 0.9)
        images |= {
            "Chimap": 1e-3 * chi_ppb * (both > 0),
            "space-MEGRE_label-thalamus_desc-final_mask": both,
            "space-MEGRE_label-CSF_desc-reference_mask": sum(ventricles) > 0.9,
        }
    made = []
    for ending, data in images.items():
        made.append(folder / f"{name}_{ending}.nii.gz")
        nifti.save(_image(data), made[-1])
    if with_gre:
        way = folder / f"{name}_from-T1w_to-MEGRE_mode-image_xfm.txt"
        way.write_text(itk_affine_text(np.eye(4)), encoding="utf-8")
        rows = [("chi_relative_csf_se", "thalamus", side, 1.5) for side in ("L", "R", "LR")]
        table = pd.DataFrame(rows, columns=["measure", "region", "hemisphere", "value"])
        table.to_csv(folder / f"{name}_desc-qsmthal_measures.tsv", sep="\t", index=False)
        made += [way, folder / f"{name}_desc-qsmthal_measures.tsv"]
    manifest.finish(out, name, name, made)


def _same_place(scans):
    """Stand in for the registration: the visits lie in one place."""
    return VisitFrame(
        brain=scans[0].brain,
        to_visits=(np.eye(4),) * len(scans),
        gains=(np.zeros(20),) * len(scans),
        correlations=(0.99,) * len(scans),
        residual=0.01,
        settings=HalfWay(),
    )


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A dataset's table of sessions, an output folder and the settings of a run."""
    monkeypatch.setattr(change, "visit_frame", _same_place)
    bids, out = tmp_path / "bids", tmp_path / "out"
    (bids / "sub-01").mkdir(parents=True)
    (out / "logs").mkdir(parents=True)
    # Not in the order of their labels: ses-a was the last.
    (bids / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tacq_time\nses-a\t2022-01-01T10:00:00\nses-b\t2020-01-01T10:00:00\n"
        "ses-c\t2021-01-01T10:00:00\n"
    )
    return Settings(
        bids_dir=bids,
        output_dir=out,
        work_dir=tmp_path / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=2**32),
        longitudinal=True,
    )


def _changes(settings):
    change.process(Session(root=settings.bids_dir, subject="01"), settings)
    path = settings.output_dir / "sub-01/anat/sub-01_desc-qsmthal_change.tsv"
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def test_visits_are_compared_in_the_order_of_time_with_truth_in_every_row(study):
    out = study.output_dir
    write_visit(out, "b", 1, ventricle_mm=5.0, chi_ppb=-20.0)
    write_visit(out, "c", 2, ventricle_mm=5.2, chi_ppb=-16.0)
    write_visit(out, "a", 3, ventricle_mm=5.4, chi_ppb=-8.0)
    table = _changes(study)
    pairs = list(dict.fromkeys(zip(table["session_from"], table["session_to"], strict=True)))
    assert pairs == [("ses-b", "ses-c"), ("ses-c", "ses-a"), ("ses-b", "ses-a")]
    described = json.loads((out / "sub-01/anat/sub-01_desc-qsmthal_change.json").read_text())
    assert list(described) == list(table.columns)
    listed = {entry.path for entry in manifest.read_of(out, "sub-01")}
    assert "sub-01/anat/sub-01_desc-qsmthal_change.tsv" in listed

    chi = table[(table["measure"] == "chi_relative_csf") & (table["hemisphere"] == "LR")]
    assert chi["change"].tolist() == pytest.approx([4.0, 8.0, 12.0], abs=1e-3)
    assert chi["change_se"].tolist() == pytest.approx([1.5 * 2**0.5] * 3)
    assert chi["reliable"].tolist() == ["no", "yes", "yes"]
    # 366, 365 and 731 days.
    assert chi["years"].tolist() == pytest.approx([366 / 365.25, 365 / 365.25, 731 / 365.25])
    assert chi["change_per_year"].tolist() == pytest.approx(
        [4 * 365.25 / 366, 8 * 365.25 / 365, 12 * 365.25 / 731], abs=1e-3
    )
    grown = table[(table["region"] == "lateral_ventricle") & (table["hemisphere"] == "LR")]
    sizes = [sum(_ball((x, 33, 20), r).sum() for x in (16, 32)) for r in (5.0, 5.2, 5.4)]
    true = [sizes[1] - sizes[0], sizes[2] - sizes[1], sizes[2] - sizes[0]]
    assert grown["change"].tolist() == pytest.approx(true, rel=0.15)
    assert set(grown["reliable"]) == {"yes"}
    thalami = table[(table["region"] == "thalamus") & (table["measure"] == "volume")]
    assert (thalami["change_percent"].abs() < 1.0).all()


def test_without_dates_nothing_is_given_per_year(study, caplog):
    (study.bids_dir / "sub-01" / "sub-01_sessions.tsv").unlink()
    for session, seed in (("10", 1), ("2", 2)):
        write_visit(study.output_dir, session, seed, with_gre=False)
    table = _changes(study)
    assert set(zip(table["session_from"], table["session_to"], strict=True)) == {
        ("ses-2", "ses-10")
    }
    assert table["change_per_year"].isna().all()
    assert set(table["measure"]) == {"volume"}
    assert "no acq_time of ses-2, ses-10" in caplog.text


def test_another_person_under_the_label_is_named(study, monkeypatch):
    for session in "abc":
        write_visit(study.output_dir, session, 1 + ord(session), with_gre=False)

    def stranger(scans):
        frame = _same_place(scans)
        return VisitFrame(
            brain=frame.brain,
            to_visits=frame.to_visits,
            gains=frame.gains,
            correlations=(0.97, 0.96, 0.4),
            residual=0.1,
            settings=HalfWay(),
        )

    monkeypatch.setattr(change, "visit_frame", stranger)
    with pytest.raises(DataError, match=r"ses-a does not match the other visits.*0\.40"):
        _changes(study)


def test_a_borrowed_t1w_is_no_visit(study):
    for session in "ab":
        write_visit(study.output_dir, session, 7, with_gre=False)
    with pytest.raises(DataError, match="visits with a finished T1w: ses-b; expected two"):
        _changes(study)


def test_who_is_compared_has_two_finished_visits_that_are_asked_for(study):
    sessions = [
        Session(root=study.bids_dir, subject=subject, session=session)
        for subject, session in (("01", "a"), ("01", "b"), ("02", "a"), ("03", None))
    ]
    assert change.people(sessions, study) == []
    for session in "ab":
        write_visit(study.output_dir, session, 7, with_gre=False)
    (found,) = change.people(sessions, study)
    assert (found.name, found.session) == ("sub-01", None)
    asked = Settings(
        bids_dir=study.bids_dir,
        output_dir=study.output_dir,
        work_dir=study.work_dir,
        resources=study.resources,
        selection=Selection(sessions=("a",)),
    )
    assert change.people(sessions, asked) == []
