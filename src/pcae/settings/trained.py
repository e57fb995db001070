"""Trained models at work: which, on what images, how."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from pcae.settings.bounds import Count, Natural, Seed, Share
from pcae.settings.choices import CriterionName, FoldName, KeptMode, Split


@dataclass(frozen=True, kw_only=True)
class KeepingConfig:
    """What drops tokens, and how many. Without a value, the run's own in a run folder, else the paper's."""

    modes: tuple[KeptMode, ...] | None = None
    """masked: the teacher on the hidden patches of an image, as in pre-training. whole: the teacher on whole images.
    classifier: a fine-tuned model. Without it, all that fit the weights."""
    mask_ratio: float | None = None
    """Share of the patches that are hidden, in (0, 1), for masked."""
    keep_ratio: float | None = None
    """Share of the tokens that each of the teacher's stages keeps, in (0, 1)."""
    stages: int | None = None
    """Times that the teacher drops tokens."""
    placement: int | None = None
    """Where the teacher's stages stand, by Table 8's number, 1 to 5."""
    stages_after: tuple[int, ...] | None = None
    """Blocks, from 0, after which the teacher drops tokens, instead of `stages` and `placement`."""
    criterion: CriterionName | None = None
    """What the teacher drops: tokens most like the mean (the method), or another criterion of pcae pretrain."""
    drop_ratio: float | None = None
    """Share of the tokens that each stage of the classifier drops, in (0, 1); without it, the most that it was
    fine-tuned with, else 0.3."""
    seed: Seed | None = None
    """Decides what is hidden."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a classifier drops tokens.

    criterion: which go. fold: what becomes of them. after: blocks, from 0, after which stages stand; without it 0, 7
    and 10 of 12. before_mlp: stages stand between their block's attention and its MLP.
    """

    criterion: CriterionName = "mean-similarity"
    fold: FoldName = "append"
    after: tuple[Natural, ...] | None = None
    before_mlp: bool = False

    def but(self, said: dict[str, Any]) -> "Rule":
        """The same but for what is said. Where nobody has said a rule yet, matched tokens are merged or nothing: with
        another fold go the tokens that the paper drops."""
        unsaid = self == TRAINING_FREE and said.get("fold", "merge") != "merge"
        return replace(self, **({"criterion": Rule.criterion} | said if unsaid else said))

    def describe(self) -> str:
        """What is not the paper's, in words."""
        words = [f"dropped by {self.criterion}"] if self.criterion != "mean-similarity" else []
        words += {"pool": ["dropped tokens pooled"], "merge": ["merged"], "leave": ["nothing appended"]}.get(
            self.fold, []
        )
        words += [] if self.after is None else [f"after blocks {', '.join(map(str, self.after))}"]
        return ", ".join(words + (["before their MLP"] if self.before_mlp else []))


TRAINING_FREE = Rule(criterion="bipartite", fold="merge")
"""What costs networks least that were trained with all tokens (docs/reduction.md): ToMe's rule, at the paper's
places."""


@dataclass(frozen=True, kw_only=True)
class ReductionFile(Rule):
    """What a file of --reduction holds."""

    drop_ratio: Share


@dataclass(frozen=True, kw_only=True)
class RuleConfig:
    """How tokens are dropped. Without a value, as the file of `reduction` says, else as it was fine-tuned; where it was
    fine-tuned with all tokens, bipartite and merge."""

    reduction: Path | None = None
    """File of a reduction, as `pcae tune` writes it: drop ratio, criterion, fold, blocks."""
    criterion: CriterionName | None = None
    """Which tokens go: those most like the mean (the method), or those of another rule; bipartite is ToMe's."""
    fold: FoldName | None = None
    """What becomes of them. append: their mean stays in the sequence (the paper). pool: these means are pooled, too,
    each for as many as it stands for: without training it keeps more of the accuracy. merge: each goes into the nearest
    token that stays (ToMe). leave: nothing."""
    pool_dropped: bool = False
    """Another word for --fold pool."""
    reduce_after: tuple[Natural, ...] | None = None
    """Blocks, from 0, after which tokens are dropped; three in all if nobody says otherwise."""
    before_mlp: bool | None = None
    """Drop tokens between attention and MLP of these blocks, not after them: the MLP then has fewer."""


@dataclass(frozen=True, kw_only=True)
class ProbeTrainingConfig:
    """How the trained probes (linear and attentive) are trained."""

    epochs: Count = 50
    """Passes of the linear and the attentive probe through the training images."""
    batch_size: Count = 256
    """Images in a step of these probes."""
    seed: Seed = 0
    """Decides the order of images, initial weights and which images choose the learning rate."""


@dataclass(frozen=True, kw_only=True)
class TrainedConfig:
    """A trained model."""

    weights: str
    """Run folder, .safetensors or .pth file, folder of transformers' or timm's, timm:NAME or hf-hub:OWNER/NAME."""
    image_size: tuple[int, int] | None = None
    """Height and width of the images in pixels; without it, the model's own. Positions are resized."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""


@dataclass(frozen=True, kw_only=True)
class ShownConfig:
    """Which images a model is shown, and how they are read."""

    split: Split = "test"
    """Which split, where the data has splits; test is also the val folder."""
    max_bad_files: Share = 0.05
    """Share of the images that may be unreadable, in [0, 1); they are left out and named at the end."""
    workers: Natural = 0
    """Processes that read images beside this one."""


@dataclass(frozen=True, kw_only=True)
class UsedConfig:
    """A trained detector, and how it looks at images."""

    weights: str
    """Run folder of `pcae detect train`, or one of its files: detector.safetensors, best.safetensors."""
    shortest_side: int | None = None
    """Pixels of an image's shorter side where objects are looked for; without it, as it was trained."""
    longest_side: int | None = None
    """Pixels that the longer side may have then; without it, as it was trained."""
    window: int | None = None
    """Side in patches of the windows in which blocks attend, 0 for none; without it, as it was trained."""
    drop_ratio: float | None = None
    """Share of the patch tokens that each stage drops, in [0, 1); without it, as it was trained."""
    reduce_after: tuple[int, ...] | None = None
    """Blocks, counted from 0, after which tokens are dropped; without it, as it was trained."""
    detections_per_image: int | None = None
    """Most predictions that an image gets, the best ones; without it, as it was trained."""
    max_bad_files: Share = 0.05
    """Share of the images that may be unreadable, in [0, 1); they are left out and named at the end."""
    workers: Natural = 0
    """Processes that read images beside this one."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""


RANDOM = "random"
"""The word for random weights among the weights; ./random is a run folder of that name."""


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """The models, and how many images they are shown."""

    weights: tuple[str, ...] = (RANDOM,)
    """Run folders, files of weights, timm:NAME, hf-hub:NAME; `random`: random weights, of the first other one's
    architecture."""
    labels: tuple[str, ...] | None = None
    """What the weights are called in tables and plots; without it, the last part of each."""
    model: str | None = None
    """Name of a timm VisionTransformer for random weights alone; without it, vit_base_patch16_224."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 5
    """Networks with random weights that are measured; trained ones are measured once."""
    image_size: tuple[int, int] | None = None
    """Height and width of the images in pixels; without it, the model's own. Positions are resized."""
    most_images: Count = 64
    """At most so many images, drawn at random."""
    batch_size: Count = 16
    """Images that are encoded at once."""
