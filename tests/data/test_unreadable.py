"""Corrupt files do not kill day three: they are replaced, counted and named."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from pcae.data.batches import MicroBatches, pixel_statistics, training_loader, whole_loader
from pcae.data.crops import RandomCrops
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles, Replaced
from pcae.evaluation.features import readable
from tests.photographs import make_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """20 files, three of them torn."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    make_folder(folder, 20, bad=3)
    return folder


def torn(images) -> set[int]:
    return {index for index, name in enumerate(images.names) if "torn" in name}


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_replaced_and_counted_by_any_number_of_workers(folder, workers):
    images = open_images(str(folder))
    crops = RandomCrops(images, (16, 16), (0.2, 1.0), seed=3)
    order = MicroBatches(len(images), 3, batch_size=5, start=0, steps=8, rank=0, processes=1, accumulation=1)
    batches = list(training_loader(crops, order, workers, CPU))
    assert all(batch.pixels.shape == (5, 3, 16, 16) for batch in batches)
    assert {index for batch in batches for index in batch.failed} == torn(images)
    wanted = [index for batch in order for index, _ in batch]
    shown = [index for batch in batches for index in batch.indices]
    assert not torn(images) & set(shown)
    assert [a == b for a, b in zip(wanted, shown, strict=True)] == [index not in torn(images) for index in wanted]


def test_the_replacement_depends_on_seed_and_position_alone(folder):
    images = open_images(str(folder))
    bad = min(torn(images))
    one = Replaced(RandomCrops(images, (16, 16), (0.2, 1.0), seed=3))
    assert torch.equal(one[bad, 7].pixels, one[bad, 7].pixels)
    assert len({one[bad, position].image for position in range(20)}) > 5


def test_whole_images_that_cannot_be_read_have_no_row(folder):
    images = open_images(str(folder))
    batches = list(whole_loader(images, (16, 16), batch_size=3))
    read = [index for batch in batches for index in batch.indices]
    assert read == [index for index in range(20) if index not in torn(images)]
    assert sum(len(batch.pixels) for batch in batches) == 17
    assert images.without(torn(images)).names == [images.names[i] for i in read]


def test_statistics_leave_them_out(folder):
    images = open_images(str(folder))
    bad_files = BadFiles(images, 0.2)
    found = pixel_statistics(images, (16, 16), bad_files)
    clean = images.without(bad_files.found)
    assert len(clean) == 17 and found == pixel_statistics(clean, (16, 16), BadFiles(clean, 0.0))


def test_too_many_are_refused_with_names_and_the_remedy(folder):
    images = open_images(str(folder))
    bad_files = BadFiles(images, 0.1)
    bad_files.add(dict.fromkeys(sorted(torn(images))[:2], "torn"))
    bad_files.check()
    bad_files.add({max(torn(images)): "torn, too"})
    with pytest.raises(
        ValueError, match=r"3 of 20 images cannot be read: .*torn 0.jpg' \(torn\), .*--max-bad-files 0.1"
    ):
        bad_files.check()


def test_many_names_are_cut_short(folder):
    bad_files = BadFiles(open_images(str(folder)), 0.5)
    bad_files.add(dict.fromkeys(range(14), "x"))
    assert bad_files.describe().endswith(" and 4 more") and bad_files.describe().count(" (x)") == 10


def test_a_folder_of_nothing_but_torn_files_stops_at_once(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(b"torn")
    crops = RandomCrops(open_images(str(tmp_path)), (16, 16), (0.2, 1.0), seed=0)
    with pytest.raises(ValueError, match="100 images in a row cannot be read, the first one: .*1.jpg' "):
        Replaced(crops)[1, 0]


def test_what_was_found_is_written_down_and_looked_at_again_wherever_the_data_lie(folder, tmp_path):
    images = open_images(str(folder))
    bad_files = BadFiles(images, 0.5)
    bad_files.add(dict.fromkeys(sorted(torn(images)), 'a "reason"'))
    (tmp_path / "bad.jsonl").write_text(bad_files.lines())
    rows = [json.loads(line) for line in bad_files.lines().splitlines()]
    assert rows == [{"file": f"torn {n}", "reason": 'a "reason"'} for n in ("0.jpg", "1.png", "2.tif")]
    moved = shutil.copytree(folder, tmp_path / "moved")
    shutil.copy(next(moved.glob("photo*.jpg")), moved / "torn 0.jpg")  # repaired
    again = BadFiles(open_images(str(moved)), 0.5)
    again.look_again(tmp_path / "bad.jsonl")
    again.look_again(tmp_path / "absent.jsonl")
    assert [again.images.short(index) for index in again.found] == ["torn 1.png", "torn 2.tif"]


def test_a_sample_stops_a_run_only_when_it_is_clearly_above_the_limit(folder):
    images = replace(open_images(str(folder)), items=["x.jpg"] * 100_000, names=["x.jpg"] * 100_000)
    bad_files = BadFiles(images, 0.05)
    bad_files.add(dict.fromkeys(range(110), "torn"))  # of 2,000: 5.5 %, which data with 5 % show now and then
    bad_files.check(2_000)
    bad_files.add(dict.fromkeys(range(150), "torn"))
    with pytest.raises(ValueError, match="150 of 2000 images looked at cannot be read"):
        bad_files.check(2_000)


def test_a_file_that_is_listed_twenty_times_is_unreadable_twenty_times(folder, tmp_path):
    (tmp_path / "list.txt").write_text(f"{folder / 'torn 0.jpg'}\n" * 20)
    images = open_images(str(tmp_path / "list.txt"))
    with pytest.raises(ValueError, match="20 of 20 images cannot be read"):
        list(readable(whole_loader(images, (16, 16)), BadFiles(images, 0.5)))
