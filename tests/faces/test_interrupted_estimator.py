"""Ctrl-C while an estimator learns: it is as before, or as after."""

import copy
from pathlib import Path

import jax
import numpy as np
import pytest
from support.interrupts import lines_of, moments

import fcnet
from fcnet.estimators import FCNetRegressor
from fcnet.estimators.base import NetworkEstimator

pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")

ESTIMATORS = str(Path(fcnet.__file__).parent / "estimators")
LAST = [990, 994, 996, 998, 999]
"""Parts of the lines of a call that come when the new parameters are there."""

X = np.random.default_rng(0).normal(size=(12, 2))
Y = X[:, 0] + 10
MORE = 1e3 * Y
"""Targets of another scale, so that old parameters and new scales would predict something else."""


def check_moments(parts):
    """Interrupt a further pass in parts of it; whether the estimators had learned it."""
    before = FCNetRegressor(3, random_state=0, max_iter=2).fit(X, Y)
    after = copy.deepcopy(before)
    total = lines_of(lambda: after.partial_fit(X, MORE), (ESTIMATORS, __file__))
    learned = []
    for part in parts:
        model = copy.deepcopy(before)
        with pytest.raises(KeyboardInterrupt):
            lines_of(
                lambda model=model: model.partial_fit(X, MORE),
                (ESTIMATORS, __file__),
                1 + part * total // 1000,
            )
        learned.append(model.n_iter_ == after.n_iter_)
        like = after if learned[-1] else before
        np.testing.assert_array_equal(model.predict(X), like.predict(X))
        assert model.loss_curve_ == like.loss_curve_
        if not learned[-1]:
            model.partial_fit(X, MORE)
        np.testing.assert_array_equal(model.predict(X), after.predict(X))
        assert not jax.config.jax_enable_x64
    return learned


def test_an_interrupted_pass_was_made_or_not():
    assert set(check_moments([*moments(6), *LAST])) == {False, True}


def test_attributes_that_are_set_one_by_one_are_noticed(monkeypatch):
    def one_by_one(self, attributes):
        for name, value in attributes.items():
            setattr(self, name, value)
        return self

    monkeypatch.setattr(NetworkEstimator, "_with", one_by_one)
    with pytest.raises(AssertionError):
        check_moments(range(900, 1000, 8))
