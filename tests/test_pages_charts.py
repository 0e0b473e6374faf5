import numpy as np
import pytest

from kcolor.pages.charts import histogram


def test_the_ends_of_a_histogram_are_round_and_hold_the_tails():
    values = np.concatenate([np.random.default_rng(0).normal(23, 2, 2000), [-100.0, 1e6, np.inf]])
    made = histogram(values, values[:-3] - 1)
    assert made.model.sum() == 2003 and made.grey.sum() == 2000
    step = np.diff(made.edges)
    np.testing.assert_allclose(step, step[0])
    assert step[0] in (0.5, 1.0)
    assert 14 < made.edges[0] < 18 and 27 < made.edges[-1] < 31
    assert made.beyond[0] == np.count_nonzero((values < made.edges[0]) | (values > made.edges[-1])) > 2


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-9, 4e5])
def test_one_value_is_a_histogram(value):
    made = histogram(np.array([value, value]), np.array([value]))
    assert made.model.sum() == 2 and made.grey.sum() == 1
    assert made.edges[0] < value < made.edges[-1]
    assert made.beyond == (0, 0)


def test_no_value_is_no_histogram():
    assert histogram(np.array([np.nan]), np.array([])) is None
    assert histogram(np.array([np.inf]), np.array([np.nan])) is None


def test_both_answers_have_the_same_bins():
    made = histogram(np.array([1.0, 2.0]), np.array([9.0, 10.0]))
    assert made.edges[0] <= 1.0 and made.edges[-1] >= 10.0 and made.beyond == (0, 0)
    assert len(made.model) == len(made.grey) == len(made.edges) - 1
