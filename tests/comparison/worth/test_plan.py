"""The minutes: what is gone is counted over all starts, and what is left is shared by measured speed."""

import itertools
import json

import pytest

from pcae.comparison.worth.budget import FEWEST, KEPT_BACK, Clock, Pace
from pcae.comparison.worth.curve import POINTS
from pcae.comparison.worth.plan import Piece, affordable, unit_of
from pcae.comparison.worth.rows import Row

SCRATCH, MADE, GIVEN = Row("random weights", "random"), Row("made", "pretrained"), Row("W, continued", "continued", "W")


def clock(seconds, *times):
    return Clock(seconds, now=itertools.chain(times, itertools.repeat(times[-1])).__next__)


def test_a_clock_counts_earlier_starts(tmp_path):
    one = clock(100, 0, 30)
    one.go_on(tmp_path / "minutes.json")
    one.remember()
    again = clock(100, 1000, 1010)
    again.go_on(tmp_path / "minutes.json")
    assert again.spent() == pytest.approx(40) and again.left() == pytest.approx(60 - KEPT_BACK)
    assert clock(100, 0, 300).left() == 0
    (tmp_path / "minutes.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged; remove it"):
        again.go_on(tmp_path / "minutes.json")


def test_a_pace_learns_from_what_a_run_took():
    pace = Pace(1.0, 5.0)
    assert pace.steps(25) == 20 and pace.steps(3) == 0
    pace.learn(10, 20.0, 28.0)
    assert (pace.step, pace.beside) == (2.0, 8.0) and pace.steps(28) == 10


def pieces(made=0.1, tuned=0.1, slow=0.2):
    return [
        Piece(SCRATCH, "fine-tuning", Pace(tuned)),
        Piece(MADE, "pre-training", Pace(made, 2.0)),
        Piece(MADE, "fine-tuning", Pace(tuned)),
        Piece(GIVEN, "pre-training", Pace(slow, 2.0)),
        Piece(GIVEN, "fine-tuning", Pace(slow)),
    ]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_shares_of_all_pieces_are_what_is_left(seeds):
    every = pieces() * seeds
    unit = unit_of(900.0, every)
    spent = sum(piece.time * unit for piece in every)
    assert spent == pytest.approx(900)
    taken = 0.0
    for piece in every:
        runs = POINTS if piece.what == "pre-training" else (1.0,)
        taken += sum(piece.pace.beside + piece.pace.step * share * piece.steps(unit) for share in runs)
    assert 0.97 * 900 < taken <= 900 + 1e-6


def test_from_scratch_has_the_time_of_pre_training_and_fine_tuning_together():
    assert pieces()[0].time == 1 + pieces()[2].time


def test_what_would_hardly_begin_leaves_its_time_to_the_others():
    kept, remarks = affordable(pieces(slow=30.0), 3, 600.0, 10.0)
    assert [(piece.row, piece.what) for piece in kept] == [(one.row, one.what) for one in pieces()[:3]]
    assert "W, continued: no pre-training" in remarks[0] and "a step takes 30 s here" in remarks[0]
    assert remarks[-1].startswith("--minutes ") and len(remarks) == 2
    minutes = int(remarks[-1].split()[1])
    assert affordable(pieces(slow=30.0), 3, 600.0 + 60 * (minutes - 10), minutes)[1] == []


def test_what_is_kept_makes_some_steps_in_its_shortest_run():
    for left in (5.0, 60.0, 200.0, 5000.0):
        kept, _ = affordable(pieces(slow=3.0), 3, left, 10.0)
        unit = unit_of(left, kept * 3)
        assert all(piece.shortest(unit) >= FEWEST - 1 for piece in kept)
    assert affordable(pieces(), 3, 0.0, 1.0)[0] == []


def test_fine_tuning_has_a_limit():
    assert Piece(SCRATCH, "fine-tuning", Pace(0.01), most=50).steps(1000.0) == 50


def test_the_clock_s_file_is_plain(tmp_path):
    one = clock(100, 0, 30)
    one.go_on(tmp_path / "minutes.json")
    one.remember()
    assert json.loads((tmp_path / "minutes.json").read_text()) == {"seconds": 30}
