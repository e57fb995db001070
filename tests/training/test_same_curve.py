"""What makes a step fast changes no loss: twenty steps beside the plain code, in float64, where rounding is small."""

from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from itertools import count

import pytest
import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch.utils._python_dispatch import TorchDispatchMode

from pcae.data.augment import Normalise, flip
from pcae.methods import simmim, teacher
from pcae.methods.choice import build_method
from pcae.model import decoder
from pcae.model import encoder as encoders
from pcae.model.compiled import checkpoint_blocks, compile_blocks
from pcae.model.encoder import Encoder, build_encoder
from pcae.model.tokens import gather, patchify
from pcae.settings.methods import MethodConfig, TeacherConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.settings.tasks import ClassificationConfig
from pcae.tasks.classification import Classification, drop_schedule
from pcae.training import average
from pcae.training.loop import Progress, loop
from pcae.training.micro_batches import Labelled
from pcae.training.optimizer import build_optimizer, parameter_groups
from pcae.training.randomness import randomness
from tests.conftest import TINY

pytestmark = pytest.mark.trains

STEPS, BATCH, CPU = 20, 4, torch.device("cpu")
METHODS = {
    "pcae": MethodConfig(teacher=TeacherConfig(momentum=0.9, stages=2)),
    "views": MethodConfig(mask_ratio=0.85, views=2, pool_ratio=0.4, teacher=TeacherConfig(momentum=0.9, stages=1)),
    "mae": MethodConfig(method="mae"),
    "pcae-simmim": MethodConfig(method="pcae-simmim", teacher=TeacherConfig(momentum=0.9, stages=1)),
}


def made(name: str, network: EncoderConfig = TINY) -> torch.nn.Module:
    torch.manual_seed(0)
    has_decoder = name != "pcae-simmim"
    small = DecoderConfig(decoder_width=16, decoder_depth=2, decoder_heads=2) if has_decoder else DecoderConfig()
    return build_method(build_encoder(network), METHODS[name], small).double()


