"""Training speed of other people's MAE beside ours, all rows taking turns in the same loop with the same optimizer.

    python benchmarks/peers.py [--rows mae pcae-85 transformers lightly] [--mae-repo DIR] [--pcae-repo DIR] [...]

Rows are those of `pcae benchmark`, and MAE as `transformers` and as `lightly` have it, where they are installed; a
checkout of facebookresearch/mae (`--mae-repo`) or of caddyless/PCAE (`--pcae-repo`) is one more row, whose code is run.
All mask 75 % and see made-up images, or with `--data` those that `pcae pretrain` would read. Every other flag, such as
`--against`, `--batch-size`, `--out` and `--json`, is that of `pcae benchmark`, which prints the same table of our rows.
"""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import tyro
from jaxtyping import Float
from timm.models import vision_transformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.benchmarking.entries import ENTRIES, Entry
from pcae.benchmarking.speed import measure_speed
from pcae.commands.benchmark import show
from pcae.model.encoder import create_vit
from pcae.settings.bounds import check_bounds
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.verbs.benchmark import BenchmarkConfig
from pcae.terminal import answer
from pcae.training.loop import Progress, StepResult
from pcae.training.randomness import StepRandom

MASK_RATIO = 0.75
USUAL_DEPTH = 8
"""Of MAE's decoder."""
MOMENTUM = 0.9999
"""With which the public PCAE code's teacher follows."""
MODELS, POSITIONS = "models_mae.py", "util/pos_embed.py"
"""The files of a checkout that are run; both repositories have them."""


class Peer(nn.Module):
    """A method that nothing moves but the optimizer."""

    def after_step(self, progress: Progress) -> None:
        """Nothing to do."""


class TransformersMAE(Peer):
    """transformers' ViTMAEForPreTraining of these sizes. Raises ValueError where transformers is not installed."""

    def __init__(self, config: EncoderConfig, decoder: DecoderConfig) -> None:
        super().__init__()
        transformers = imported("transformers")
        vit = create_vit(config, channels=config.channels or 3)
        block: Any = vit.blocks[0]
        self.theirs = transformers.ViTMAEForPreTraining(
            transformers.ViTMAEConfig(
                hidden_size=vit.embed_dim,
                num_hidden_layers=len(vit.blocks),
                num_attention_heads=block.attn.num_heads,
                intermediate_size=4 * vit.embed_dim,
                image_size=config.image_size[0],
                patch_size=vit.patch_embed.patch_size[0],
                num_channels=config.channels or 3,
                decoder_hidden_size=decoder.decoder_width,
                decoder_num_hidden_layers=decoder.decoder_depth or USUAL_DEPTH,
                decoder_num_attention_heads=decoder.decoder_heads,
                decoder_intermediate_size=4 * decoder.decoder_width,
                mask_ratio=MASK_RATIO,
                norm_pix_loss=True,
            )
        )

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: StepRandom) -> StepResult:
        """Their loss, with our noise."""
        tokens = self.theirs.vit.embeddings.patch_embeddings.num_patches
        return StepResult(self.theirs(batch, noise=random.uniform("mask", tokens)).loss)


class LightlyMAE(Peer):
    """MAE out of lightly's parts, put together as their documentation has it. Raises ValueError without lightly."""

    def __init__(self, config: EncoderConfig, decoder: DecoderConfig) -> None:
        super().__init__()
        modules, self.tools = imported("lightly.models.modules"), imported("lightly.models.utils")
        vit = create_vit(config, channels=config.channels or 3, num_classes=0, global_pool="")
        self.patch, self.tokens = vit.patch_embed.patch_size[0], vit.patch_embed.num_patches
        width = decoder.decoder_width
        self.encoder = modules.MaskedVisionTransformerTIMM(vit)
        self.embed = nn.Linear(vit.embed_dim, width)
        self.decoder = modules.MaskedVisionTransformerDecoderTIMM(
            num_patches=self.tokens,
            embed_dim=width,
            depth=decoder.decoder_depth or USUAL_DEPTH,
            num_heads=decoder.decoder_heads,
        )
        self.predict = nn.Linear(width, self.patch**2 * (config.channels or 3))

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: StepRandom) -> StepResult:
        """The squared difference of normalised pixels at the hidden patches."""
        tools, images = self.tools, len(batch)
        keep, mask = tools.random_token_mask((images, self.tokens + 1), MASK_RATIO, device=batch.device)
        seen = self.embed(self.encoder.encode(batch, idx_keep=keep))
        whole = tools.repeat_token(self.decoder.mask_token, (images, self.tokens + 1))
        decoded = self.decoder(tools.set_at_index(whole, keep, seen.type_as(whole)))
        predictions = self.predict(tools.get_at_index(decoded, mask))
        targets = tools.get_at_index(tools.patchify(batch, self.patch), mask - 1)
        mean, variance = targets.mean(dim=-1, keepdim=True), targets.var(dim=-1, keepdim=True)
        return StepResult(F.mse_loss(predictions, (targets - mean) / (variance + 1e-6).sqrt()))


