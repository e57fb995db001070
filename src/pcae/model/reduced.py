"""Any timm Vision Transformer, made faster without training: it is held, not patched."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcae.model.backbones import backbone_of
from pcae.model.backbones.attention import can_look
from pcae.model.blocks import Encoded, check_blocks, run_blocks
from pcae.model.criteria import inference_criterion
from pcae.model.encoder import plain_vit
from pcae.model.intermediates import Output, as_timm_gives, dense_outputs, taken
from pcae.model.reduction import Reduction, check_ratio
from pcae.model.tokens import all_ids
from pcae.settings.choices import CriterionName, FoldName

HELD = "vit."
"""What the names of the held model's parts begin with."""


class ReducedViT(nn.Module):
    """A timm VisionTransformer whose blocks drop redundant tokens on the way (section 3.4).

    timm's own code takes it for a model of its own: loaders' settings, optimizers with decay by layer, averages of
    weights, features by block. Its state_dict has timm's names, where it is no part of another module.
    `reduction` may be exchanged at any time. The appended means of dropped tokens leave before pooling; by fold `pool`
    they are pooled, too, each for as many as it stands for (ours, not the paper's), as merged tokens are. Raises
    ValueError for fold `pool` with a model that does not average its patch tokens.
    """

    def __init__(self, vit: nn.Module, reduction: Reduction) -> None:
        super().__init__()
        self.vit = plain_vit(vit)
        self.reduction = reduction
        self.check_pooling(self.vit.global_pool)
        self.register_state_dict_post_hook(to_timm_names)
        self.register_load_state_dict_pre_hook(from_timm_names)

    def check_pooling(self, pooling: str) -> None:
        """Raise ValueError for pooling that cannot take means of dropped tokens in, where that is asked for."""
        if self.reduction.fold == "pool" and pooling != "avg":
            raise ValueError(
                f"fold 'pool' (pool_dropped) needs a classifier that averages its patch tokens, this one has pooling "
                f"{pooling!r}; use fold 'append'"
            )

    def encode(
        self,
        images: Float[Tensor, "batch channels height width"],
        ids: Int[Tensor, "1 tokens"] | None = None,
        record: Iterable[int] = (),
        depth: int | None = None,
    ) -> Encoded:
        """What the blocks leave, before the final norm, and what each stage decided.

        ids: of all tokens, where they are at hand; so an exported program makes none and names no device. record:
        blocks whose output is wanted too. depth: how many blocks are run; without it all of them.
        """
        vit, backbone = self.vit, backbone_of(self.vit)
        sequence = backbone.sequence_of(images)
        prefix, tokens = sequence.tensor_split([vit.num_prefix_tokens], dim=1)
        batch = tokens.shape[0]  # len() would fix an exported batch's size
        ids = all_ids(batch, tokens.shape[1], tokens.device) if ids is None else ids.expand(batch, -1)
        again, has_class = vit.grad_checkpointing, backbone.has_class_token
        blocks = vit.blocks if depth is None else vit.blocks[:depth]
        reduction = self.reduction if depth is None else self.reduction.within(depth)
        calling = backbone.calling(backbone.grid_of(images))
        return run_blocks(
            blocks, tokens, ids, prefix, reduction, record,
            grad_checkpointing=again, class_token=has_class, calling=calling,
        )  # fmt: skip

    def norm(self, encoded: Encoded) -> Float[Tensor, "batch tokens dim"]:
        """Prefix and remaining patch tokens after the final norm."""
        return self.vit.norm(torch.cat([encoded.prefix, encoded.tokens], dim=1))

    def forward_features(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Prefix and remaining patch tokens after the final norm."""
        return self.norm(self.encode(images))

    def forward_head(
        self, features: Float[Tensor, "batch tokens dim"], pre_logits: bool = False
    ) -> Float[Tensor, "batch out"]:
        """Pooling and classifier, the model's own."""
        return self.vit.forward_head(features, pre_logits=pre_logits)

    def mean_of_all(self, encoded: Encoded) -> Float[Tensor, "batch dim"]:
        """The mean of all patch tokens after the final norm: dropped ones by the mean that their stage appended, merged
        ones by what they were merged into."""
        left, dropped = (
            self.vit.norm(encoded.tokens),
            [stage.ids.shape[1] - stage.kept_ids.shape[1] for stage in encoded.stages],
        )
        if encoded.sizes is not None:
            return (left * (encoded.sizes / encoded.sizes.sum(dim=1, keepdim=True)).unsqueeze(-1)).sum(dim=1)
        if not dropped or not encoded.appended.shape[1]:
            return left.mean(dim=1)
        appended = self.vit.norm(encoded.appended)
        counts = torch.cat([torch.full_like(appended[:, :1, :1], count) for count in dropped], dim=1)
        total = left.sum(dim=1) + (appended * counts).sum(dim=1)
        return total / (left.shape[1] + sum(dropped))

    def classify(self, encoded: Encoded) -> Float[Tensor, "batch out"]:
        """Pooling and classifier, of what the blocks left."""
        if self.reduction.fold not in ("pool", "merge") or self.vit.global_pool != "avg":
            return self.forward_head(self.norm(encoded))
        prefix, mean = self.vit.norm(encoded.prefix), self.mean_of_all(encoded).unsqueeze(1)
        if getattr(self.vit, "pool_include_prefix", False) and prefix.shape[1]:
            patches = (encoded.stages[0].ids if encoded.stages else encoded.ids).shape[1]
            mean = (patches * mean + prefix.sum(dim=1, keepdim=True)) / (patches + prefix.shape[1])
            prefix = mean.expand(-1, prefix.shape[1], -1)
        return self.forward_head(
            torch.cat([prefix, mean], dim=1)
        )  # a single token, which the model's own head averages

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out"]:
        """Logits, or pooled features for a model without a classifier."""
        return self.classify(self.encode(images))

    def forward_intermediates(
        self,
        x: Float[Tensor, "batch channels height width"],
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        output_dict: bool = False,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Any:
        """Outputs of blocks by timm's signature, and what `forward_features` gives of the last block that was run.

        Outputs are dense: each token stands at its position, and positions whose tokens were dropped before are 0,
        with `norm` too. Raises ValueError for masks of attention, and formats other than NCHW and NLC.
        """
        if attn_mask is not None or is_causal:
            raise ValueError("attn_mask and is_causal are of whole sequences, here tokens are dropped; leave them out")
        wanted = taken(len(self.vit.blocks), indices)
        encoded = self.encode(x, record=wanted, depth=max(wanted) + 1 if stop_early else None)
        grid = backbone_of(self.vit).grid_of(x)
        normed = self.vit.norm if norm else nn.Identity()
        outputs: list[Output] = dense_outputs(encoded, wanted, grid, normed, output_fmt)
        features = None if intermediates_only else self.norm(encoded)
        return as_timm_gives(outputs, features, return_prefix_tokens and self.vit.num_prefix_tokens > 0, output_dict)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Take out of the held model what comes after the last of the wanted blocks, as timm does; returns those."""
        if prune_head:
            self.check_pooling("")
        kept = self.vit.prune_intermediate_layers(indices, prune_norm, prune_head)
        self.reduction = self.reduction.within(len(self.vit.blocks))
        return kept

    def get_classifier(self) -> nn.Module:
        """The linear classifier."""
        return self.vit.get_classifier()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier, and pooling if it is said. Raises ValueError for one that cannot pool dropped tokens."""
        self.check_pooling(self.vit.global_pool if global_pool is None else global_pool)
        self.vit.reset_classifier(num_classes, global_pool)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that timm's optimizers do not decay."""
        return {HELD + name for name in self.vit.no_weight_decay()}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of the names of the stem and of each block, by which timm's optimizers decay learning rates."""
        groups: dict[str, Any] = self.vit.group_matcher(coarse)
        return {"stem": held(groups["stem"]), "blocks": [(held(pattern), at) for pattern, at in groups["blocks"]]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks are computed again in the backward pass instead of being remembered."""
        self.vit.set_grad_checkpointing(enable)

    @property
    def num_features(self) -> int:
        """Features of a token."""
        return self.vit.num_features

    @property
    def head_hidden_size(self) -> int:
        """Features that the classifier takes."""
        return self.vit.head_hidden_size

    @property
    def embed_dim(self) -> int:
        """Features of a token."""
        return self.vit.embed_dim

    @property
    def num_classes(self) -> int:
        """Logits; 0 without a classifier."""
        return self.vit.num_classes

    @property
    def num_prefix_tokens(self) -> int:
        """Class and register tokens."""
        return self.vit.num_prefix_tokens

    @property
    def global_pool(self) -> str:
        """timm's name of the pooling."""
        return self.vit.global_pool

    @property
    def feature_info(self) -> Any:
        """Width and stride of each block's output."""
        return self.vit.feature_info

    @property
    def pretrained_cfg(self) -> Any:
        """timm's description of the weights: input size, mean, std, crop."""
        return self.vit.pretrained_cfg

    @property
    def default_cfg(self) -> Any:
        """The same under its older name."""
        return self.vit.default_cfg


def held(pattern: str) -> str:
    """A regular expression of the held model's names, for those names as they are here."""
    return rf"^{re.escape(HELD)}(?:{pattern.replace('^', '')})"


def to_timm_names(module: nn.Module, tensors: dict[str, Tensor], prefix: str, _: dict[str, Any]) -> None:
    """Take the start of the held model's names away, in a state_dict of a whole model."""
    if not prefix:
        for name in [*tensors]:
            tensors[name.removeprefix(HELD)] = tensors.pop(name)


def from_timm_names(module: nn.Module, tensors: dict[str, Any], prefix: str, *_: Any) -> None:
    """Put it back where it lacks, as a state_dict of a whole model is read."""
    if not prefix:
        for name in [name for name in tensors if not name.startswith(HELD)]:
            tensors[HELD + name] = tensors.pop(name)


def reduce(
    model: nn.Module,
    drop_ratio: float | Sequence[float],
    criterion: CriterionName | None = None,
    fold: FoldName | None = None,
    after: Sequence[int] | None = None,
    before_mlp: bool = False,
    pool_dropped: bool = False,
) -> ReducedViT:
    """Hold a timm VisionTransformer and drop `drop_ratio` of its patch tokens at each of three stages.

    Works with CLS, register or no prefix tokens and any pooling, without training; 0 is the plain model.
    criterion: which tokens go. `bipartite` is ToMe's matching, and what is taken where tokens are merged and less than
    half of them go; `mean-similarity`, those most like the mean, is the paper's, and taken otherwise. fold: what
    becomes of them. merge: each goes into its nearest kept token (ToMe); so it is where nothing is said and the blocks'
    attention can be looked at. append:
    their mean stays in the sequence (the paper). pool: average pooling takes these means in, each for as many as it
    stands for. leave: nothing. after: the blocks, from 0, after which stages stand; then
    `drop_ratio` may be one for each. before_mlp: stages stand between their block's attention and its MLP.
    pool_dropped: another word for fold `pool`. Raises ValueError for other families, by name, for a ratio outside
    [0, 1) or no number, for blocks that the model does not have, and for `pool` with another pooling.
    """
    blocks = plain_vit(model).blocks
    depth, merges = len(blocks), fold is None and not pool_dropped and all(map(can_look, blocks))
    fold = "merge" if merges else fold_of(fold or "append", pool_dropped)
    rule = inference_criterion(criterion or usual_criterion(fold, drop_ratio))
    reduction = Reduction.for_finetuning(
        depth, drop_ratio=drop_ratio, criterion=rule, fold=fold, after=after, before_mlp=before_mlp
    )
    check_blocks(depth, reduction.after)
    return ReducedViT(model, reduction)


def usual_criterion(fold: FoldName, drop_ratio: float | Sequence[float]) -> CriterionName:
    """What is taken where nobody says which tokens go."""
    ratios = drop_ratio if isinstance(drop_ratio, list | tuple) else [drop_ratio]
    return "bipartite" if fold == "merge" and all(check_ratio(ratio) < 0.5 for ratio in ratios) else "mean-similarity"


def fold_of(fold: FoldName, pool_dropped: bool) -> FoldName:
    """The fold, where `pool_dropped` may stand for `pool`. Raises ValueError where both are said and differ."""
    if pool_dropped and fold not in ("append", "pool"):
        raise ValueError(f"pool_dropped is fold 'pool', and fold {fold!r} was given too; leave pool_dropped out")
    return "pool" if pool_dropped else fold
