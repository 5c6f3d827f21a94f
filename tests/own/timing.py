"""Beside the task of the tests: an edit here must run its jobs again."""


def periods(task, n_trials, random):
    """Steps: end of the first pulse, start of the second (trial, 1), go (trial, 1), length of the trial."""
    pulse = task.steps(0.1)
    second_on = pulse + task.draw_steps(task.delay, n_trials, random)
    return pulse, second_on, second_on + pulse, 2 * pulse + task.steps(task.delay[1] + 0.2)
