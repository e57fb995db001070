import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.distributed import HashStore

from pcae.training.checkpoint import read
from pcae.training.distributed import check_device, pick_device, word_of_this_start
from pcae.training.logging import read_metrics
from tests.processes import succeed, together


def start(out: Path, steps: int, resume: str = "auto", processes: int = 1, accumulation: int = 1) -> None:
    succeed(*together(["tests.training.worker", str(out), str(steps), resume, str(accumulation)], processes))


def state(out: Path, step: int) -> dict[str, torch.Tensor]:
    return read(out / "checkpoints" / f"step-{step:08d}.safetensors")[0]


def assert_close(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """30 steps in one process, with checkpoints after 12, 24 and 30."""
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    start(out, 30)
    return out


@pytest.mark.slow
def test_two_processes_equal_one(unbroken, tmp_path):
    """Half the batch each; student, teacher, decoder and optimizer, after 12 steps and after 30."""
    start(tmp_path / "two", 30, processes=2)
    assert_close(state(unbroken, 12), state(tmp_path / "two", 12))
    assert_close(state(unbroken, 30), state(tmp_path / "two", 30))
    losses = [[line["loss"] for line in read_metrics(out) if "loss" in line] for out in (unbroken, tmp_path / "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-8) and len(losses[0]) == 30


@pytest.mark.slow
def test_twelve_steps_in_one_process_and_eighteen_in_two_equal_thirty(unbroken, tmp_path):
    resumed = tmp_path / "resumed"
    start(resumed, 30, str(unbroken / "checkpoints" / "step-00000012.safetensors"), processes=2)
    assert_close(state(unbroken, 30), state(resumed, 30))


@pytest.mark.slow
def test_two_processes_with_two_micro_batches_each_equal_one(unbroken, tmp_path):
    start(tmp_path / "four", 30, processes=2, accumulation=2)
    assert_close(state(unbroken, 30), state(tmp_path / "four", 30))


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device 'cuda:77' is not usable here"):
        pick_device("cuda:77")
    with pytest.raises(ValueError, match="device 'gpu' is not usable here"):
        pick_device("gpu")


def test_processes_on_other_kinds_of_devices_do_not_wait_for_each_other():
    """Where one of the machines has lost its GPUs, say."""
    store = HashStore()
    check_device(store, 0, torch.device("cuda", 0))
    check_device(store, 1, torch.device("cuda", 1))
    with pytest.raises(ValueError, match="found the device cpu and the first one cuda; mend the driver"):
        check_device(store, 2, torch.device("cpu"))


def test_what_an_earlier_start_said_is_passed_over():
    """Its word is still in the store, and an answer under it; those that come too early ask again."""
    store = HashStore()
    store.set("start", "an-earlier-one")
    with ThreadPoolExecutor() as threads:
        others = [threads.submit(word_of_this_start, store, rank, 3) for rank in (1, 2)]
        while not store.check([f"an-earlier-one/{rank}" for rank in (1, 2)]):
            time.sleep(0.01)
        word = word_of_this_start(store, 0, 3)
        assert [other.result() for other in others] == [word, word] and word != "an-earlier-one"
    with ThreadPoolExecutor() as threads:
        other = threads.submit(word_of_this_start, store, 1, 2)
        assert word_of_this_start(store, 0, 2) == other.result() != word
