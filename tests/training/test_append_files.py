import resource

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pcae.training.append_files import Board, Records


def test_a_record_that_has_no_room_is_cut_off_whole(tmp_path):
    records = Records(tmp_path / "lines")
    records.write(b"first\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9, before[1]))
    try:
        with pytest.raises(ValueError, match="lines cannot be written: File too large"):
            records.write(b"second\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert records.path.read_bytes() == b"first\n"
    records.write(b"third\n")
    assert records.path.read_bytes() == b"first\nthird\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file/lines cannot be written: "):
        Records(tmp_path / "file" / "lines").write(b"first\n")


def test_tensorboard_reads_numbers_and_words_at_once_and_later_starts_take_the_place_of_earlier_steps(tmp_path):
    first = Board(tmp_path, 0)
    for step in (1, 2, 3, 4):
        first.number("loss", step, step)
    first.words("warnings/one", "look here", 2)
    second = Board(tmp_path, 2)  # the first was killed: nothing closed it
    for step in (3, 4, 5):
        second.number("loss", 10.0 * step, step)
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 1), (2, 2), (3, 30), (4, 40), (5, 50)]
    (words,) = found.Tensors("warnings/one/text_summary")
    assert (words.step, words.tensor_proto.string_val[0]) == (2, b"look here")
