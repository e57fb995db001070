"""What each part of a training step takes, and what each way of making it fast is worth; all take turns.

    python benchmarks/step_parts.py [--device cpu] [--batch 32] [--rounds 5] [--compile]

PCAE on ViT-B/16 at 224 x 224 with 85 % of the patches hidden, in the loop that trains. Prints JSON:
`shares` of a step's time that the optimizer and the moving average take; `gains`: seconds of the plain way over those
of ours, the median over rounds of the ratio in a round; `kept_mib`: what is kept for the backward pass with blocks
remembered or computed again.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pcae.evaluation.stepper import Stepper
from pcae.evaluation.throughput import device_name, turns
from pcae.methods.pcae import PCAE
from pcae.model.compiled import checkpoint_blocks, compile_blocks
from pcae.model.encoder import Encoder, build_encoder
from pcae.model.tokens import gather, patchify, split
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.allocator import keep_freed_memory
from pcae.training.average import follow
from pcae.training.distributed import pick_device
from pcae.training.optimizer import build_optimizer, parameter_groups, take_step
from pcae.training.plan import autocast_dtype
from pcae.training.randomness import randomness

Calls = dict[str, Callable[[], object]]
STEP, OPTIMIZER, AVERAGE, ONE_BY_ONE = "step", "optimizer", "average", "AdamW parameter by parameter"
PAIRS = {
    "patches gathered before the embedding, student": ("student: all, convolution", "student: gathered, product"),
    "patches gathered before the embedding, teacher": ("teacher: all, convolution", "teacher: gathered, product"),
    "a product instead of a convolution": ("student: gathered, convolution", "student: gathered, product"),
    "the decoder's last block at wanted tokens alone": ("last block: all", "last block: wanted"),
    "attention in one kernel": ("step: attention written out", STEP),
    "AdamW in one kernel": (ONE_BY_ONE, OPTIMIZER),
    "AdamW in a few kernels": ("AdamW in a few kernels", OPTIMIZER),
    "blocks compiled": (STEP, "step: compiled"),
    "blocks computed again": (STEP, "step: computed again"),
}
"""The plain way and ours."""


def stepper_of(said: argparse.Namespace, device: torch.device, images: Tensor) -> Stepper:
    """PCAE at work."""
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(model=said.model))
    method = PCAE(encoder, PCAEConfig(mask_ratio=0.85)).to(device)
    return Stepper(method, build_optimizer(method, OptimizerConfig()), images, autocast_dtype("auto", device))


def whole_steps(said: argparse.Namespace, device: torch.device, images: Tensor) -> dict[str, Stepper]:
    """The step as it is, and as it would be."""
    steppers = {name: stepper_of(said, device, images) for name in (STEP, "step: attention written out")}
    for part in steppers["step: attention written out"].method.modules():
        if isinstance(part, Attention):
            part.fused_attn = False
    steppers["step: computed again"] = stepper_of(said, device, images)
    checkpoint_blocks(steppers["step: computed again"].method)
    if said.compile:
        steppers["step: compiled"] = stepper_of(said, device, images)
        compile_blocks(steppers["step: compiled"].method)
    return steppers


def embeddings(encoder: Encoder, images: Tensor) -> Calls:
    """From images to embedded patches and back, in student and teacher."""
    random = randomness(0, 0, len(images), images.device)
    visible, hidden = split(random.uniform("mask", encoder.grid[0] * encoder.grid[1]), 29)

    def after(ids: Tensor) -> Tensor:
        return gather(encoder.vit.patch_embed(images), ids)

    def before(ids: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
        return embed(gather(patchify(images, encoder.patch_size), ids))

    def convolved(patches: Tensor) -> Tensor:
        small = patches.reshape(-1, images.shape[1], *encoder.patch_size)
        return encoder.vit.patch_embed.proj(small).reshape(*patches.shape[:2], -1)

    def trained(embedded: Callable[[], Tensor]) -> None:
        embedded().sum().backward()

    return {
        "student: all, convolution": partial(trained, partial(after, visible)),
        "student: gathered, convolution": partial(trained, partial(before, visible, convolved)),
        "student: gathered, product": partial(trained, partial(before, visible, encoder.embed)),
        "teacher: all, convolution": torch.no_grad()(partial(after, hidden)),
        "teacher: gathered, product": torch.no_grad()(partial(before, hidden, encoder.embed)),
    }


def last_block(block: Block, images: int, device: torch.device) -> Calls:
    """The decoder's last block over 50 tokens, of which 20 are wanted, and back."""
    tokens = torch.randn(images, 50, block.norm1.normalized_shape[0], device=device, requires_grad=True)
    return {
        "last block: wanted": lambda: block(tokens, 20).sum().backward(),
        "last block: all": lambda: Block.forward(block, tokens)[:, -20:].sum().backward(),
    }


def optimizers(method: nn.Module) -> Calls:
    """A step of the optimizer on gradients that are there, ours and two plain ones."""
    parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
    gradients = [torch.full_like(parameter, 1e-3) for parameter in parameters]

    def given(step: Callable[[], object]) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        step()

    groups = partial(parameter_groups, method, 0.05)
    plain = [torch.optim.AdamW(groups(), lr=1e-6, foreach=foreach, fused=False) for foreach in (False, True)]
    ours = build_optimizer(method, replace(OptimizerConfig(), base_lr=1e-6))
    return {
        OPTIMIZER: partial(given, partial(take_step, ours)),
        ONE_BY_ONE: partial(given, plain[0].step),
        "AdamW in a few kernels": partial(given, plain[1].step),
    }


def measure(said: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Take turns."""
    images = torch.randn(said.batch, 3, 224, 224).to(device)
    steppers = whole_steps(said, device, images)
    method = stepper_of(said, device, images).method  # of its own: gradients that stay would slow the step's own down
    assert isinstance(method, PCAE)
    calls: Calls = {name: stepper.step for name, stepper in steppers.items()}
    calls |= {AVERAGE: partial(follow, method.teacher.encoder, method.student, 0.999, torch.tensor(True).to(device))}
    calls |= optimizers(method) | embeddings(method.student, images)
    calls |= last_block(method.decoder.blocks[-1], said.batch, device)
    spent = turns(calls, device, said.rounds)
    ratios = {
        name: round(median(one / two for one, two in zip(spent[plain], spent[ours], strict=True)), 3)
        for name, (plain, ours) in PAIRS.items()
        if plain in spent and ours in spent
    }
    return {
        "machine": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "batch": said.batch,
        "rounds": said.rounds,
        "shares": {
            name: round(median(part / step for part, step in zip(spent[name], spent[STEP], strict=True)), 4)
            for name in (OPTIMIZER, AVERAGE)
        },
        "gains": ratios,
        "kept_mib": {name: round(steppers[name].kept() / 2**20) for name in (STEP, "step: computed again")},
        "seconds": {name: round(median(values), 4) for name, values in spent.items()},
    }


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--device", default="cpu")
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--batch", type=int, default=32)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--compile", action="store_true")
    said = words.parse_args()
    keep_freed_memory()
    print(json.dumps(measure(said, pick_device(said.device)), indent=2))


if __name__ == "__main__":
    main()
