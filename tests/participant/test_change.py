"""The change of a person over visits, from what finished sessions left."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from bids_qsmthal import participant
from bids_qsmthal.anatomy import itk_affine_text
from bids_qsmthal.anatomy.visits import HalfWay, VisitFrame
from bids_qsmthal.bids import manifest
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.errors import DataError, ExitCode, UnusableScanError
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


LESION = {number: _ball((24, 30 - 8 * number, 20), 2.5) > 0.5 for number in (1, 2)}
"""Two lesions in white matter, 8 mm apart."""


def write_lesions(out, session, *numbers, by_app=False):
    """Add lesions to the outputs of a session that were written before."""
    name = f"sub-01_ses-{session}"
    begin = out / "sub-01" / f"ses-{session}" / "anat" / f"{name}_space-T1w"
    numbered = sum((number * LESION[number] for number in numbers), np.zeros(SHAPE))
    images = {"label-lesion_mask": numbered > 0, "desc-lesions_dseg": numbered}
    made = [begin.with_name(f"{begin.name}_{ending}.nii.gz") for ending in images]
    for path, data in zip(made, images.values(), strict=True):
        nifti.save(_image(data), path)
    sidecar = begin.with_name(f"{begin.name}_label-lesion_mask.json")
    method = {"Method": {"Lesions": {"Name": "outliers"}}} if by_app else {}
    said = {"SpatialReference": f"bids:raw:{name}_T1w.nii.gz", **method}
    sidecar.write_text(json.dumps(said))
    before = [out / one.path for one in manifest.read_of(out, name)]
    manifest.finish(out, name, name, [*before, *made, sidecar])


def write_visit(  # noqa: PLR0913, PLR0915 - what a session leaves
    out,
    session,
    seed,
    *,
    ventricle_mm=5.0,
    chi_ppb=-20.0,
    front_ppb=0.0,
    cortex_mm=2.5,
    with_gre=True,
):
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
        "space-T1w_desc-thickness_morph": cortex_mm * (brain - white > 0.5),
    }
    if with_gre:
        both = (thalami[0] > 0.9) + 2 * (thalami[1] > 0.9)
        # Groups of nuclei: the front half, which may have iron of its own, and the back.
        y, x = np.indices(SHAPE)[1], np.indices(SHAPE)[0]
        front = y > 17
        images |= {
            "Chimap": 1e-3 * (chi_ppb + front_ppb * front) * (both > 0),
            "space-MEGRE_desc-thalamicnuclei_dseg": np.where(front, 1, 6) + 20 * (x > 24),
            "space-MEGRE_desc-thalamus_dseg": both,
            "space-MEGRE_label-CSF_desc-reference_mask": sum(ventricles) > 0.9,
        }
    made = []
    for ending, data in images.items():
        made.append(folder / f"{name}_{ending}.nii.gz")
        nifti.save(_image(data), made[-1])
    if with_gre:
        way = folder / f"{name}_from-T1w_to-MEGRE_mode-image_xfm.txt"
        way.write_text(itk_affine_text(np.eye(4)), encoding="utf-8")
        rows = [
            ("chi_relative_csf_se", region, side, error)
            for region, error in (("thalamus", 1.5), ("thalamus_av", 2.0))
            for side in ("L", "R", "LR")
        ]
        table = pd.DataFrame(rows, columns=["measure", "region", "hemisphere", "value"])
        table.to_csv(folder / f"{name}_desc-qsmthal_measures.tsv", sep="\t", index=False)
        made += [way, folder / f"{name}_desc-qsmthal_measures.tsv"]
        tables = {
            "space-MEGRE_desc-thalamicnuclei_dseg": [
                *[("index", "name"), (1, "Left-AV"), (6, "Left-Pul")],
                *[(21, "Right-AV"), (26, "Right-Pul")],
            ],
            "desc-qsmthal_sensitivity": [
                ("choice", "variant", "hemisphere", "value"),
                ("default", "default", "LR", chi_ppb),
                ("background", "pdf", "LR", 2 * chi_ppb),
                ("background", f"only-{session}", "LR", chi_ppb),
            ],
        }
        for ending, lines in tables.items():
            made.append(folder / f"{name}_{ending}.tsv")
            made[-1].write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
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
    return _table(settings)


def _table(settings):
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

    chi = table[(table["variant"] == "default") & (table["hemisphere"] == "LR")]
    chi = chi[chi["region"] == "thalamus"]
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


def _rows(table, measure, region, **more):
    """Return the rows of one measure and place of two visits, in one form."""
    wanted = {"measure": measure, "region": region, **more}
    return table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def test_nuclei_change_by_what_both_visits_share_and_the_rest_of_the_thalamus_does_not(study):
    write_visit(study.output_dir, "b", 1, front_ppb=2.0)
    write_visit(study.output_dir, "c", 2, front_ppb=5.0)
    table = _changes(study)
    front = _rows(table, "chi_relative_csf", "thalamus_av")
    assert front["hemisphere"].tolist() == ["L", "LR", "R"]
    assert front["change"].tolist() == pytest.approx([3.0] * 3, abs=1e-3)
    assert front["value"].tolist() == pytest.approx([-16.5] * 3, abs=1e-3)
    # Of two single numbers, each with an error of 2.
    assert front["change_se"].tolist() == pytest.approx([2 * 2**0.5] * 3)
    back = _rows(table, "chi_relative_csf", "thalamus_pul", hemisphere="LR")
    assert back["change"].tolist() == pytest.approx([0.0], abs=1e-3)
    # Its error is not in the tables of the visits.
    assert back[["change_se", "reliable"]].isna().all(axis=None)


def test_another_background_removal_stands_beside_where_both_visits_have_it(study):
    write_visit(study.output_dir, "b", 1, chi_ppb=-20.0)
    write_visit(study.output_dir, "c", 2, chi_ppb=-16.0)
    table = _changes(study)
    chi = table[table["measure"] == "chi_relative_csf"]
    assert set(chi["variant"]) == {"default", "pdf"}
    (other,) = chi[chi["variant"] == "pdf"].to_dict("records")
    assert (other["region"], other["hemisphere"]) == ("thalamus", "LR")
    assert (other["change"], other["value"]) == pytest.approx((8.0, -36.0))
    assert np.isnan(other["change_se"])
    assert table.loc[table["measure"] != "chi_relative_csf", "variant"].isna().all()


def test_cortical_thickness_changes_in_millimetres_and_percent(study):
    for session, seed, cortex_mm in (("b", 1, 2.5), ("c", 2, 2.4), ("a", 3, 2.6)):
        write_visit(study.output_dir, session, seed, cortex_mm=cortex_mm, with_gre=False)
    cortex = _rows(_changes(study), "thickness_mean", "cortex")
    assert cortex["change"].tolist() == pytest.approx([-0.1, 0.2, 0.1], abs=1e-5)
    assert cortex["value"].tolist() == pytest.approx([2.45, 2.5, 2.55], abs=1e-5)
    assert cortex["change_percent"].tolist() == pytest.approx([-100 * 0.1 / 2.45, 8.0, 10 / 2.55])
    assert set(cortex["unit"]) == {"mm"}


def test_the_volume_of_lesions_changes_by_their_masks(changed):
    lesions = _rows(_changes(changed), "volume", "lesion")
    one, both = (sum(float(LESION[n].sum()) for n in which) for which in ((1,), (1, 2)))
    assert lesions["change"].tolist() == [both - one, 0.0, both - one]
    assert lesions["value"].tolist() == [(one + both) / 2, both, (one + both) / 2]
    assert lesions[["change_se", "reliable"]].isna().all(axis=None)


CHANGED = "sub-01/ses-{0}/anat/sub-01_ses-{0}_space-T1w_desc-lesionchange_dseg.nii.gz"


def _lesion_changes(table):
    """Return new, their volume, and enlarged of each pair of visits."""
    rows = table[(table["region"] == "lesion") & (table["measure"] != "volume")]
    assert rows[["value", "change_se", "reliable"]].isna().all(axis=None)
    return {
        pair: tuple(of["change"])
        for pair, of in rows.groupby(["session_from", "session_to"], sort=False)
    }


@pytest.fixture
def changed(study):
    """The same study where lesion 2 came between the first two of three visits."""
    for seed, session in enumerate("bca"):
        write_visit(study.output_dir, session, seed, with_gre=False)
    for session, *numbers in (("b", 1), ("c", 1, 2), ("a", 1, 2)):
        write_lesions(study.output_dir, session, *numbers)
    return study


STEPS = [("ses-b", "ses-c"), ("ses-c", "ses-a")]


def test_new_lesions_are_proposed_from_visit_to_visit(changed):
    out = changed.output_dir
    # Not of the first and the last visit: what is new is said of neighbours.
    found = _lesion_changes(_changes(changed))
    assert list(found) == STEPS
    mm3 = float(np.count_nonzero(LESION[2]))
    unknown = pytest.approx(np.nan, nan_ok=True)
    assert found[STEPS[0]] == (1.0, mm3, unknown, unknown, 0.0, 0.0)
    assert found[STEPS[1]] == (0.0, 0.0, unknown, unknown, 0.0, 0.0)
    np.testing.assert_array_equal(nifti.load(out / CHANGED.format("c")).data, LESION[2])
    assert not nifti.load(out / CHANGED.format("a")).data.any()
    assert not (out / CHANGED.format("b")).exists()
    said = json.loads((out / CHANGED.format("c").replace(".nii.gz", ".json")).read_text())
    assert said["SpatialReference"] == "bids:raw:sub-01_ses-c_T1w.nii.gz"
    assert said["Method"] == {"ChangesBy": "bids_qsmthal", "VisitBefore": "ses-b"}
    listed = {entry.path for entry in manifest.read_of(out, "sub-01")}
    assert {CHANGED.format("c"), CHANGED.format("a")} <= listed


def test_a_reader_s_edit_of_lesion_changes_counts_and_not_the_proposal(changed):
    out = changed.output_dir
    # Rejected in one visit; in the other the first lesion is larger, and one that has no number
    # is new.
    drawn = _ball((30, 24, 20), 1.5) > 0.5
    for session, data in (("c", 0 * LESION[1]), ("a", 2 * LESION[1] + drawn)):
        nifti.save(_image(data), out / "edits" / CHANGED.format(session))
    found = _lesion_changes(_changes(changed))
    assert found[STEPS[0]] == (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert found[STEPS[1]] == (1.0, float(np.count_nonzero(drawn)), 1.0, 0.0, 0.0, 0.0)
    saved = nifti.load(out / CHANGED.format("a")).data
    np.testing.assert_array_equal(saved, 2 * LESION[1] + drawn)
    said = json.loads((out / CHANGED.format("a").replace(".nii.gz", ".json")).read_text())
    assert said["Method"]["ChangesBy"] == "manual edit"

    nifti.save(_image(5 * LESION[1]), out / "edits" / CHANGED.format("c"))
    with pytest.raises(DataError, match=r"ses-c.*expected 0, 1 \(new\), 2 \(enlarged\), 3"):
        _changes(changed)


def test_a_lesion_that_vanished_is_proposed_where_it_was_and_a_reader_calls_one_smaller(changed):
    out = changed.output_dir
    write_visit(out, "a", 2, with_gre=False)
    write_lesions(out, "a", 1)
    found = _lesion_changes(_changes(changed))
    mm3 = float(np.count_nonzero(LESION[2]))
    assert found[STEPS[1]][4:] == (1.0, mm3)
    np.testing.assert_array_equal(nifti.load(out / CHANGED.format("a")).data, 4 * LESION[2])
    drawn = 3 * LESION[1] + 4 * LESION[2]
    nifti.save(_image(drawn), out / "edits" / CHANGED.format("a"))
    found = _lesion_changes(_changes(changed))
    assert found[STEPS[1]] == (0.0, 0.0, 0.0, 1.0, 1.0, mm3)
    assert found[STEPS[0]][0] == 1.0


PAGE = "sub-01.html"


def test_the_page_of_change_links_the_pages_of_the_visits_and_shows_flair_of_the_dataset(changed):
    out = changed.output_dir
    for name in ("ses-b", "ses-c_run-1", "ses-c_failed", "ses-cc", "ses-a"):
        (out / f"sub-01_{name}.html").write_text("a page")
    for session in "abc":
        write_flair(changed, session)
    _changes(changed)
    page = (out / PAGE).read_text()
    links = re.findall(r'href="(sub-01_[^"]+)"', page)
    assert links == ["sub-01_ses-b.html", "sub-01_ses-c_run-1.html", "sub-01_ses-a.html"]
    assert f"OUTPUT_DIR/edits/{CHANGED.format('c')}" in page
    figures = {path.name for path in (out / "sub-01" / "figures").iterdir()}
    assert "sub-01_desc-lesionchangebtoc_FLAIR.svg" in figures
    listed = {entry.path for entry in manifest.read_of(out, "sub-01")}
    assert {PAGE, *(f"sub-01/figures/{name}" for name in figures)} <= listed


def write_flair(settings, session, address="", signal=None):
    """Write the FLAIR of a session into the dataset, and what the outputs say of it."""
    name = f"sub-01_ses-{session}"
    raw = settings.bids_dir / "sub-01" / f"ses-{session}" / "anat" / f"{name}_FLAIR.nii.gz"
    raw.parent.mkdir(parents=True, exist_ok=True)
    nifti.save(_image(np.ones(SHAPE) if signal is None else signal), raw)
    folder = settings.output_dir / "sub-01" / f"ses-{session}" / "anat"
    sidecar = folder / f"{name}_space-FLAIR_label-lesion_mask.json"
    own = f"bids:raw:{raw.relative_to(settings.bids_dir).as_posix()}"
    sidecar.write_text(json.dumps({"SpatialReference": address or own}))
    way = folder / f"{name}_from-T1w_to-FLAIR_mode-image_xfm.txt"
    way.write_text(itk_affine_text(np.eye(4)), encoding="utf-8")
    before = [settings.output_dir / one.path for one in manifest.read_of(settings.output_dir, name)]
    manifest.finish(settings.output_dir, name, name, [*before, sidecar, way])


@pytest.mark.parametrize("address", ["bids:raw:../secret.nii.gz", "bids:raw:/etc/x.nii.gz", "gone"])
def test_an_address_that_leads_out_of_the_dataset_is_not_followed(changed, address):
    nifti.save(_image(np.ones(SHAPE)), changed.bids_dir.parent / "secret.nii.gz")
    for session in "ab":
        write_flair(changed, session)
    write_flair(changed, "c", address)
    _changes(changed)
    figures = {path.name for path in (changed.output_dir / "sub-01" / "figures").iterdir()}
    assert "sub-01_desc-lesionchangebtoc_T1w.svg" in figures


@pytest.mark.parametrize("shown", [True, False])
def test_lesions_that_the_app_found_are_compared_on_flair(changed, shown):
    """Both masks differ by lesion 2; whether it is new is what FLAIR shows."""
    out = changed.output_dir
    brain = _ball((24, 24, 20), 18.0)
    for seed, (session, *numbers) in enumerate((("b", 1), ("c", 1, 2), ("a", 1, 2))):
        write_lesions(out, session, *numbers, by_app=True)
        on_flair = numbers if shown else (1, 2)
        bright = sum((0.9 * LESION[number] for number in on_flair), np.zeros(SHAPE))
        noise = np.random.default_rng(seed).normal(0, 0.03, SHAPE)
        write_flair(changed, session, signal=100 * (brain * (1 + bright) + noise))
    found = _lesion_changes(_changes(changed))
    nothing = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    mm3 = float(np.count_nonzero(LESION[2]))
    # What is larger or smaller is known here, and nothing is.
    assert found[STEPS[0]] == ((1.0, mm3, *nothing[2:]) if shown else nothing)
    assert found[STEPS[1]] == nothing
    page = (out / PAGE).read_text()
    assert f"{int(shown)} new, 0 larger, 0 smaller, 0 vanished" in page
    assert "proposed by the comparison of the FLAIR of both visits" in page


def test_without_a_gradient_echo_the_parts_of_the_mask_are_the_lesions(changed):
    for session in "bca":
        name = f"sub-01_ses-{session}_space-T1w_desc-lesions_dseg.nii.gz"
        (changed.output_dir / "sub-01" / f"ses-{session}" / "anat" / name).unlink()
    found = _lesion_changes(_changes(changed))
    assert list(found) == STEPS
    assert found[STEPS[0]][:2] == (1.0, float(np.count_nonzero(LESION[2])))


def test_a_visit_that_is_not_compared_any_more_leaves_no_changes_behind(changed):
    out = changed.output_dir
    assert list(_lesion_changes(_changes(changed))) == STEPS
    manifest.remove_of(out, "sub-01_ses-a")
    assert list(_lesion_changes(_changes(changed))) == STEPS[:1]
    assert (out / CHANGED.format("c")).exists()
    assert not (out / CHANGED.format("a")).exists()


def test_the_results_of_a_visit_stay_whatever_the_comparison_lists(changed):
    """Its manifest may come from a stranger; here it lists a visit's own files as they are."""
    _changes(changed)
    logs = changed.output_dir / "logs"
    of_visit = (logs / "sub-01_ses-c_manifest.tsv").read_text().splitlines()[1:]
    listed = [changed.output_dir / line.split("\t")[0] for line in of_visit]
    place = logs / "sub-01_manifest.tsv"
    theirs = "".join(f"{line}\n" for line in of_visit).replace("\tsub-01_ses-c\t", "\tsub-01\t")
    assert "\tsub-01\t" in theirs
    place.write_text(place.read_text() + theirs)
    _changes(changed)
    assert [path.name for path in listed if not path.exists()] == []


