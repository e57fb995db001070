"""Who may hear of a run, and that trackers which fail are left out while callbacks which fail are remembered."""

import pytest

import pcae
from pcae.training.callbacks import Audience, Tracker, as_callbacks


class Counts(pcae.Callback):
    def __init__(self):
        self.steps = []

    def on_step(self, step, numbers):
        self.steps.append((step, numbers["loss"]))


class Alone:
    """No Callback, with one of its methods."""

    def __init__(self):
        self.ended = []

    def on_end(self, summary):
        self.ended.append(summary)


class Failing(Tracker):
    def __init__(self, error):
        self.error, self.calls = error, 0

    def on_step(self, step, numbers):
        self.calls += 1
        raise self.error

    def close(self, *, failed):
        raise AssertionError("it hears no more")


def test_an_object_with_any_of_the_methods_is_told_by_those():
    counts, alone = Counts(), Alone()
    audience = Audience(as_callbacks([counts, alone]))
    audience.tell(lambda one: one.on_step(3, {"loss": 0.5}))
    audience.tell(lambda one: one.on_end({"steps": 3}))
    assert counts.steps == [(3, 0.5)] and alone.ended == [{"steps": 3}]


class Misspelled(pcae.Callback):
    def on_epoch(self):
        pass


@pytest.mark.parametrize(
    ("callbacks", "says"),
    [
        ([Misspelled()], "callback Misspelled has on_epoch, which nothing calls; there are on_start, on_step"),
        ([Counts], r"callback Counts is a class; give an object of it: Counts\(...\)"),
        ([7], "callback 7 has none of on_start, .*; derive it from pcae.Callback"),
        (Counts(), r"callbacks takes a list, got .*; write callbacks=\[...\]"),
    ],
)
def test_what_would_never_be_called_is_refused(callbacks, says):
    with pytest.raises(ValueError, match=says):
        as_callbacks(callbacks)


def test_python_refuses_it_before_any_work(tmp_path):
    with pytest.raises(ValueError, match="Misspelled has on_epoch"):
        pcae.pretrain("sample", tmp_path / "run", recipe="sample", callbacks=[Misspelled()])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [ConnectionError("the service\nis gone"), RuntimeError()])
def test_a_tracker_that_fails_is_left_out_with_one_warning_and_the_others_go_on(capsys, error):
    failing, counts = Failing(error), Counts()
    audience = Audience([counts], {"wandb": failing})
    for step in (1, 2):
        audience.tell(lambda one, step=step: one.on_step(step, {"loss": 1.0}))
    audience.close(failed=False)
    assert failing.calls == 1 and counts.steps == [(1, 1.0), (2, 1.0)]
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.count("wandb takes nothing more of this run") == 1
    assert (str(error).replace("\n", " ") or "RuntimeError") in said
    audience.raise_failure()


def test_what_a_callback_raises_is_kept_and_nobody_is_told_after_it():
    class Breaks(pcae.Callback):
        def on_step(self, step, numbers):
            raise KeyError("mine")

    counts = Counts()
    audience = Audience([Breaks(), counts])
    for step in (1, 2):
        audience.tell(lambda one, step=step: one.on_step(step, {"loss": 1.0}))
    assert counts.steps == []
    with pytest.raises(KeyError, match="mine"):
        audience.raise_failure()
