from itertools import count

import pytest
import torch

from pcae.methods.pcae import PCAE
from pcae.model.encoder import build_encoder
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import DecoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.loop import Progress, StepResult, loop
from pcae.training.optimizer import build_optimizer
from pcae.training.randomness import randomness
from tests.conftest import TINY

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")
SMALL = DecoderConfig(decoder_width=16, decoder_depth=1, decoder_heads=2)


def images_of(step: int) -> torch.Tensor:
    return torch.randn(8, 3, 32, 48, generator=torch.Generator().manual_seed(step))


def batches(accumulation: int, start: int = 0):
    for step in count(start):
        for micro in range(accumulation):
            random = randomness(0, step, 8, CPU).part(micro, accumulation)
            yield images_of(step)[random.rows], random


def train(accumulation: int, steps: int = 5, stream=None, watchers=(), dtype=torch.float32):
    torch.manual_seed(0)
    method = PCAE(build_encoder(TINY), PCAEConfig(momentum=0.9), SMALL).to(dtype)
    optimizer = build_optimizer(method, OptimizerConfig())
    progress = Progress(steps)
    stream = stream or ((images.to(dtype), random) for images, random in batches(accumulation))
    loop(method, stream, optimizer, lambda step: 1e-3, progress, list(watchers), accumulation=accumulation)
    return method, progress


def test_two_half_batches_equal_one_batch():
    """Student, decoder and teacher alike: the teacher moves once per optimizer step, not per micro-batch.

    In float64: the bias of the keys has no gradient but rounding, which AdamW would blow up to whole steps.
    """
    (one, _), (two, _) = train(1, dtype=torch.float64), train(2, dtype=torch.float64)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=0, atol=1e-5)


def test_a_poisoned_step_is_skipped_counted_and_moves_nothing():
    def poisoned():
        for step, (images, random) in enumerate(batches(1)):
            yield (images * torch.nan if step == 2 else images), random

    torch.manual_seed(0)
    method = PCAE(build_encoder(TINY), PCAEConfig(momentum=0.9), SMALL)
    seen, snapshots = [], []

    def watch(progress):
        seen.append((progress.step, bool(progress.taken), int(progress.skipped)))
        snapshots.append({name: value.clone() for name, value in method.state_dict().items()})

    loop(method, poisoned(), build_optimizer(method, OptimizerConfig()), lambda s: 1e-3, Progress(4), [(1, watch)])
    assert seen == [(1, True, 0), (2, True, 0), (3, False, 1), (4, True, 1)]
    assert all(torch.equal(snapshots[2][name], value) for name, value in snapshots[1].items())
    assert any(not torch.equal(snapshots[3][name], value) for name, value in snapshots[2].items())


class InfiniteLoss(torch.nn.Module):
    """A loss that is infinite although every gradient is finite."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, batch, random) -> StepResult:
        return StepResult(self.weight.sum() + torch.inf)

    def after_step(self, progress) -> None:
        pass


def test_a_loss_that_is_not_finite_skips_the_step_even_if_the_gradient_is():
    method, progress = InfiniteLoss(), Progress(1)
    loop(method, batches(1), torch.optim.AdamW(method.parameters(), fused=True), lambda s: 0.1, progress, [])
    assert not progress.taken and progress.skipped == 1 and torch.equal(method.weight, torch.ones(2))


def test_watchers_come_at_their_steps_and_after_the_last():
    seen = []
    train(1, steps=5, watchers=[(2, lambda p: seen.append(p.step))])
    assert seen == [2, 4, 5]


def test_the_loop_goes_on_where_progress_stands():
    torch.manual_seed(0)
    method = PCAE(build_encoder(TINY), PCAEConfig(), SMALL)
    rates = []
    loop(
        method, batches(1, 3), build_optimizer(method, OptimizerConfig()), lambda s: rates.append(s) or 1e-3,
        Progress(5, 3), [],
    )  # fmt: skip
    assert rates == [3, 4]


def test_bf16_autocast_trains_in_float32_weights():
    torch.manual_seed(0)
    method = PCAE(build_encoder(TINY), PCAEConfig(), SMALL)
    progress, dtypes = Progress(2), set()
    method.student.vit.blocks[0].mlp.fc1.register_forward_hook(lambda _, __, out: dtypes.add(out.dtype))
    optimizer = build_optimizer(method, OptimizerConfig())
    loop(method, batches(1), optimizer, lambda s: 1e-3, progress, [], autocast=torch.bfloat16)
    assert dtypes == {torch.bfloat16}
    assert progress.skipped == 0 and progress.loss.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in method.parameters())
    assert progress.loss.item() == pytest.approx(train(1, steps=2)[1].loss.item(), abs=0.1)
