"""When a run is evaluated: the steps listed are those asked one by one."""

import pytest

from fcnet.train.schedule import Schedule, as_schedule, check_progress


@pytest.mark.parametrize("steps", [0, 1, 9, 10, 25])
@pytest.mark.parametrize("every", [None, 1, 10, 30, "log"])
def test_the_evaluated_steps_are_those_that_it_evaluates(steps, every):
    schedule = Schedule(steps, every)
    assert schedule.evaluated == [step for step in range(steps + 1) if schedule.evaluates(step)]


@pytest.mark.parametrize("exponent", range(4, 14))
def test_eight_evaluations_are_made_while_the_steps_double(exponent):
    evaluated = Schedule(2**15, "log").evaluated
    octave = [step for step in evaluated if 2**exponent <= step < 2 ** (exponent + 1)]
    assert octave == [2**exponent * (8 + k) // 8 for k in range(8)]
    assert evaluated[:17] == list(range(17))


def test_a_longer_run_is_evaluated_at_the_same_steps_first():
    assert Schedule(1000, "log").evaluated[:-1] == [
        step for step in Schedule(5000, "log").evaluated if step < 1000
    ]


def test_an_unknown_spacing_is_refused():
    message = "evaluate_every must be a number of steps, \"log\" or None, got 'often'"
    with pytest.raises(ValueError, match=message):
        as_schedule(10, "often")


@pytest.mark.untyped
def test_what_is_no_progress_is_refused():
    with pytest.raises(TypeError, match="progress must be a function of a share, got int"):
        check_progress(3, "a share")
