import numpy as np
import statsmodels.formula.api as smf

from bids_qsmthal import simulate


def wide(cohort):
    names = {
        ("chi_relative_csf", "thalamus"): "chi",
        ("volume", "lesion"): "lesion",
        ("volume", "thalamus"): "thalamus",
    }
    table = cohort.participants.set_index("participant_id")
    measures = cohort.measures
    for (measure, region), column in names.items():
        rows = measures[(measures["measure"] == measure) & (measures["region"] == region)]
        table[column] = rows.set_index("participant_id")["value"]
    table["ln_lesion"] = np.log(table["lesion"] / 1000)
    return table


def test_regressions_find_the_coefficients_that_were_put_in():
    cohort = simulate.measures_cohort(20_000, 4)
    table = wide(cohort)
    true = cohort.coefficients
    lesions = smf.ols("ln_lesion ~ chi + age + sex + disease_duration + dmt", table).fit()
    iron = smf.ols("chi ~ enhancing_lesions + age + sex + dmt + disease_duration", table).fit()
    volume = smf.ols("thalamus ~ chi", table).fit()
    for found, name, error in (
        (lesions.params["chi"], "ln_lesion ~ chi", lesions.bse["chi"]),
        (iron.params["age"], "chi ~ age", iron.bse["age"]),
        (
            iron.params["enhancing_lesions"],
            "chi ~ enhancing",
            iron.bse["enhancing_lesions"],
        ),
        (iron.params["sex[T.M]"], "chi ~ sex", iron.bse["sex[T.M]"]),
        (volume.params["chi"], "thalamic_volume ~ chi", volume.bse["chi"]),
    ):
        assert abs(found - true[name]) < 3.5 * error, name


def test_the_cohort_looks_like_the_published_one():
    table = wide(simulate.measures_cohort(20_000, 5))
    assert abs(table["chi"].mean() + 29) < 0.5
    assert abs(table["chi"].std() - 11.7) < 0.6
    assert abs(table["age"].mean() - 42) < 0.5
    assert abs((table["sex"] == "F").mean() - 2 / 3) < 0.02
    assert (table["disease_duration"] < table["age"]).all()


def test_a_cohort_is_planned_by_its_seed():
    first, second = simulate.draw_cohort(4, 8), simulate.draw_cohort(4, 8)
    assert first == second
    assert first != simulate.draw_cohort(4, 9)
    assert {person.parameters.vendor.name for person in first} == set(simulate.VENDORS)