def test_lesions_of_two_visits_are_compared_where_they_lie_in_the_head(study, monkeypatch):
    for seed, session in enumerate("bc"):
        write_visit(study.output_dir, session, seed, with_gre=False)
        write_lesions(study.output_dir, session, 1, 2)
    shift = np.eye(4)
    shift[1, 3] = -8.0

    def moved(scans):
        # A point of the head has a y that is 8 mm less in the second scan.
        return replace(_same_place(scans), to_visits=(np.eye(4), shift))

    monkeypatch.setattr(change, "visit_frame", moved)
    _changes(study)
    # The second one lies where the first one was.
    np.testing.assert_array_equal(
        nifti.load(study.output_dir / CHANGED.format("c")).data, LESION[1]
    )


def test_a_visit_without_lesions_that_were_looked_for_has_no_changes(study):
    for seed, session in enumerate("bc"):
        write_visit(study.output_dir, session, seed, with_gre=False)
    write_lesions(study.output_dir, "c", 1, 2)
    assert _lesion_changes(_changes(study)) == {}
    assert not (study.output_dir / CHANGED.format("c")).exists()


def test_without_dates_nothing_is_given_per_year(study, caplog):
    (study.bids_dir / "sub-01" / "sub-01_sessions.tsv").unlink()
    for session, seed in (("10", 1), ("2", 2)):
        write_visit(study.output_dir, session, seed, with_gre=False)
    table = _changes(study)
    assert set(zip(table["session_from"], table["session_to"], strict=True)) == {
        ("ses-2", "ses-10")
    }
    assert table["change_per_year"].isna().all()
    assert set(table["measure"]) == {"volume", "thickness_mean"}
    assert "no acq_time of ses-2, ses-10" in caplog.text


