"""Trials that several processes draw from one study: none twice, no more than asked for, none lost with its process."""

import pytest

from llmrec_jax.config import Config
from llmrec_jax.tuning import sweep as sweep_lib
from llmrec_jax.tuning.space import Choice, Range
from llmrec_jax.tuning.trials import STARTUP_TRIALS, best_of, draw, finished, open_study, taken, working

SPACE = {"model.dropout": Range(0.0, 0.5, is_log=False, is_int=False)}


@pytest.fixture
def studies(tmp_path):
    """The study as two processes see it that start together."""
    return [open_study(tmp_path), open_study(tmp_path)]


def drawn_in_turns(studies, space, trials):
    """The values that each process draws, all at work until the next turn."""
    values = [[], []]
    running = [draw(study, space, trials, 0, f"process {n}") for n, study in enumerate(studies)]
    while any(running):
        for n, study in enumerate(studies):
            if running[n]:
                values[n].append(running[n].values)
                study.tell(running[n].trial, 0.5)
        running = [draw(study, space, trials, 0, f"process {n}") for n, study in enumerate(studies)]
    return values


def test_processes_that_start_together_draw_different_values(studies):
    first, second = drawn_in_turns(studies, SPACE, 7)
    assert (len(first), len(second)) == (4, 3)
    assert len({values["model.dropout"] for values in first + second}) == 7
    assert len(finished(studies[0])) == len(taken(studies[1])) == 7


def test_no_values_are_tried_twice(studies):
    space = {"model.width": Choice((48, 64)), "model.num_layers": Range(1, 3, is_log=False, is_int=True)}
    first, second = drawn_in_turns(studies, space, 20)
    assert len(first) == len(second) == 3
    assert len({tuple(values.values()) for values in first + second}) == 6  # all that there are


def test_the_trial_of_a_killed_process_is_drawn_again(studies, tmp_path):
    first, second = studies
    killed = draw(first, SPACE, 3, 0, "killed")  # holds no lock any more
    with working(first, tmp_path) as process:
        again = draw(first, SPACE, 3, 0, process)
        assert (again.values, again.number) == (killed.values, 1)
        with working(second, tmp_path) as other:  # the first process is at work
            assert draw(second, SPACE, 3, 0, other).values != again.values
    with working(second, tmp_path) as other:  # both were killed now
        values = [draw(second, SPACE, 3, 0, other).values for _ in range(3)]
        assert again.values in values
        assert draw(second, SPACE, 3, 0, other) is None
    assert list((tmp_path / "processes").iterdir()) == []


def test_the_best_of_another_process_is_not_overwritten(studies, tmp_path, monkeypatch):
    first, second = studies
    trials = [draw(study, SPACE, 9, 0, "process") for study in studies]
    first.tell(trials[0].trial, 0.5)
    written = sweep_lib.as_source

    def slowly(config, text):
        if not best_of(finished(second)).value > 0.5:
            second.tell(trials[1].trial, 0.7)
            sweep_lib._write_best(second, Config(), tmp_path)
        return written(config, text)

    monkeypatch.setattr(sweep_lib, "as_source", slowly)
    sweep_lib._write_best(first, Config(), tmp_path)
    assert "The best of 2 trials of a sweep, with a validation of 0.7000." in (tmp_path / "best.py").read_text()


def test_a_trial_is_compared_with_those_of_other_processes(studies):
    first, second = studies
    for _ in range(STARTUP_TRIALS):
        trial = draw(first, SPACE, 9, 0, "first").trial
        trial.report(0.5, 1)
        first.tell(trial, 0.5)
    for value, is_stopped in ((0.4, True), (0.6, False)):
        trial = draw(second, SPACE, 9, 0, "second").trial
        trial.report(value, 1)
        assert trial.should_prune() == is_stopped
