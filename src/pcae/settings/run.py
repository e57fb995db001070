"""How long, how large and how watched a run is."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from pcae.settings.bounds import HeldOut, Natural, NotNegative, Positive, Seed, Share
from pcae.settings.choices import TrackerName
from pcae.settings.intervals import Every, EveryOrEpochs, EveryOrNever, EveryOrUsual


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long and how large a run is, and what it leaves behind."""

    epochs: Positive | None = None
    """Length of the run in passes over the images; without it or `steps`, as long as the paper's."""
    steps: Annotated[int, Interval(gt=0)] | None = None
    """Length of the run in optimizer steps, instead of `epochs`."""
    batch_size: Annotated[int, Interval(gt=0)] = 1024
    """Images per optimizer step, over all processes and micro-batches; the learning rate follows it."""
    seed: Seed = 0
    """Decides the initial weights, the order of images, crops, flips and masks."""
    accumulation: Annotated[int, Interval(gt=0)] = 1
    """Micro-batches per optimizer step and process; more need less memory. Same result, up to rounding."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, ...; auto is the first accelerator, else the CPU."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of matrix products; auto is bf16 on GPUs that have it, else fp32."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Compile transformer blocks, which takes a minute or two at the start; auto does in pre-training on CUDA, for a
    thousand steps or more."""
    grad_checkpointing: bool = False
    """Compute blocks again in the backward pass instead of keeping what they made: less memory, a third more work."""
    fully_shard: bool = False
    """Split weights, gradients and the optimizer's state over the processes: for models that do not fit into each of
    them, such as ViT-L and ViT-H. Same result, up to rounding; more traffic between the processes."""
    checkpoint_every: Every = 500
    """Steps, or epochs as in 2ep, between checkpoints; one is always written at the end."""
    keep_checkpoints: Annotated[int, Interval(gt=0)] = 2
    """Newest checkpoints that stay."""
    log_every: EveryOrUsual = None
    """Steps, or epochs as in 0.1ep, between lines of metrics.jsonl; without it 10 steps, or a fiftieth of a short
    run."""
    log_to: tuple[TrackerName, ...] = ("tensorboard",)
    """Where the numbers go beside metrics.jsonl. wandb and mlflow need their clients (`pip install 'pcae[wandb]'`), and
    are told where to write by their own environment variables. csv is metrics.csv."""
    roll_back_after: Annotated[int, Interval(gt=0)] = 10
    """Steps in a row that are skipped, their gradients not being finite, after which the run goes back to its last
    checkpoint and takes the images in another order."""
    most_roll_backs: Natural = 3
    """Times that a run goes back before it gives up; with 0 it gives up at once."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and its learning rate; the defaults are the paper's (MAE's)."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: matrices move by orthogonalised momentum, all else by AdamW. Steps are scaled to the size of AdamW's, so
    that base_lr and weight_decay mean the same."""
    base_lr: Positive = 1.5e-4
    """Peak learning rate for 256 images a step; the one in use is base_lr * batch_size / 256."""
    warmup_epochs: NotNegative | None = None
    """Epochs over which the learning rate rises; without it, a twentieth of the run."""
    lr_drops: tuple[Annotated[float, Interval(gt=0, lt=1)], ...] | None = None
    """Shares of the run, ascending in (0, 1), after each of which the learning rate falls to a tenth and stays there
    until the next; without it, a half cosine down to 0."""
    weight_decay: NotNegative = 0.05
    """Decoupled weight decay of matrices; biases, norms and learned tokens have none."""
    betas: tuple[Share, Share] = (0.9, 0.95)
    """AdamW's decay rates of the two moments; Muon's momentum of matrices is 0.95."""
    clip_grad: Positive | None = None
    """Largest norm of the gradient; without it, gradients are not clipped."""


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """What is watched while a run trains, beside the loss."""

    health_every: EveryOrNever = None
    """Steps, or epochs as in 2ep, between looks at the features of 128 images, which warn of a collapse; 0 never looks.
    Without it, so many that it costs less than 1 % of the time."""
    knn_data: HeldOut = None
    """Labelled images, with held-out ones, to sort by 20 nearest neighbours during the run; DATA as probe takes it."""
    knn_every: EveryOrEpochs = "10ep"
    """Steps, or epochs as in 10ep, between these probes; there is always one at the end."""
