"""The schedules of the multipliers."""

import pytest
import torch

from insd.objectives.schedules import make_schedule
from insd.objectives.settings.base import TermSettings


def multipliers(schedule, progress):
    return schedule.multipliers(schedule.share(progress))


def test_constant_without_ramp_is_the_papers_lambda_from_the_start():
    settings = TermSettings(schedule="constant", multiplier=0.7, task_only=0.0, ramp=0.0)
    schedule = make_schedule(settings, 0.05, networks=2, earlier=3)
    for progress in (0.0, 0.5, 1.0):
        torch.testing.assert_close(multipliers(schedule, progress), torch.full((2, 3), 0.7))


def test_constant_with_ramp():
    settings = TermSettings(schedule="constant", multiplier=2.0, task_only=0.1, ramp=0.4)
    schedule = make_schedule(settings, 0.05, networks=1, earlier=1)
    values = [multipliers(schedule, progress).item() for progress in (0.0, 0.1, 0.3, 0.5, 0.9)]
    assert values == pytest.approx([0.0, 0.0, 1.0, 2.0, 2.0])


def test_yielding_is_the_constant_as_far_as_the_task_affords_it():
    settings = TermSettings(schedule="yielding", multiplier=2.0, task_only=0.1, ramp=0.4)
    for loss, share in ((0.1, 1.0), (0.2, 1.0), (0.3, 0.5), (0.4, 0.0), (1.0, 0.0), (0.0, 1.0)):
        schedule = make_schedule(settings, loss_bound=0.2, networks=1, earlier=2)
        # Before the loss is known, the task has it all.
        assert multipliers(schedule, 1.0).tolist() == [[0.0, 0.0]]
        run(schedule, loss, [1.0, 0.0], 500)
        values = [multipliers(schedule, progress)[0].tolist() for progress in (0.05, 0.3, 0.9)]
        assert values == [pytest.approx([lambda_ * share] * 2, abs=1e-4) for lambda_ in (0.0, 1.0, 2.0)]
    # A spike of the loss costs nothing of the multiplier once it is over.
    run(schedule, 5.0, [1.0, 1.0], 100)
    assert multipliers(schedule, 1.0).tolist() == [[0.0, 0.0]]
    assert run(schedule, 0.0, [1.0, 1.0], 200).tolist() == pytest.approx([2.0, 2.0])


def test_a_schedule_goes_on_from_its_state():
    settings = TermSettings(schedule="yielding", multiplier=2.0)
    first, second = (make_schedule(settings, loss_bound=0.2, networks=3, earlier=1) for _ in range(2))
    for schedule in (first, second):
        schedule.update(torch.tensor([0.1, 0.3, 0.9]), torch.zeros(3, 1, dtype=torch.float64), 1.0)
    resumed = make_schedule(settings, loss_bound=0.2, networks=3, earlier=1)
    resumed.load_state_dict(first.state_dict())
    for schedule in (first, second, resumed):
        schedule.keep([0, 2])
        for _ in range(60):
            schedule.update(torch.tensor([0.1, 0.3]), torch.zeros(2, 1, dtype=torch.float64), 1.0)
    torch.testing.assert_close(multipliers(resumed, 1.0), multipliers(second, 1.0), rtol=0, atol=0)
    assert 0 < multipliers(resumed, 1.0)[1] < 2.0


def constrained(**settings):
    settings = TermSettings(schedule="constrained", task_only=0.0, multiplier=0.5, bound=0.1, **settings)
    return make_schedule(settings, loss_bound=0.2, networks=1, earlier=2)


def run(schedule, loss, penalties, iterations):
    for iteration in range(iterations):
        share = schedule.share(iteration / iterations)
        schedule.update(torch.tensor([loss]), torch.tensor([penalties], dtype=torch.float64), share)
    return multipliers(schedule, 1.0)[0]


def test_constrained_moves_each_multiplier_by_its_own_constraint():
    schedule = constrained()
    run(schedule, 0.1, [0.1, 0.1], 100)  # the smoothed loss settles below its bound
    before = multipliers(schedule, 1.0)[0]
    after = run(schedule, 0.1, [0.5, 0.02], 50)
    assert after[0] > before[0] and after[1] < before[1]
    # A far violation moves the logarithm by the full rate.
    assert torch.log(after[0] / before[0]).item() == pytest.approx(50 * 0.01, rel=1e-4)


def test_constrained_gives_way_to_the_task_and_keeps_to_its_range():
    schedule = constrained(multiplier_max=3.0)
    assert run(schedule, 0.0, [1.0, 1.0], 2000).tolist() == pytest.approx([3.0, 3.0])
    # A task that is lost takes the whole weight at once, and the multipliers fall as long as it is lost.
    assert run(schedule, 0.9, [1.0, 1.0], 5000).tolist() == [0.0, 0.0]
    assert run(schedule, 0.0, [0.1, 0.1], 200).tolist() == pytest.approx([schedule.LEAST] * 2, rel=1e-3)


def test_constrained_weight_falls_from_the_loss_bound_to_twice_that():
    for loss, share in ((0.1, 1.0), (0.2, 1.0), (0.3, 0.5), (0.4, 0.0), (1.0, 0.0)):
        schedule = constrained(multiplier_rate=1e-9)
        assert run(schedule, loss, [0.1, 0.1], 500).tolist() == pytest.approx([0.5 * share] * 2, abs=1e-4)


def test_when_finishing_multipliers_stay_below_the_bound_and_the_task_comes_first():
    schedule = constrained()
    run(schedule, 0.1, [0.1, 0.1], 100)
    before = schedule.logarithms.clone()
    for penalties, loss, steps in (
        ([0.05, 0.05], 0.1, (0, 0)),
        ([0.5, 0.05], 0.1, (1, 0)),
        ([0.5, 0.05], 9.0, (-1, -1)),
    ):
        schedule.logarithms.copy_(before)
        schedule.update(torch.tensor([loss]), torch.tensor([penalties], dtype=torch.float64), 1.0, 1.0)
        assert (schedule.logarithms - before)[0].tolist() == pytest.approx([0.01 * step for step in steps], abs=1e-6)


def test_constrained_starts_after_the_task():
    settings = TermSettings(task_only=0.5)
    schedule = make_schedule(settings, 0.05, networks=1, earlier=1)
    for _ in range(200):
        assert multipliers(schedule, 0.4).item() == 0
        schedule.update(torch.tensor([0.0]), torch.tensor([[1.0]], dtype=torch.float64), schedule.share(0.4))
    assert multipliers(schedule, 0.6).item() == pytest.approx(settings.multiplier)