def test_visits_with_a_date_are_in_the_order_of_time_where_another_has_none(study, caplog):
    table = study.bids_dir / "sub-01" / "sub-01_sessions.tsv"
    table.write_text(table.read_text().replace("ses-c\t2021-01-01T10:00:00", "ses-c\tn/a"))
    for session, seed in (("a", 1), ("b", 2), ("c", 3)):
        write_visit(study.output_dir, session, seed, with_gre=False)
    table = _changes(study).drop_duplicates(["session_from", "session_to"])
    years = table.set_index(["session_from", "session_to"])["years"]
    # By labels a would be before b.
    assert list(years.index) == [("ses-b", "ses-a"), ("ses-a", "ses-c"), ("ses-b", "ses-c")]
    assert years.iloc[0] == pytest.approx(2.0, abs=0.01)
    assert years.iloc[1:].isna().all()
    assert "no acq_time of ses-c" in caplog.text


def _strange(monkeypatch, *correlations):
    """Let the registration find these correlations, one tuple for each number of visits."""
    of = {len(one): one for one in correlations}
    monkeypatch.setattr(
        change,
        "visit_frame",
        lambda scans: replace(_same_place(scans), correlations=of[len(scans)]),
    )


def test_another_person_under_the_label_is_named_and_the_others_are_compared(study, monkeypatch):
    for session, seed in (("b", 1), ("a", 2), ("c", 3)):
        write_visit(study.output_dir, session, seed, with_gre=False)
    # In the order of time: ses-c is strange, and pulls ses-b below the limit with it.
    _strange(monkeypatch, (0.65, 0.4, 0.9), (0.97, 0.97))
    with pytest.raises(UnusableScanError, match=r"finished without ses-c, .*0\.40") as caught:
        _changes(study)
    assert caught.value.exit_code == ExitCode.DATA
    assert "\n" not in str(caught.value)
    table = _table(study)
    assert set(zip(table["session_from"], table["session_to"], strict=True)) == {("ses-b", "ses-a")}
    assert manifest.read_of(study.output_dir, "sub-01")