def imported(name: str) -> Any:
    """A package that is there only to be measured. Raises ValueError with the remedy where it is not."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(f"{package} is not installed, and is to be measured: pip install {package}") from error


class OriginalMAE(Peer):
    """MaskedAutoencoderViT of a checkout of facebookresearch/mae, in these sizes.

    Raises ValueError for a folder that is no such checkout, and for images that it does not take.
    """

    def __init__(self, root: Path, config: EncoderConfig, decoder: DecoderConfig) -> None:
        super().__init__()
        if (config.channels or 3) != 3:
            raise ValueError(f"channels must be 3 for the MAE in {root}, got {config.channels}")
        sizes = sizes_of(root, config, decoder, USUAL_DEPTH)
        with their_class(root, "MaskedAutoencoderViT") as theirs:
            self.theirs = theirs(**sizes, norm_pix_loss=True)

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: StepRandom) -> StepResult:
        """Their loss, with their noise."""
        return StepResult(self.theirs(batch, mask_ratio=MASK_RATIO)[0])


class PublicPCAE(nn.Module):
    """Two PCAEViT of a checkout of caddyless/PCAE, student and teacher, trained as its engine_pretrain.py does.

    Raises ValueError for a folder that is no such checkout, and for sizes that it cannot train: it predicts as many
    values as a patch has pixels and compares them with a token of the teacher.
    """

    def __init__(self, root: Path, config: EncoderConfig, decoder: DecoderConfig) -> None:
        super().__init__()
        sizes = sizes_of(root, config, decoder, usual_depth=2)
        pixels = sizes["patch_size"] ** 2 * sizes["in_chans"]
        if pixels != sizes["embed_dim"]:
            raise ValueError(
                f"width {sizes['embed_dim']} does not train by the PCAE in {root}, which predicts the {pixels} values "
                "of a patch; choose a model as wide, such as vit_base_patch16_224"
            )
        with their_class(root, "PCAEViT") as theirs:
            self.student, self.teacher = (theirs(**sizes, use_decoder=student) for student in (True, False))
        self.teacher.load_state_dict(self.student.state_dict(), strict=False)
        self.teacher.requires_grad_(False)

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: StepRandom) -> StepResult:
        """Cosine distance to the teacher's standardised features, with their noise."""
        with torch.no_grad():
            features, wanted_ids, visible_ids = self.teacher(batch, mask_ratio=MASK_RATIO)
            mean, variance = features.mean(dim=-1, keepdim=True), features.var(dim=-1, keepdim=True)
            targets = (features - mean) / (variance + 1e-6).sqrt()
        predictions = self.student(batch, student_ids_keep=visible_ids, teacher_ids_keep=wanted_ids)
        return StepResult(1 - F.cosine_similarity(predictions, targets, dim=-1).mean())

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move the teacher, one parameter after the other as they do."""
        student = dict(self.student.named_parameters())
        for name, parameter in self.teacher.named_parameters():
            parameter.lerp_(student[name], 1 - MOMENTUM)


def check_checkout(name: str, root: Path) -> None:
    """Raise ValueError for a folder without the files that are run."""
    for file in (MODELS, POSITIONS):
        if not (root / file).is_file():
            raise ValueError(f"{name} {str(root)!r} has no {file}; give a checkout of {SOURCES[name]}")


def sizes_of(root: Path, config: EncoderConfig, decoder: DecoderConfig, usual_depth: int) -> dict[str, Any]:
    """The sizes that both repositories' classes take. Raises ValueError for images that are not square."""
    height, width = config.image_size
    if height != width:
        raise ValueError(f"image_size must be square for the code in {root}, got {height} {width}")
    with torch.device("meta"):
        vit = create_vit(config, channels=config.channels or 3)
    block: Any = vit.blocks[0]
    return {
        "img_size": height,
        "patch_size": vit.patch_embed.patch_size[0],
        "in_chans": config.channels or 3,
        "embed_dim": vit.embed_dim,
        "depth": len(vit.blocks),
        "num_heads": block.attn.num_heads,
        "decoder_embed_dim": decoder.decoder_width,
        "decoder_depth": decoder.decoder_depth or usual_depth,
        "decoder_num_heads": decoder.decoder_heads,
        "norm_layer": partial(nn.LayerNorm, eps=1e-6),
    }


