import torch

from pcae.training.randomness import randomness, seed_of

CPU = torch.device("cpu")


def test_parts_are_the_rows_of_the_global_batch():
    whole = randomness(1, 2, 12, CPU)
    parts = torch.cat([whole.part(index, 3).uniform("mask", 7) for index in range(3)])
    torch.testing.assert_close(parts, whole.uniform("mask", 7), rtol=0, atol=0)
    assert parts.shape == (12, 7)


def test_every_seed_step_and_purpose_has_a_stream_of_its_own():
    draws = [randomness(s, t, 4, CPU).uniform(p, 3) for s in (0, 1) for t in (0, 1) for p in ("mask", "flip")]
    assert len({tuple(random.flatten().tolist()) for random in draws}) == 8


def test_seeds_do_not_depend_on_the_process():
    assert seed_of(0, 1, "mask") == 6471863379261574243