def test_of_two_visits_that_differ_both_are_named_and_nothing_is_said_of_change(study, monkeypatch):
    for session, seed in (("b", 1), ("c", 2), ("a", 3)):
        write_visit(study.output_dir, session, seed, with_gre=False)
    _changes(study)
    _strange(monkeypatch, (0.6, 0.4, 0.3), (0.45, 0.45))
    with pytest.raises(DataError, match=r"ses-b, ses-c do not match each other.*0\.45"):
        _changes(study)
    # What was said before is vouched for no longer.
    assert manifest.read_of(study.output_dir, "sub-01") == []


def test_t1w_of_other_voxels_is_said_and_its_changes_are_not_called_reliable(study, caplog):
    out = study.output_dir
    for session, seed, ventricle_mm in (("b", 1, 5.0), ("c", 2, 6.0), ("a", 3, 5.0)):
        write_visit(out, session, seed, ventricle_mm=ventricle_mm, chi_ppb=-20.0 + 10 * seed)
    # The last visit has slices twice as thick.
    folder, name = out / "sub-01" / "ses-a" / "anat", "sub-01_ses-a"
    for path in folder.glob("*"):
        if "T1w" in path.name and path.name.endswith(".nii.gz"):
            thin = nifti.load(path)
            way = thin.affine @ np.diag([1.0, 1.0, 2.0, 1.0])
            nifti.save(Image(np.ascontiguousarray(thin.data[:, :, ::2]), way), path)
    manifest.finish(out, name, name, [out / one.path for one in manifest.read_of(out, name)])
    table = _changes(study)
    assert "ses-b 1.00 x 1.00 x 1.00 mm" in caplog.text
    assert "ses-a 1.00 x 1.00 x 2.00 mm" in caplog.text
    of_t1w = table[table["measure"] != "chi_relative_csf"]
    assert of_t1w.loc[of_t1w["session_to"] == "ses-a", "reliable"].isna().all()
    grown = _rows(of_t1w, "volume", "lateral_ventricle", session_to="ses-c", hemisphere="LR")
    assert grown["reliable"].tolist() == ["yes"]
    # Susceptibility does not depend on the voxels of T1w.
    chi = _rows(table, "chi_relative_csf", "thalamus", session_to="ses-a", hemisphere="LR")
    chi = chi[chi["variant"] == "default"]
    assert chi["reliable"].tolist() == ["yes", "yes"]


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