class OldBlock(Block):
    """timm's block by the arguments that it took at the time of the repositories."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        qk_scale: None = None,
        drop_path: float = 0.0,
        norm_layer: Any = nn.LayerNorm,
    ) -> None:
        super().__init__(dim, num_heads, mlp_ratio, qkv_bias=qkv_bias, drop_path=drop_path, norm_layer=norm_layer)


@contextmanager
def their_class(root: Path, name: str) -> Iterator[Any]:
    """A class of a checkout, to be used among what it was written for: timm's old block, np.float, its own `util`.

    Everything is as before afterwards; what is printed meanwhile is dropped. Raises ValueError where there is no such
    class.
    """
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(instead(vision_transformer.__dict__, {"Block": OldBlock}))
        stack.enter_context(instead(np.__dict__, {"float": float}))
        modules = {"util": ModuleType("util"), "util.pos_embed": run_file(root / POSITIONS)}
        stack.enter_context(instead(sys.modules, modules))
        models = run_file(root / MODELS)
        if name not in vars(models):
            raise ValueError(f"{root / MODELS} has no class {name}; is it the checkout of another repository?")
        yield vars(models)[name]


@contextmanager
def instead(entries: dict[str, Any], new: dict[str, Any]) -> Iterator[None]:
    """`new` in the place of what `entries` has by the same names, until the end."""
    before = {name: entries[name] for name in new if name in entries}
    entries.update(new)
    try:
        yield
    finally:
        for name in new:
            del entries[name]
        entries.update(before)


def run_file(path: Path) -> ModuleType:
    """A Python file as a module that nobody else sees. Raises ValueError when it cannot be run."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever other people's code does
        raise ValueError(f"{path} cannot be imported: {error}") from error
    return module


PACKAGES: dict[str, type[TransformersMAE] | type[LightlyMAE]] = {"transformers": TransformersMAE, "lightly": LightlyMAE}
CHECKOUTS: dict[str, type[OriginalMAE] | type[PublicPCAE]] = {"mae-repo": OriginalMAE, "pcae-repo": PublicPCAE}
SOURCES = {"mae-repo": "facebookresearch/mae", "pcae-repo": "caddyless/PCAE"}
"""Where on GitHub each comes from."""
ROWS = ("mae", "mae-lite", "pcae-75", "pcae-85", "pcae-90", "pcae-85-4-views", *PACKAGES)


def package_entry(name: str) -> Entry:
    """The row of a package's MAE."""
    return Entry(name=name, build=lambda sizes: PACKAGES[name](sizes.encoder, sizes.decoder))


def checkout_entry(name: str, root: Path) -> Entry:
    """The row of a checkout's code. Raises ValueError for a folder that is no checkout."""
    check_checkout(name, root)
    return Entry(name=name, build=lambda sizes: CHECKOUTS[name](root, sizes.encoder, sizes.decoder))


def asked(words: Sequence[str]) -> tuple[BenchmarkConfig, list[Entry]]:
    """The settings and rows that the words name. Raises ValueError for values and folders that cannot be."""
    own = argparse.ArgumentParser(
        "benchmarks/peers.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    own.add_argument("--rows", nargs="*", default=ROWS, choices=[*ENTRIES, *PACKAGES])
    for name in CHECKOUTS:
        own.add_argument(f"--{name}", type=Path, help=f"a checkout of {SOURCES[name]}")
    found, others = own.parse_known_args(words)
    entries = [ENTRIES.get(name) or package_entry(name) for name in found.rows]
    for name in CHECKOUTS:
        root = getattr(found, name.replace("-", "_"))
        entries += [checkout_entry(name, root)] if root else []
    config = tyro.cli(BenchmarkConfig, args=others, prog=own.prog, config=(tyro.conf.OmitArgPrefixes,))
    check_bounds(config)
    return config, entries


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print; one line and exit status 2 for what cannot be."""
    try:
        config, entries = asked(sys.argv[1:] if words is None else words)
        answer(measure_speed(config, entries), config.json, show)
    except ValueError as error:
        print(f"peers.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
