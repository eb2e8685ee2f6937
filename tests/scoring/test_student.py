import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchhost.scoring import student_t_quantile

DEGREES = [1, 2, 3, 4, 5, 10, 29, 30, 99, 199, 200, 201, 202, 500, 1318, 10**6, 10**9]


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.75, 0.9, 0.95, 0.975, 0.995, 0.9995])
def test_the_quantile_is_that_of_scipy(probability, degrees):
    assert student_t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), abs=1e-9)


def test_tables_agree():
    assert round(student_t_quantile(0.975, 1), 3) == 12.706
    assert round(student_t_quantile(0.975, 9), 3) == 2.262


@given(st.floats(0.001, 0.999), st.integers(1, 400))
def test_the_distribution_is_symmetric(probability, degrees):
    mirrored = -student_t_quantile(1 - probability, degrees)
    assert math.isclose(student_t_quantile(probability, degrees), mirrored, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("probability, degrees", [(0.0, 5), (1.0, 5), (float("nan"), 5), (0.9, 0), (0.9, -3)])
def test_what_is_no_probability_or_no_number_of_degrees_is_refused(probability, degrees):
    with pytest.raises(ValueError, match=r"probability lies between|degree of freedom or more"):
        student_t_quantile(probability, degrees)