def images_of(step: int) -> torch.Tensor:
    return torch.randn(BATCH, 3, 32, 48, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def curve(method: torch.nn.Module, optimizer=None, batch_of=images_of, steps=STEPS) -> list[float]:
    """The loss of every step."""
    stream = ((batch_of(step), randomness(0, step, BATCH, CPU)) for step in count())
    losses: list[float] = []
    optimizer = optimizer or build_optimizer(method, OptimizerConfig())
    watchers = [(1, lambda progress: losses.append(float(progress.loss)))]
    loop(method, stream, optimizer, lambda step: 1e-3, Progress(steps), watchers, clip_grad=1.0)
    return losses


@cache
def usual(name: str) -> list[float]:
    """The curve of a method as it is, trained once for all tests; asked for before anything is put in its place."""
    return curve(made(name))


def agree(fast: list[float], plain: list[float]) -> None:
    assert len(set(fast)) == len(fast) == len(plain)
    assert fast == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_patches_gathered_before_a_matrix_product_or_after_a_convolution(name, monkeypatch):
    fast, whole = usual(name), []

    def embedded(self, ids):
        return gather(self.vit.patch_embed(whole[-1]).repeat(len(ids) // BATCH, 1, 1), ids)

    def forward(self, patches, ids, grid, **options):
        return self.encode(embedded(self, ids), ids, grid, **options)

    def masked(encoder, mask_token, visible, visible_ids, wanted_ids):
        tokens = torch.cat([embedded(encoder, visible_ids), mask_token.expand(*wanted_ids.shape, -1)], dim=1)
        done = encoder.encode(tokens, torch.cat([visible_ids, wanted_ids], dim=1), encoder.grid).tokens
        return done[:, : visible_ids.shape[1]], done[:, visible_ids.shape[1] :]

    def remembered(images, patch_size):
        whole.append(images)
        return patchify(images, patch_size)

    monkeypatch.setattr(encoders, "patchify", remembered)
    monkeypatch.setattr(Encoder, "forward", forward)
    monkeypatch.setattr(simmim, "encode_masked", masked)
    agree(fast, curve(made(name)))
    assert len(whole) == STEPS


@pytest.mark.parametrize("name", ["pcae", "views", "mae"])
def test_the_last_block_of_the_decoder_at_the_wanted_tokens_or_at_all(name, monkeypatch):
    fast = usual(name)
    monkeypatch.setattr(decoder.LastBlock, "forward", lambda self, x, wanted: Block.forward(self, x)[:, -wanted:])
    agree(fast, curve(made(name)))


@pytest.mark.parametrize("name", METHODS)
def test_one_kernel_of_attention_or_all_of_it_written_out(name):
    plain = made(name)
    for part in plain.modules():
        if isinstance(part, Attention):
            part.fused_attn = False
    agree(usual(name), curve(plain))


class PlainAdamW(torch.optim.AdamW):
    """One parameter after the other, with no thought of gradients that are not finite."""

    def step(self, closure=None):
        del self.found_inf
        return super().step(closure)


@pytest.mark.parametrize("name", METHODS)
def test_adamw_in_one_kernel_or_parameter_by_parameter(name):
    plain = made(name)
    groups = parameter_groups(plain, OptimizerConfig().weight_decay)
    optimizer = PlainAdamW(groups, betas=OptimizerConfig().betas, fused=False, foreach=False)
    agree(usual(name), curve(plain, optimizer))


def test_the_average_moved_at_once_one_by_one_or_by_its_formula(monkeypatch):
    each = usual("pcae")
    with monkeypatch.context() as patch:
        patch.setattr(average, "move_each", average.move_together)
        agree(curve(made("pcae")), each)

    def by_formula(mean, model, momentum, taken):
        for mine, its in zip(mean.parameters(), model.parameters(), strict=True):
            mine.data = momentum * mine.data + (1 - momentum) * its.data if taken else mine.data

    monkeypatch.setattr(teacher, "follow", by_formula)
    agree(each, curve(made("pcae")))


@pytest.mark.parametrize("name", METHODS)
def test_blocks_computed_again_in_the_backward_pass_or_remembered(name):
    again = made(name)
    checkpoint_blocks(again)
    agree(curve(again), usual(name))


class MatrixProducts(TorchDispatchMode):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", METHODS)
def test_blocks_that_are_computed_again_take_more_products(name):
    """Three more for each block of student and decoder: what the fourth makes, nobody needs."""
    products = {}
    for again in (False, True):
        method = made(name)
        if again:
            checkpoint_blocks(method)
        with MatrixProducts() as counter:
            method(images_of(0), randomness(0, 0, BATCH, CPU)).loss.backward()
        products[again] = counter.count
    blocks = 6 + (0 if name == "pcae-simmim" else 2)
    assert products[True] - products[False] == 3 * blocks


def test_fine_tuning_with_drop_path_computed_again_or_remembered():
    """What was left out the first time is left out the second time, too."""

    def task() -> Classification:
        torch.manual_seed(0)
        vit = build_encoder(TINY).vit
        vit.reset_classifier(3, global_pool="avg")
        torch.nn.init.normal_(vit.head.weight, std=0.02)
        config = ClassificationConfig(drop_path=0.3, drop_ratio="0.3", mixup=0.0, cutmix=0.0)
        return Classification(vit, config, drop_schedule(config, STEPS, 10.0)).double()

    def batch_of(step: int) -> Labelled:
        labels = torch.arange(BATCH) % 3
        return Labelled(images_of(step % 3) + labels.view(-1, 1, 1, 1), labels)

    again = task()
    checkpoint_blocks(again)
    agree(curve(again, batch_of=batch_of), curve(task(), batch_of=batch_of))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("name", ["pcae", "pcae-simmim"])
def test_blocks_compiled_or_not(name):
    """Each block is compiled for itself, so that few are enough."""
    shallow = replace(TINY, depth=2)
    compiled = made(name, shallow)
    names = list(compiled.state_dict())
    compile_blocks(compiled)
    torch._dynamo.utils.counters.clear()
    agree(curve(compiled), curve(made(name, shallow)))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    assert not torch._dynamo.utils.counters["graph_break"] and list(compiled.state_dict()) == names


class Waits(TorchDispatchMode):
    """Refuses operators whose result the host needs: on a GPU it would wait for them."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}, name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", METHODS)
def test_the_host_never_waits_inside_a_step(name):
    """Masks, flips, normalisation, loss, gradient, clipping, optimizer and average."""
    method, steps = made(name), 3
    optimizer, normalise = build_optimizer(method, OptimizerConfig()), Normalise([0.5] * 3, [0.2] * 3, 3).double()

    def stream():
        for step in count():
            random = randomness(0, step, BATCH, CPU)
            pixels = torch.randint(0, 256, (BATCH, 3, 32, 48), dtype=torch.uint8)
            with Waits() if step else nullcontext():
                images = normalise(flip(pixels, random.uniform("flip"))).double()
            yield images, random

    loop(method, stream(), optimizer, lambda step: 1e-3, Progress(1), [])  # AdamW makes its state in the first step
    with Waits():
        loop(method, stream(), optimizer, lambda step: 1e-3, Progress(steps), [], clip_grad=1.0)