@pytest.mark.parametrize(("reports_only", "holds"), [(False, False), (True, True)])
def test_a_visit_that_is_processed_again_outdates_the_comparison(changed, reports_only, holds):
    out = changed.output_dir
    _changes(changed)
    again = replace(changed, reports_only=reports_only)
    # Of somebody else, and a scan that cannot be read: the run ends there.
    for subject in ("02", "01"):
        assert manifest.read_of(out, "sub-01")
        with pytest.raises(DataError):
            participant.process(_damaged(changed.bids_dir, subject), again)
    assert bool(manifest.read_of(out, "sub-01")) == holds
    # Compared anew it holds; what the comparison before made of a visit that is gone goes, too.
    for folder in ("sub-01/ses-b", "sub-02"):
        shutil.rmtree(changed.bids_dir / folder)
    manifest.remove_of(out, "sub-01_ses-a")
    write_visit(out, "b", 7, with_gre=False)
    write_lesions(out, "b", 1)
    _changes(changed)
    assert manifest.read_of(out, "sub-01")
    assert (out / CHANGED.format("c")).exists()
    assert not (out / CHANGED.format("a")).exists()


def _damaged(bids_dir, subject):
    path = bids_dir / f"sub-{subject}" / "ses-b" / "anat" / f"sub-{subject}_ses-b_T1w.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no image")
    return Session(root=bids_dir, subject=subject, session="b", t1w=path)
