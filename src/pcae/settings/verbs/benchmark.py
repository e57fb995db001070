"""What `pcae benchmark` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from annotated_types import Interval

from pcae.settings.choices import AnyRow, BenchmarkMode, RowName
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.reading import DataConfig


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Measure speed: all rows take turns, so that a noisy machine disturbs all alike.

    Images per second (median, least and most over the rounds) and times as fast as one of the rows; for training and
    inference the share that arithmetic has of what a large matrix product reaches; for training memory at the peak of
    a step and bytes kept for the backward pass.
    """

    EXAMPLES = (
        "--model vit_tiny_patch16_224 --batch-size 16",
        "--mode inference --drop-ratios 0 0.2 0.4 --out speed.json",
    )
    USUAL = "mode data rows against drop_ratios batch_sizes batch_size steps rounds model image_size device out json"

    mode: BenchmarkMode = "train"
    """train: training steps. loader: reading DATA alone, from files to normalised tensors on the device. inference:
    classifying made-up images by drop ratio and batch size."""
    data: str | None = None
    """Images to read as pretrain does, from a folder or what else it takes; without it, train makes images up."""
    rows: tuple[AnyRow, ...] = get_args(RowName)
    """What is trained: ours by mask ratio and views. Other people's MAE is measured by benchmarks/peers.py."""
    mae_repo: Path | None = None
    """Refused: benchmarks/peers.py measures checkouts of other people's code."""
    pcae_repo: Path | None = None
    """Refused: benchmarks/peers.py measures checkouts of other people's code."""
    against: AnyRow = "mae"
    """The row that others are held against in training; in inference it is drop ratio 0 at the same batch size."""
    drop_ratios: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)
    """For inference: shares of the patch tokens that each of three stages drops; 0 is among them."""
    batch_sizes: tuple[Annotated[int, Interval(ge=1, le=1_000_000)], ...] | None = None
    """For inference: images of a forward pass; without it 1, and 16 on a CPU or 256 elsewhere."""
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    """Images of a step in training, or of a batch that is read."""
    steps: Annotated[int, Interval(ge=1, le=1_000_000)] | None = None
    """Steps, batches or forward passes of one turn; without it 1 on a CPU, 10 elsewhere. With DATA, take more than the
    2 that each reading process has ready when a turn begins; without it, 4 for each of them at least."""
    rounds: Annotated[int, Interval(ge=1, le=1_000_000)] = 5
    """Turns of each row that are timed, after one that is not."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of matrix products; auto is bf16 on GPUs that have it, else fp32."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Compile the transformer blocks of our rows, and in inference; auto does on CUDA."""
    grad_checkpointing: bool = False
    """In training: blocks of our rows are computed again in the backward pass, as `pretrain` has it."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    out: Path | None = None
    """A .json file; the same as Markdown, and a picture, are written beside it."""
    json: bool = False
    """Print as JSON."""
    reading: DataConfig = DataConfig()
    encoder: EncoderConfig = EncoderConfig()
    decoder: DecoderConfig = DecoderConfig()
