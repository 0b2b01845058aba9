"""When a run is evaluated: the steps listed are those asked one by one."""

import pytest

from fcnet.train.schedule import Schedule, check_progress


@pytest.mark.parametrize("steps", [0, 1, 9, 10, 25])
@pytest.mark.parametrize("every", [None, 1, 10, 30])
def test_the_evaluated_steps_are_those_that_it_evaluates(steps, every):
    schedule = Schedule(steps, every)
    assert schedule.evaluated == [step for step in range(steps + 1) if schedule.evaluates(step)]


@pytest.mark.untyped
def test_what_is_no_progress_is_refused():
    with pytest.raises(TypeError, match="progress must be a function of a share, got int"):
        check_progress(3, "a share")
