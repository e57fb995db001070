"""Tensors into a model: what fits, what lacks, what is left out, and positions for another grid."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pcae.model.backbones import ViT
from pcae.model.encoder import Encoder
from pcae.model.tokens import Grid

AFTER_BLOCKS = ("head.", "fc_norm.", "norm.")
"""What another task replaces: classifier and last norm may lack or have another shape."""
AFTER = {"norm", "fc_norm", "fc", "n_averaged"}
"""The last norm, before or after pooling; MSN's head; and how many networks torch's AveragedModel is the mean of."""
MASKS = ("mask_token", "masked_embed")
"""What hidden patches are replaced by, in MAE's words and iBOT's."""
BESIDE = ("decoder", "head", "pool", "classifier", "predict", "project", "logits")
"""Words in the names of what stands behind an encoder and takes no part in its features."""
PLAIN = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Types of tensors whose values are the weights themselves; those of other types are multiples of something."""
LEAST_SHARE = 0.9
"""Share of an encoder's parameters below which weights are of another model."""


@dataclass(frozen=True, kw_only=True)
class Matching:
    """What became of the tensors.

    matched: names that were loaded as they are. resized: names that were loaded for another grid, with both grids.
    missing: names of the model that keep the values that they had. unexpected: names that the model has no place for.
    share: of the model's parameters, less classifier and last norm, what was loaded.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    resized: dict[str, tuple[Grid, Grid]]
    share: float

    def describe(self) -> list[str]:
        """One to four short lines."""
        loaded = len(self.matched) + len(self.resized)
        lines = [f"{loaded} of {loaded + len(self.missing)} tensors matched, {self.share:.1%} of the encoder"]
        for name, (before, after) in self.resized.items():
            lines.append(f"resized: {name} from {before[0]} x {before[1]} to {after[0]} x {after[1]} positions")
        if self.missing:
            lines.append(f"missing, left as initialised: {first_of(self.missing)}")
        if self.unexpected:
            groups = Counter(group_of(name) for name in self.unexpected)
            lines.append(f"unexpected, left out: {', '.join(f'{name}: {count}' for name, count in groups.items())}")
        return lines


def fit(vit: ViT, tensors: dict[str, Tensor], grid: Grid | None = None) -> Matching:
    """Load tensors in timm's names into a model that may have another grid or other classes.

    grid: rows and columns of the tensors' positions; without it the model's own. Raises ValueError when a tensor of the
    encoder has another shape, is quantised or not finite, when the blocks hold more than the model computes, and when
    less than 90 % of the encoder's parameters are there; the model then is as it was.
    """
    for name in (name for name in vit.state_dict() if name in tensors):
        check_values(name, tensors[name])
    taken, matching = compare(vit, tensors, grid)
    vit.load_state_dict(taken, strict=False)
    return matching


def compare(vit: ViT, tensors: dict[str, Tensor], grid: Grid | None = None) -> tuple[dict[str, Tensor], Matching]:
    """What `fit` loads, and what becomes of the tensors. Raises ValueError as `fit` does."""
    own = vit.state_dict()
    tensors, resized = with_positions(vit, tensors, grid)
    taken = {name: value for name, value in tensors.items() if name in own and value.shape == own[name].shape}
    check_shapes(own, tensors, taken)
    unexpected = tuple(name for name in tensors if name not in own)
    check_nothing_lost(unexpected)
    missing = tuple(name for name in own if name not in taken)
    matching = Matching(
        matched=tuple(name for name in taken if name not in resized),
        missing=missing,
        unexpected=unexpected,
        resized=resized,
        share=count(taken) / count(own),
    )
    if matching.share < LEAST_SHARE:
        raise ValueError(
            f"the weights hold {count(taken)} of the encoder's {count(own)} parameters ({matching.share:.0%}), "
            f"less than {LEAST_SHARE:.0%}: they are of another model; missing {first_of(missing)}"
        )
    return taken, matching


def with_positions(
    vit: ViT, tensors: dict[str, Tensor], grid: Grid | None
) -> tuple[dict[str, Tensor], dict[str, tuple[Grid, Grid]]]:
    """The tensors with positions for the model's grid, and what was resized for it."""
    backbone = Encoder(vit).backbone
    after = backbone.grid
    before = grid or after
    tables = {name: tensors[name] for name in backbone.tables() if name in tensors}
    for name, table in tables.items():
        backbone.check_table(name, table, before)
    if before == after:
        return tensors, {}
    resized = {name: backbone.resized(name, table.float(), before) for name, table in tables.items()}
    return tensors | resized, dict.fromkeys(resized, (before, after))


def check_shapes(own: dict[str, Tensor], tensors: dict[str, Tensor], taken: dict[str, Tensor]) -> None:
    """Raise ValueError for the first tensor of the encoder that has another shape than the model's."""
    for name, value in tensors.items():
        if name in own and name not in taken and not name.startswith(AFTER_BLOCKS):
            raise ValueError(
                f"{name} is {tuple(value.shape)} in the weights and {tuple(own[name].shape)} in the model: "
                "they differ in width, patch size or channels"
            )


def check_values(name: str, value: Tensor) -> None:
    """Raise ValueError, with the remedy, for a tensor whose values are not the weights themselves, or no numbers."""
    if value.dtype not in PLAIN or value.is_sparse or value.is_meta:
        kind = "sparse" if value.is_sparse else "without values" if value.is_meta else str(value.dtype).split(".")[-1]
        raise ValueError(
            f"{name} is {kind}, and taken for plain numbers would be wrong; give the weights as they were before they "
            "were quantised or packed: in float32, float16 or bfloat16"
        )
    if not value.isfinite().all():
        raise ValueError(
            f"{name} holds {int((~value.isfinite()).sum())} values that are NaN or infinite, and so would all features "
            "be; give an earlier checkpoint, or one that was not cast to a smaller type"
        )


def check_nothing_lost(unexpected: Iterable[str]) -> None:
    """Raise ValueError when tensors that the model has no place for may change features: it would compute others."""
    odd = [name for name in unexpected if not beside_encoder(name)]
    if any("lora_" in name or ".base_layer." in name for name in odd):
        raise ValueError(f"the weights hold an adapter beside them ({first_of(odd, 1)}); have peft merge it first")
    if odd:
        raise ValueError(
            f"the model has no place for {first_of(odd)}: without that a plain ViT of its depth computes something "
            "else; what takes no part in the features can be left out of the file"
        )


def beside_encoder(name: str) -> bool:
    """Whether a tensor belongs to what stands behind an encoder: a decoder, mask token, head, pooling or last norm."""
    group = group_of(name)
    return group in AFTER or any(word in group for word in BESIDE)


def check_complete(matching: Matching) -> None:
    """Raise ValueError when the encoder of a file lacks tensors, which would stay random."""
    lacking = [name for name in matching.missing if not name.startswith("head.")]
    if lacking:
        raise ValueError(f"the weights lack {first_of(lacking)}, which would stay random")


def count(tensors: dict[str, Tensor]) -> int:
    """Parameters, less classifier and last norm."""
    return sum(value.numel() for name, value in tensors.items() if not name.startswith(AFTER_BLOCKS))


def group_of(name: str) -> str:
    """The part of a model that a tensor belongs to; mask tokens go with the decoder."""
    return "decoder" if name.startswith(("decoder", *MASKS)) else name.split(".", maxsplit=1)[0]


def first_of(names: Iterable[str], most: int = 3) -> str:
    """The first few names and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
