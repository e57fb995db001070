"""The public names of pcae, with their types. Written by `make completion` from the settings."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, TypeAlias, overload

from pcae import data as data
from pcae import detect as detect
from pcae import methods as methods
from pcae.benchmarking.tuned import Tuned
from pcae.comparison.compare import Compared
from pcae.comparison.worth.result import Worth
from pcae.data.images import Images
from pcae.data.images import open_images as open_images
from pcae.inference.embed import Embeddings
from pcae.inference.evaluated import Evaluated
from pcae.inference.exported import Exported
from pcae.inference.neighbours import Neighbours
from pcae.inference.predict import Predictions
from pcae.inference.probe import ProbeResults
from pcae.inference.show import Shown
from pcae.methods.mae import MAE as MAE
from pcae.methods.pcae import PCAE as PCAE
from pcae.methods.simmim import SimMIM as SimMIM
from pcae.model.decoder import Decoder as Decoder
from pcae.model.encoder import Encoder as Encoder
from pcae.model.encoder import build_encoder as build_encoder
from pcae.model.pretrained import Pretrained as Pretrained
from pcae.model.reduced import reduce as reduce
from pcae.model.reduction import Reduction as Reduction
from pcae.pages.data_report import DataReport
from pcae.pages.run_page import RunReport
from pcae.results import RunSummary
from pcae.settings.methods import MAEConfig as MAEConfig
from pcae.settings.methods import PCAEConfig as PCAEConfig
from pcae.settings.methods import SimMIMConfig as SimMIMConfig
from pcae.settings.network import DecoderConfig as DecoderConfig
from pcae.settings.network import EncoderConfig as EncoderConfig
from pcae.sharing.packing import Packed
from pcae.training.callbacks import Callback as Callback
from pcae.training.callbacks import RunFacts as RunFacts
from pcae.training.randomness import StepRandom as StepRandom
from pcae.weights.files import load as load
from pcae.weights.files import save as save
from torch import Tensor, nn
from torch.utils.data import Dataset


class Indexed(Protocol):
    """A list, an array, a data set of Hugging Face's: what has a length and items."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...

Data: TypeAlias = str | PathLike[str] | Dataset[Any] | Mapping[str, Any] | Indexed
"""Images: a path, a list, `hf:NAME` or a built-in word; a data set, an array or a list of them."""
Weights: TypeAlias = str | PathLike[str] | nn.Module
"""A trained model: a run folder, a file or folder of weights, `timm:NAME`; or a model itself."""

__version__: str
__all__ = [
    "Callback",
    "Decoder",
    "DecoderConfig",
    "Encoder",
    "EncoderConfig",
    "MAE",
    "MAEConfig",
    "PCAE",
    "PCAEConfig",
    "Pretrained",
    "Reduction",
    "RunFacts",
    "SimMIM",
    "SimMIMConfig",
    "StepRandom",
    "__version__",
    "build_encoder",
    "check_data",
    "compare",
    "data",
    "detect",
    "embed",
    "evaluate",
    "export",
    "finetune",
    "load",
    "methods",
    "neighbours",
    "open_images",
    "pack",
    "predict",
    "pretrain",
    "probe",
    "reduce",
    "report",
    "save",
    "show",
    "tune",
    "worth",
]

def check_data(
    data: Data,
    *,
    validation: Data | None = None,
    out: str | PathLike[str] | None = None,
    parts: str | PathLike[str] | None = None,
    channels: int | None = None,
    pixel_range: tuple[float, float] | None = None,
    bands: int | Sequence[int] | None = None,
    by: Weights | None = None,
    alike: float | None = None,
    workers: int | None = None,
    device: str = "auto",
) -> DataReport:
    """Look at every image, in parallel: unreadable files, duplicates, sizes, colours, labels, and a recipe.

    Where DATA has train and val (or validation, test) folders, both are read and held against one another.

    data: Folder, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`.
    validation: Other data to hold against DATA: images that stand in both leak.
    out: A page to write, .html, with thumbnails.
    parts: Folder for what is found of each image, in parts as `pcae embed` writes them: after any end the same
        command goes on.
    channels: Channels that a run would read; without it, 1 for `sample` and `fashion-mnist`, 3 for image files.
    pixel_range: Values of 16-bit and float pixels that become black and white; without it 0 65535 and 0 1.
    bands: Which bands of a file become the channels, from 1, in their order, such as 4 3 2; without it, all of
        them.
    by: Weights of a trained model, as for `pcae embed`, by whose features it is chosen which images are compared:
        mirrored copies and parts of others are found too; without it, small gray copies of all are.
    alike: Likeness from which on two images are near duplicates, in (0, 1]: correlation of small gray copies, with
        by of details where one fits into the other; without it, 0.985, with by=0.85.
    workers: Processes that read images; without it, as many as there are cores.
    device: Where images are compared and what the recipe is for; auto is the first accelerator, else the CPU.

    Returns the report, a dict: counts, faults, remarks, a suggestion; it prints as tables. Raises ValueError for
    what cannot be.
    """

def compare(
    data: Data | None = None,
    *,
    out: str | PathLike[str],
    rows: str | PathLike[str] | None = None,
    table: int | None = None,
    scale: Literal["smoke", "small", "paper"] | None = None,
    seeds: int | Sequence[int] = (0,),
    measures: Literal["finetuned", "knn", "linear", "attentive", "training_images_per_second", "inference_images_per_second", "peak_memory", "training_gmacs", "inference_gmacs", "seconds"] | Sequence[Literal["finetuned", "knn", "linear", "attentive", "training_images_per_second", "inference_images_per_second", "peak_memory", "training_gmacs", "inference_gmacs", "seconds"]] | None = None,
    epochs: float | None = None,
    seconds: float | None = None,
    device: str = "auto",
    workers: int = 0,
    accumulation: int = 1,
) -> Compared:
    """Pre-train settings side by side, measure them, and put them into one table.

    Rows come from a YAML file (rows), or from a table of the paper (table) at a scale. A finished cell, a row with
    a seed, is one file in OUT/cells and is not run again; a row that fails does not stop the others. The table is
    printed, and written to OUT with plots after every cell.

    data: Labelled images, as for `pcae probe`; with table, those of the scale.
    out: Folder of cells, runs and tables; several comparisons may share it, and then their cells too.
    rows: YAML file of rows: docs/compare.md has the format.
    table: Table of the paper, 1 or 3 to 15.
    scale: Of a table: smoke (proves that it runs), small (Fashion-MNIST, small ViTs; the usual one), paper (an
        ImageNet folder).
    seeds: Each row is run with each of them.
    measures: What is measured; without it, what the file or the table says.
    epochs: The same pre-training in passes over the images for all rows, instead of their own.
    seconds: The same pre-training in seconds for all rows: as many steps as fit by each row's own speed, measured
        first.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    workers: Processes that read images beside this one.
    accumulation: Micro-batches per optimizer step of pre-training, where memory is short.

    Returns the table (`.rows`, `.to_pandas()`); why rows failed stands in them. Raises ValueError for what cannot
    be.
    """

@overload
def embed(
    model: Pretrained,
    images: Images,
    how: Literal["mean", "cls"] = "mean",
    workers: int = 0,
) -> Tensor:
    """Pooled features of open images, a row each, in order. Raises ValueError for what does not go together."""

@overload
def embed(
    data: Data,
    *,
    weights: Weights,
    image_size: int | tuple[int, int] | None = None,
    device: str = "auto",
    out: str | PathLike[str] | None = None,
    split: Literal["train", "test"] = "train",
    max_bad_files: float = 0.05,
    workers: int = 0,
    pool: Literal["mean", "cls"] = "mean",
    tokens: bool = False,
    batch_size: int = 64,
    part_rows: int | None = None,
) -> Embeddings:
    """Write one row of features an image; nothing is hidden, dropped or random.

    A .parquet file has the columns path and embedding. Beside OUT.npy stands OUT.files.json: which image each row is.
    A folder gets parts, which processes and machines share (torchrun, srun); finished parts are not done again.

    data: Folder, image, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`.
    weights: Run folder, .safetensors or .pth file, folder of transformers' or timm's, timm:NAME or
        hf-hub:OWNER/NAME.
    image_size: Height and width of the images in pixels; without it, the model's own. Positions are resized.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    out: The .npy (float32, images x features) or .parquet file to write, or a folder for parts, which may be at an
        address (s3, gs, hf).
    split: Which split, where the data has splits; test is also the val folder.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.
    pool: mean of the patch tokens, or the class token (cls).
    tokens: All patch tokens of each image (tokens x features, row by row of the grid) instead of one pooled row.
    batch_size: Images that are encoded at once.
    part_rows: Images of a part of a folder; without it 64 parts, of 512 to 16,384 images. Values do not depend on
        it, but for rounding.

    Returns the features (`.features`, `.names`, `.to_pandas()`), written to `out` too where it is given.
    embed(model, images, how="mean") returns the pooled features of open images as one tensor. Raises ValueError for
    what cannot be.
    """

def evaluate(
    data: Data,
    *,
    weights: Weights,
    drop_ratio: float | Sequence[float] | None = None,
    fold: Literal["leave", "append", "pool", "merge"] | None = None,
    reduction: str | PathLike[str] | None = None,
    only: str | PathLike[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    batch_size: int | None = None,
    rounds: int = 5,
    out: str | PathLike[str] | None = None,
    confusion: str | PathLike[str] | None = None,
    mistakes: str | PathLike[str] | None = None,
    device: str = "auto",
    criterion: Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"] | None = None,
    pool_dropped: bool = False,
    reduce_after: int | Sequence[int] | None = None,
    before_mlp: bool | None = None,
    split: Literal["train", "test"] = "test",
    max_bad_files: float = 0.05,
    workers: int = 0,
    parts: str | PathLike[str] | None = None,
) -> Evaluated:
    """Say how often a classifier is right and how fast it is, and what speed costs in accuracy.

    DATA has labels. Works with any classifier: a fine-tuned run, or timm:NAME, whose tokens are then dropped without
    any training.

    data: Folder with val/CLASS/... folders, .csv of path,label, WebDataset shards, `hf:NAME`, or a built-in word.
    weights: Run folder, .safetensors or .pth file, folder of transformers' or timm's, timm:NAME or
        hf-hub:OWNER/NAME.
    drop_ratio: Shares of the patch tokens that each of three stages drops; without it, those that it was fine-tuned
        with.
    fold: What becomes of them. append: their mean stays in the sequence (the paper). pool: these means are pooled,
        too, each for as many as it stands for: without training it keeps more of the accuracy. merge: each goes
        into the nearest token that stays (ToMe). leave: nothing.
    reduction: File of a reduction, as `pcae tune` writes it: drop ratio, criterion, fold, blocks.
    only: File of the images that count, by their names below DATA, one a line: the validation.txt of a run.
    image_size: Height and width of the images in pixels; without it, the model's own. Positions are resized.
    batch_size: Images of a large batch; without it, 16 on a CPU and 256 elsewhere.
    rounds: Turns that each drop ratio has in the measurement of speed; 0 for none.
    out: Picture of accuracy against speed (.png, .svg or .pdf) of two drop ratios or more; without it,
        accuracy-speed.png.
    confusion: Picture of the confusion matrix at the first drop ratio (.png, .svg or .pdf).
    mistakes: Page (.html) of the wrong predictions at the first drop ratio that the model was surest of, with
        pictures.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    criterion: Which tokens go: those most like the mean (the method), or those of another rule; bipartite is
        ToMe's.
    pool_dropped: Another word for fold='pool'.
    reduce_after: Blocks, from 0, after which tokens are dropped; three in all if nobody says otherwise.
    before_mlp: Drop tokens between attention and MLP of these blocks, not after them: the MLP then has fewer.
    split: Which split, where the data has splits; test is also the val folder.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.
    parts: Folder for what the classifier says of each image (its logits), in parts as `pcae embed` writes them:
        after any end the same command goes on.

    Returns accuracy, cost and speed, a row for each drop ratio (`.rows`, `.to_pandas()`). Raises ValueError for
    what cannot be.
    """

def export(
    weights: Weights,
    *,
    to: Literal["onnx", "torch-export", "timm", "hf", "vitmae", "mae", "pcae-code", "safetensors", "web"] | None = None,
    out: str | PathLike[str] | None = None,
    check: str | PathLike[str] | None = None,
    drop_ratio: float | None = None,
    criterion: Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"] | None = None,
    fold: Literal["leave", "append", "pool", "merge"] | None = None,
    reduction: str | PathLike[str] | None = None,
    data: Data | None = None,
    image_size: int | tuple[int, int] | None = None,
    device: str = "auto",
    pool_dropped: bool = False,
    reduce_after: int | Sequence[int] | None = None,
    before_mlp: bool | None = None,
    precision: Literal["fp32", "fp16", "int8"] | None = None,
    calibration: str | None = None,
    rounds: int = 5,
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime",
    onnxruntime_web: str | PathLike[str] | None = None,
    max_bad_files: float = 0.05,
) -> Exported:
    """Write a model for other programs, read it back, and compare its answers with PyTorch's on 64 images.

    An export whose answers differ is not kept. onnx and torch-export take uint8 images and normalise them themselves.
    onnx in fp16 and int8 may differ as docs/export.md says; its size and speed are measured beside the file in fp32.

    weights: Run folder, .safetensors or .pth file, folder of transformers' or timm's, timm:NAME or
        hf-hub:OWNER/NAME.
    to: onnx (ONNX file), torch-export (.pt2), timm (folder), hf (folder for transformers), vitmae (the same with
        the decoder that predicts pixels), mae (.pth of MAE's code, with that decoder where there is one), pcae-code
        (.pth of the public PCAE code, with the decoder that predicts features), safetensors (ours), web (folder
        with a page that runs a classifier in browsers).
    out: The .onnx, .pt2, .pth or .safetensors file, or the new folder, to write.
    check: Write nothing, and hold this exported file or folder against the weights: one that was quantised, cast or
        made by another tool. How far it is off is printed.
    drop_ratio: Share of the patch tokens that each of three stages drops, for onnx and torch-export; without it, as
        it was fine-tuned, or as the file of check says. For web, where the dial of the page stands at first.
    criterion: Which tokens go: those most like the mean (the method), or those of another rule; bipartite is
        ToMe's.
    fold: What becomes of them. append: their mean stays in the sequence (the paper). pool: these means are pooled,
        too, each for as many as it stands for: without training it keeps more of the accuracy. merge: each goes
        into the nearest token that stays (ToMe). leave: nothing.
    reduction: File of a reduction, as `pcae tune` writes it: drop ratio, criterion, fold, blocks.
    data: Images for the check: as for other verbs; without it, 64 of the built-in ones.
    image_size: Height and width of the images in pixels; without it, the model's own. Positions are resized.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    pool_dropped: Another word for fold='pool'.
    reduce_after: Blocks, from 0, after which tokens are dropped; three in all if nobody says otherwise.
    before_mlp: Drop tokens between attention and MLP of these blocks, not after them: the MLP then has fewer.
    precision: Of the numbers, for onnx: fp32 (without it), fp16 (half of the size; for GPUs) or int8 (a quarter;
        for CPUs). With check, what the file's answers are judged as; without it, as the file says.
    calibration: Images that set the ranges of int8: as for other verbs, 128 of the training split; without it,
        those of data, else the built-in ones.
    rounds: Measurements of the speed of a file in fp16 or int8, and of the same in fp32, in turns; 0 for none.
    runtime: What runs an ONNX file for check: onnxruntime, or openvino.
    onnxruntime_web: For web: the package of npm that computes in browsers, as `npm pack onnxruntime-web@1.30.0`
        leaves it (.tgz), or unpacked (node_modules/onnxruntime-web). Two of its files, 14 MB, are copied.
    max_bad_files: Share of the images of the check that may be unreadable, in [0, 1).

    Returns what was written and how the check came out (`.check`). Raises ValueError for what cannot be.
    """

def finetune(
    data: Data,
    out: str | PathLike[str],
    *,
    weights: Weights | None = None,
    from_scratch: bool = False,
    recipe: str | None = None,
    drop_ratio: float | str | tuple[float, float] = 0.0,
    freeze: Literal["encoder"] | int | None = None,
    validation: Data | None = None,
    image_size: int | tuple[int, int] | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 1024,
    device: str = "auto",
    dry_run: bool = False,
    config: str | PathLike[str] | None = None,
    resume: str | PathLike[str] = "auto",
    crop_scale: tuple[float, float] = (0.08, 1.0),
    flip: bool = True,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    pixel_range: tuple[float, float] | None = None,
    bands: int | Sequence[int] | None = None,
    max_bad_files: float = 0.05,
    workers: int | None = None,
    stream: bool = False,
    lanes: int | None = None,
    shuffle: int | None = None,
    optimizer: Literal["adamw", "muon"] = "adamw",
    base_lr: float = 0.0005,
    warmup_epochs: float | None = None,
    lr_drops: float | Sequence[float] | None = None,
    weight_decay: float = 0.05,
    betas: tuple[float, float] = (0.9, 0.999),
    clip_grad: float | None = None,
    seed: int = 0,
    accumulation: int = 1,
    precision: Literal["auto", "bf16", "fp32"] = "auto",
    compile: Literal["auto", "always", "never"] = "auto",
    grad_checkpointing: bool = False,
    fully_shard: bool = False,
    checkpoint_every: int | str = 500,
    keep_checkpoints: int = 2,
    log_every: int | str | None = None,
    log_to: Literal["tensorboard", "wandb", "mlflow", "csv", "none"] | Sequence[Literal["tensorboard", "wandb", "mlflow", "csv", "none"]] = ("tensorboard",),
    roll_back_after: int = 10,
    most_roll_backs: int = 3,
    evaluate_every: int | float | str = "1ep",
    crop_pct: float | None = None,
    val_fraction: float | None = None,
    group_column: str | None = None,
    multi_label: bool = False,
    class_weights: Literal["balanced"] | None = None,
    sampler: Literal["shuffle", "balanced"] = "shuffle",
    transform: Callable[[Any], Any] | None = None,
    model: str | None = None,
    patch_size: int | None = None,
    channels: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
    patch_scale: float = 1.0,
    criterion: Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"] = "mean-similarity",
    fold: Literal["leave", "append", "pool", "merge"] = "append",
    reduce_after: int | Sequence[int] | None = None,
    before_mlp: bool = False,
    drop_start_epochs: float | None = None,
    drop_ramp_epochs: float | None = None,
    drop_ramp: Literal["cosine", "linear"] = "cosine",
    global_pool: Literal["avg", "token"] = "avg",
    pool_dropped: bool = False,
    layer_decay: float | None = None,
    drop_path: float = 0.1,
    mixup: float = 0.8,
    cutmix: float = 1.0,
    label_smoothing: float = 0.1,
    ema: float | None = None,
    auto_augment: str = "rand-m9-mstd0.5-inc1",
    erasing: float = 0.25,
    callbacks: Sequence[object] | None = None,
) -> RunSummary:
    """Fine-tune an encoder to classify images, dropping redundant tokens on the way (section 3.4 of the paper).

    DATA has labels: train/CLASS/... and val/CLASS/... folders, a .csv of path,label with validation=OTHER,
    WebDataset shards, hf:NAME, `sample` or `fashion-mnist`. The defaults are MAE's recipe for ViT-B.

    data: Folder, .txt or .csv list, WebDataset shards (a folder, a .tar or 'shard-{000..099}.tar') or their index
        (.json, also at an address), `hf:NAME`, `sample` or `fashion-mnist`.
    out: Run folder; a run that stands there already goes on.
    weights: Run folder, .safetensors or .pth file, folder of Hugging Face's ViT or ViTMAE, timm:NAME or
        hf-hub:OWNER/NAME.
    from_scratch: Begin with random weights; weights then only says the architecture, without it model and so on do.
    recipe: Named settings that the package ships, which `pcae recipes` lists; auto picks one that suits.
    drop_ratio: Share of the patch tokens that each of three stages drops, in [0, 1); A:B draws a ratio of that
        range every step, so that one checkpoint serves all of them.
    freeze: What is not trained, has no drop path and keeps nothing for the gradient. encoder: all but the linear
        classifier. N: the first N blocks and all before them; the other blocks, the last norm and the classifier
        are trained.
    validation: Held-out images in another place; without it, the val folder or test split of DATA.
    image_size: Height and width of the images in pixels; without it, those of the weights, or 224 224. Positions
        are resized.
    epochs: Length of the run in passes over the images; without it or `steps`, as long as the paper's.
    steps: Length of the run in optimizer steps, instead of `epochs`.
    batch_size: Images per optimizer step, over all processes and micro-batches; the learning rate follows it.
    device: cpu, cuda, cuda:1, mps, ...; auto is the first accelerator, else the CPU.
    dry_run: Make a few steps, write nothing, and say what the run takes: hours, images/s, memory, the largest
        batch. Steps that drop more tokens than the next ones are faster than that.
    config: YAML file of `name: value` lines, named as the flags are.
    resume: auto: go on from the folder's newest checkpoint. never: refuse a folder with a run. PATH: that
        checkpoint.
    crop_scale: Least and most share of an image's area in a random crop; 1 1 takes whole images.
    flip: Mirror half of the images, left to right.
    mean: Mean of the pixels in [0, 1] by channel; without it, computed from the data.
    std: Standard deviation of the pixels by channel; without it, computed from the data.
    pixel_range: Values of 16-bit and float pixels that become black and white; without it 0 65535 and 0 1.
    bands: Which bands of a file become the channels, from 1, in their order, such as 4 3 2; without it, all of
        them.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); others take their place. More end the run.
    workers: Processes that read images; without it, one less than the cores of each GPU's share, and none on a CPU.
    stream: Read shards (.tar, .parquet, hf:NAME) in order, with nothing held of each image; those of an index
        always are.
    lanes: For streams: equal parts of every batch, each read in order by itself; a multiple of processes x
        accumulation that divides the batch size. Without it as many as fit, up to 64. It decides the order.
    shuffle: For streams: samples in a row of a lane that are shown in random order, and held in memory; without it
        64.
    optimizer: muon: matrices move by orthogonalised momentum, all else by AdamW. Steps are scaled to the size of
        AdamW's, so that base_lr and weight_decay mean the same.
    base_lr: Peak learning rate for 256 images a step; the one in use is base_lr * batch_size / 256.
    warmup_epochs: Epochs over which the learning rate rises; without it, a twentieth of the run.
    lr_drops: Shares of the run, ascending in (0, 1), after each of which the learning rate falls to a tenth and
        stays there until the next; without it, a half cosine down to 0.
    weight_decay: Decoupled weight decay of matrices; biases, norms and learned tokens have none.
    betas: AdamW's decay rates of the two moments; Muon's momentum of matrices is 0.95.
    clip_grad: Largest norm of the gradient; without it, gradients are not clipped.
    seed: Decides the initial weights, the order of images, crops, flips and masks.
    accumulation: Micro-batches per optimizer step and process; more need less memory. Same result, up to rounding.
    precision: Of matrix products; auto is bf16 on GPUs that have it, else fp32.
    compile: Compile transformer blocks, which takes a minute or two at the start; auto does in pre-training on
        CUDA, for a thousand steps or more.
    grad_checkpointing: Compute blocks again in the backward pass instead of keeping what they made: less memory, a
        third more work.
    fully_shard: Split weights, gradients and the optimizer's state over the processes: for models that do not fit
        into each of them, such as ViT-L and ViT-H. Same result, up to rounding; more traffic between the processes.
    checkpoint_every: Steps, or epochs as in 2ep, between checkpoints; one is always written at the end.
    keep_checkpoints: Newest checkpoints that stay.
    log_every: Steps, or epochs as in 0.1ep, between lines of metrics.jsonl; without it 10 steps, or a fiftieth of a
        short run.
    log_to: Where the numbers go beside metrics.jsonl. wandb and mlflow need their clients (`pip install
        'pcae[wandb]'`), and are told where to write by their own environment variables. csv is metrics.csv.
    roll_back_after: Steps in a row that are skipped, their gradients not being finite, after which the run goes
        back to its last checkpoint and takes the images in another order.
    most_roll_backs: Times that a run goes back before it gives up; with 0 it gives up at once.
    evaluate_every: Steps, or epochs as in 1ep, between looks at the held-out images; there is always one at the
        end.
    crop_pct: Share of the shorter side that evaluation looks at, in (0, 1]; without it, that of the weights (MAE:
        0.875).
    val_fraction: Share of the images of each class that is held out, in (0, 1), by their names and seed, where DATA
        has no held-out images of its own; the validation.txt of a run names them.
    group_column: Column of a .csv whose values, such as patients, stay together: with val_fraction none is on both
        sides.
    multi_label: Images show any number of classes, also none: a .csv of path,labels with | or ; between labels, or
        with a column of 0 and 1 for each class. Binary cross-entropy; the weights with the best mAP are kept.
    class_weights: balanced: in the loss an image of a class counts images / (classes * images of the class); with
        multi_label=True, the same for having and for lacking each class. Without it, all count alike.
    sampler: shuffle: an epoch shows each image once. balanced: as many images, but each class alike; those of a
        rare class several times, of a frequent one a part, another one in every epoch.
    transform: A callable on an image, in place of crops, mirroring, RandAugment and erasing; from Python alone.
    model: Name of a timm VisionTransformer, with from_scratch=True; without it, vit_base_patch16_224.
    patch_size: Side of a patch in pixels, with from_scratch=True; without it, the model's own.
    channels: Channels of the images, with from_scratch=True; without it, 1 for `sample` and `fashion-mnist`, else
        3.
    width: Width of a token, with from_scratch=True; without it, the model's own.
    depth: Number of blocks, with from_scratch=True; without it, the model's own.
    heads: Attention heads of a block, with from_scratch=True; without it, the model's own.
    patch_scale: Factor on the initial patch embedding, with from_scratch=True (for small patches).
    criterion: Which tokens go: those most like the mean (the method), or those of another rule; bipartite is
        ToMe's.
    fold: What becomes of them. append: their mean stays in the sequence (the paper). pool: these means are pooled,
        too, each for as many as it stands for. merge: each goes into the nearest token that stays (ToMe). leave:
        nothing.
    reduce_after: Blocks, from 0, after which tokens are dropped; without it 0, 7 and 10 of 12.
    before_mlp: Drop tokens between attention and MLP of these blocks, not after them: the MLP then has fewer.
    drop_start_epochs: Epochs in which nothing is dropped; without it, a tenth of the run (the paper: 10 of 100).
    drop_ramp_epochs: Epochs over which the drop ratio then climbs; without it, a quarter of the run (the paper: 25
        of 100).
    drop_ramp: How it climbs: cosine, as in EViT, or linear; in steps of 0.05.
    global_pool: What is classified: the mean of the patch tokens with a norm of its own, or the class token.
    pool_dropped: Another word for fold='pool', which needs global_pool='avg'. Ours: the paper pools what is left.
    layer_decay: Factor on the learning rate from each block to the one before it; without it 0.65, and 1 from
        scratch.
    drop_path: Probability that the last block's branches are left out; it climbs from 0 with the depth.
    mixup: Parameter of the beta distribution that two images are blended by; 0 for none.
    cutmix: The same for a rectangle of one image in the other; where both are on, each has half of the steps.
    label_smoothing: Share of the target that is spread over all classes, in [0, 1).
    ema: Momentum of a moving average of the weights, which is then evaluated and kept, such as 0.9999; early steps
        have (1 + step) / (10 + step) at most, so that the start is forgotten.
    auto_augment: timm's name of a policy of random distortions: rand-m9-mstd0.5-inc1 is RandAugment 9 / 0.5; none
        for none.
    erasing: Probability that a random rectangle of a crop becomes noise, in [0, 1].
    callbacks: Objects with methods of `pcae.Callback`, which hear of the run.

    Returns the summary of the run, a dict: weights, figures, seconds; it prints as a table. Raises ValueError for
    what cannot be.
    """

def neighbours(
    features: str | PathLike[str],
    data: Data,
    *,
    weights: Weights | None = None,
    neighbours: int = 10,
    out: str | PathLike[str] | None = None,
    exact: bool = False,
    index: str | PathLike[str] | None = None,
    pool: Literal["mean", "cls"] = "mean",
    split: Literal["train", "test"] = "train",
    device: str = "auto",
    index_threads: int = 1,
    image_size: int | tuple[int, int] | None = None,
    batch_size: int = 64,
    max_bad_files: float = 0.05,
    workers: int = 0,
) -> Neighbours:
    """Find the images whose features are most like those of others, by cosine similarity.

    FEATURES is what `pcae embed` wrote. Up to 100,000 rows the search is exact. Above it goes through an index, which
    is built once, lies beside FEATURES and is mapped into memory.

    features: The .npy or .parquet file of `pcae embed`, or its folder of parts.
    data: Images by their paths as FEATURES has them; with weights any: folder, image, .txt or .csv list, ...
    weights: The weights that FEATURES were made with, which embed the queries: run folder, .safetensors or .pth
        file, folder of transformers' or timm's, timm:NAME or hf-hub:OWNER/NAME.
    neighbours: Images that are named for each query; an image is no neighbour of its own.
    out: The .jsonl file to write, a line a query.
    exact: Compare with every row, however many these are.
    index: File of the index, which is used, or built where it is not there; without it FEATURES.index, from 100,001
        rows on.
    pool: With weights, as FEATURES were made: mean of the patch tokens, or the class token (cls).
    split: Which split, where the data has splits; test is also the val folder.
    device: Where queries are encoded: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    index_threads: Threads that build the index. With one, the same features make the same file.
    image_size: Height and width of the queries in pixels; without it, the model's own.
    batch_size: Queries that are encoded at once.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.

    Returns the images most like each query (`.rows`, `.to_pandas()`), written to `out` too where it is given.
    Raises ValueError for what cannot be.
    """

def pack(
    data: Data,
    out: str | PathLike[str],
    *,
    form: Literal["pixels", "jpeg"] = "pixels",
    side: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    quality: int | None = None,
    channels: int | None = None,
    pixel_range: tuple[float, float] | None = None,
    bands: int | Sequence[int] | None = None,
    split: Literal["train", "test"] | None = None,
    max_bad_files: float = 0.05,
    workers: int | None = None,
) -> Packed:
    """Decode and shrink every image once. What is killed goes on when the same is asked for again.

    The folder has the splits, names, labels and order of DATA; `pcae check-data OUT` reads it against its checksums.

    data: Folder, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`.
    out: The folder to write.
    form: pixels: 8-bit values of images of one size, the fastest to read. jpeg: the smallest, for 1 or 3 channels.
    side: Pixels of a side; without it, 256. jpeg: of the shorter side, which is only shrunk. pixels: of both.
    image_size: Height and width of pixels, which images are resized to cover; without it, side x side.
    quality: Quality of jpeg, 1 to 100; without it, 90.
    channels: Channels to keep; without it, 1 for `sample` and `fashion-mnist`, 3 for image files.
    pixel_range: Values of 16-bit and float pixels that become black and white; without it 0 65535 and 0 1.
    bands: Which bands of a file become the channels, from 1, in their order, such as 4 3 2; without it, all of
        them.
    split: The only split to pack, where DATA has several; without it, all.
    max_bad_files: Share of a split's images that may be unreadable, in [0, 1); they are left out and named.
    workers: Processes that decode images; without it, as many as there are cores.

    Returns what stands in the folder, a dict; it prints as a table of its splits. Raises ValueError for what cannot
    be.
    """

def predict(
    data: Data,
    *,
    weights: Weights,
    out: str | PathLike[str] | None = None,
    drop_ratio: float | None = None,
    fold: Literal["leave", "append", "pool", "merge"] | None = None,
    reduction: str | PathLike[str] | None = None,
    top: int = 5,
    threshold: float | None = None,
    split: Literal["train", "test"] = "test",
    batch_size: int = 32,
    image_size: int | tuple[int, int] | None = None,
    device: str = "auto",
    criterion: Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"] | None = None,
    pool_dropped: bool = False,
    reduce_after: int | Sequence[int] | None = None,
    before_mlp: bool | None = None,
    max_bad_files: float = 0.05,
    workers: int = 0,
    part_rows: int | None = None,
) -> Predictions:
    """Classify images: for each a line of JSON with its path and the classes of highest probability.

    The line of an image that cannot be read says why.

    data: An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word.
    weights: Run folder, .safetensors or .pth file, folder of transformers' or timm's, timm:NAME or
        hf-hub:OWNER/NAME.
    out: The .jsonl file to write, or a folder for parts in .parquet, which processes and machines share (torchrun,
        srun) and which may be at an address (s3, gs, hf); without it, lines go to standard output.
    drop_ratio: Share of the patch tokens that each of three stages drops; without it, as it was fine-tuned.
    fold: What becomes of them. append: their mean stays in the sequence (the paper). pool: these means are pooled,
        too, each for as many as it stands for: without training it keeps more of the accuracy. merge: each goes
        into the nearest token that stays (ToMe). leave: nothing.
    reduction: File of a reduction, as `pcae tune` writes it: drop ratio, criterion, fold, blocks.
    top: Classes that are named for each image.
    threshold: Name every class of at least this probability instead, however many these are; 0.5 suits weights that
        were fine-tuned with multi_label, whose probabilities stand for themselves.
    split: Which split, where the data has splits; test is also the val folder.
    batch_size: Images that are classified at once.
    image_size: Height and width of the images in pixels; without it, the model's own. Positions are resized.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    criterion: Which tokens go: those most like the mean (the method), or those of another rule; bipartite is
        ToMe's.
    pool_dropped: Another word for fold='pool'.
    reduce_after: Blocks, from 0, after which tokens are dropped; three in all if nobody says otherwise.
    before_mlp: Drop tokens between attention and MLP of these blocks, not after them: the MLP then has fewer.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.
    part_rows: Images of a part of a folder; without it 64 parts, of 512 to 16,384 images.

    Returns the likely classes of every image (`.rows`, `.to_pandas()`), written to `out` too where it is given.
    Raises ValueError for what cannot be.
    """

def pretrain(
    data: Data,
    out: str | PathLike[str],
    *,
    recipe: str | None = None,
    method: Literal["pcae", "mae", "simmim", "pcae-simmim", "mae-discard"] = "pcae",
    init: Weights | None = None,
    model: str = "vit_base_patch16_224",
    image_size: int | tuple[int, int] = (224, 224),
    mask_ratio: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 1024,
    device: str = "auto",
    dry_run: bool = False,
    config: str | PathLike[str] | None = None,
    resume: str | PathLike[str] = "auto",
    crop_scale: tuple[float, float] = (0.2, 1.0),
    flip: bool = True,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    pixel_range: tuple[float, float] | None = None,
    bands: int | Sequence[int] | None = None,
    max_bad_files: float = 0.05,
    workers: int | None = None,
    stream: bool = False,
    lanes: int | None = None,
    shuffle: int | None = None,
    optimizer: Literal["adamw", "muon"] = "adamw",
    base_lr: float = 0.00015,
    warmup_epochs: float | None = None,
    lr_drops: float | Sequence[float] | None = None,
    weight_decay: float = 0.05,
    betas: tuple[float, float] = (0.9, 0.95),
    clip_grad: float | None = None,
    seed: int = 0,
    accumulation: int = 1,
    precision: Literal["auto", "bf16", "fp32"] = "auto",
    compile: Literal["auto", "always", "never"] = "auto",
    grad_checkpointing: bool = False,
    fully_shard: bool = False,
    checkpoint_every: int | str = 500,
    keep_checkpoints: int = 2,
    log_every: int | str | None = None,
    log_to: Literal["tensorboard", "wandb", "mlflow", "csv", "none"] | Sequence[Literal["tensorboard", "wandb", "mlflow", "csv", "none"]] = ("tensorboard",),
    roll_back_after: int = 10,
    most_roll_backs: int = 3,
    teacher: Weights | None = None,
    layer_decay: float | None = None,
    transform: Callable[[Any], Any] | None = None,
    patch_size: int | None = None,
    channels: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
    patch_scale: float = 1.0,
    views: int = 1,
    pool_ratio: float | None = None,
    pixel_weight: float = 0.0,
    class_target: bool = False,
    norm_pix_loss: bool = True,
    discard: Literal["loss", "decode"] = "loss",
    stages: int = 3,
    placement: int = 1,
    stages_after: int | Sequence[int] | None = None,
    keep_ratio: float | None = None,
    criterion: Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"] = "mean-similarity",
    random_targets: int | None = None,
    target_norm: Literal["token", "none"] = "token",
    target_layers: int = 1,
    momentum: float | None = None,
    momentum_end: float | None = None,
    decoder_width: int = 512,
    decoder_depth: int | None = None,
    decoder_heads: int = 16,
    health_every: int | str | None = None,
    knn_data: Data | None = None,
    knn_every: int | float | str = "10ep",
    callbacks: Sequence[object] | None = None,
) -> RunSummary:
    """Pre-train a Vision Transformer on images without labels, by PCAE or by what it is compared with.

    DATA is a folder (flat or nested), a .txt or .csv list, WebDataset shards, hf:NAME, `sample` or `fashion-mnist`.
    Flags come before config=FILE, that before recipe=NAME, that before the defaults, which are the paper's ViT-B.

    data: Folder, .txt or .csv list, WebDataset shards (a folder, a .tar or 'shard-{000..099}.tar') or their index
        (.json, also at an address), `hf:NAME`, `sample` or `fashion-mnist`.
    out: Run folder; a run that stands there already goes on.
    recipe: Named settings that the package ships, which `pcae recipes` lists; auto picks one that suits.
    method: pcae: predict the features that the teacher keeps. mae: predict pixels. simmim: mask tokens in the
        encoder. pcae-simmim: both ideas. mae-discard: mae without the targets that the teacher drops (Table 9).
    init: Weights to go on from, with their decoder where it fits: a run folder, MAE's .pth, a folder of Hugging
        Face's ViTMAE, timm:NAME, hf-hub:OWNER/NAME. Network and normalisation are theirs where none are given; so
        is an image size of 224 224.
    model: Name of a timm VisionTransformer.
    image_size: Height and width of the images in pixels.
    mask_ratio: Share of the patches that the student does not see, in (0, 1); without it 0.75, with simmim 0.6.
    epochs: Length of the run in passes over the images; without it or `steps`, as long as the paper's.
    steps: Length of the run in optimizer steps, instead of `epochs`.
    batch_size: Images per optimizer step, over all processes and micro-batches; the learning rate follows it.
    device: cpu, cuda, cuda:1, mps, ...; auto is the first accelerator, else the CPU.
    dry_run: Make a few steps, write nothing, and say what the run takes: hours, images/s, memory, the largest
        batch.
    config: YAML file of `name: value` lines, named as the flags are.
    resume: auto: go on from the folder's newest checkpoint. never: refuse a folder with a run. PATH: that
        checkpoint.
    crop_scale: Least and most share of an image's area in a random crop; 1 1 takes whole images.
    flip: Mirror half of the images, left to right.
    mean: Mean of the pixels in [0, 1] by channel; without it, computed from the data.
    std: Standard deviation of the pixels by channel; without it, computed from the data.
    pixel_range: Values of 16-bit and float pixels that become black and white; without it 0 65535 and 0 1.
    bands: Which bands of a file become the channels, from 1, in their order, such as 4 3 2; without it, all of
        them.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); others take their place. More end the run.
    workers: Processes that read images; without it, one less than the cores of each GPU's share, and none on a CPU.
    stream: Read shards (.tar, .parquet, hf:NAME) in order, with nothing held of each image; those of an index
        always are.
    lanes: For streams: equal parts of every batch, each read in order by itself; a multiple of processes x
        accumulation that divides the batch size. Without it as many as fit, up to 64. It decides the order.
    shuffle: For streams: samples in a row of a lane that are shown in random order, and held in memory; without it
        64.
    optimizer: muon: matrices move by orthogonalised momentum, all else by AdamW. Steps are scaled to the size of
        AdamW's, so that base_lr and weight_decay mean the same.
    base_lr: Peak learning rate for 256 images a step; the one in use is base_lr * batch_size / 256.
    warmup_epochs: Epochs over which the learning rate rises; without it, a twentieth of the run.
    lr_drops: Shares of the run, ascending in (0, 1), after each of which the learning rate falls to a tenth and
        stays there until the next; without it, a half cosine down to 0.
    weight_decay: Decoupled weight decay of matrices; biases, norms and learned tokens have none.
    betas: AdamW's decay rates of the two moments; Muon's momentum of matrices is 0.95.
    clip_grad: Largest norm of the gradient; without it, gradients are not clipped.
    seed: Decides the initial weights, the order of images, crops, flips and masks.
    accumulation: Micro-batches per optimizer step and process; more need less memory. Same result, up to rounding.
    precision: Of matrix products; auto is bf16 on GPUs that have it, else fp32.
    compile: Compile transformer blocks, which takes a minute or two at the start; auto does in pre-training on
        CUDA, for a thousand steps or more.
    grad_checkpointing: Compute blocks again in the backward pass instead of keeping what they made: less memory, a
        third more work.
    fully_shard: Split weights, gradients and the optimizer's state over the processes: for models that do not fit
        into each of them, such as ViT-L and ViT-H. Same result, up to rounding; more traffic between the processes.
    checkpoint_every: Steps, or epochs as in 2ep, between checkpoints; one is always written at the end.
    keep_checkpoints: Newest checkpoints that stay.
    log_every: Steps, or epochs as in 0.1ep, between lines of metrics.jsonl; without it 10 steps, or a fiftieth of a
        short run.
    log_to: Where the numbers go beside metrics.jsonl. wandb and mlflow need their clients (`pip install
        'pcae[wandb]'`), and are told where to write by their own environment variables. csv is metrics.csv.
    roll_back_after: Steps in a row that are skipped, their gradients not being finite, after which the run goes
        back to its last checkpoint and takes the images in another order.
    most_roll_backs: Times that a run goes back before it gives up; with 0 it gives up at once.
    teacher: Weights of a fixed teacher in place of the moving average of the student, of any family and patch size.
    layer_decay: With init: the learning rate falls by this factor from block to block, from the last to the patch
        embedding, so that a network that has learned much moves little at its beginning. Without it, all blocks
        move alike.
    transform: A callable on an image, in place of crops and mirroring; from Python alone.
    patch_size: Side of a patch in pixels; without it, the model's own.
    channels: Channels of the images; without it, 1 for `sample` and `fashion-mnist`, 3 for image files.
    width: Width of a token; without it, the model's own.
    depth: Number of blocks; without it, the model's own.
    heads: Attention heads of a block; without it, the model's own.
    patch_scale: Factor on the initial patch embedding; above 1, content weighs more against positions (for small
        patches).
    views: For pcae: students' views of an image for one pass of the teacher; each sees its own part of the pool.
    pool_ratio: For pcae: share of the patches that views are drawn from, such as 0.25 with several views and a mask
        ratio of 0.85; the teacher sees the others. Without it, one view is the pool.
    pixel_weight: For pcae: weight of mae's loss at the targets, beside their features; 0 is the paper.
    class_target: For pcae with a fixed teacher: predict its class token, too, from the student's.
    norm_pix_loss: For mae: predict the pixels of each patch less their mean, over their standard deviation.
    discard: For mae-discard: discarded targets are decoded without a loss (setting 1), or not even decoded (setting
        2).
    stages: Times that the teacher drops tokens; 0 is a full teacher.
    placement: Where the stages stand, by Table 8's number: 1 evenly from the first block (after 0, 4, 8 of 12), 2
        evenly to the last, 3 from first to last, 4 the first blocks, 5 the last.
    stages_after: Blocks, from 0, after which the teacher drops tokens, instead of `stages` and `placement`.
    keep_ratio: Share of the tokens that each of the teacher's stages keeps, in (0, 1]; without it 0.5, for
        pcae-simmim 0.54.
    criterion: What is dropped: tokens most like the mean (the method), random ones, those that get least attention
        from the others or (saliency) from the class token, those that others explain best by a matrix decomposition
        (slow).
    random_targets: Predict only so many targets, drawn at random from those that the teacher keeps; without it, all
        of them.
    target_norm: token: standardise each target over its features. none: the letter of Eq. 1.
    target_layers: Last blocks of the teacher whose outputs, each standardised, are averaged into the target; 1 is
        the paper.
    momentum: Momentum of the teacher; without it, 1 - 4 / steps, tied to the length of the run (the paper: 0.9999).
    momentum_end: Momentum at the end of a half cosine; without it, the momentum stays fixed.
    decoder_width: Width of the decoder's tokens; a multiple of 4 and of the heads.
    decoder_depth: Blocks of the decoder; without it 2, and 8 for mae (Table 15: 2 for classification, 6 or more for
        detection).
    decoder_heads: Attention heads of the decoder's blocks.
    health_every: Steps, or epochs as in 2ep, between looks at the features of 128 images, which warn of a collapse;
        0 never looks. Without it, so many that it costs less than 1 % of the time.
    knn_data: Labelled images, with held-out ones, to sort by 20 nearest neighbours during the run; DATA as probe
        takes it.
    knn_every: Steps, or epochs as in 10ep, between these probes; there is always one at the end.
    callbacks: Objects with methods of `pcae.Callback`, which hear of the run.

    Returns the summary of the run, a dict: weights, figures, seconds; it prints as a table. Raises ValueError for
    what cannot be.
    """

def probe(
    data: Data,
    *,
    weights: Weights,
    validation: Data | None = None,
    probes: Literal["knn", "linear", "attentive"] | Sequence[Literal["knn", "linear", "attentive"]] = ("knn", "linear"),
    k: int | Sequence[int] = (20,),
    pool: Literal["mean", "cls"] | Sequence[Literal["mean", "cls"]] | None = None,
    pixels: bool = False,
    most_images: int | None = None,
    epochs: int = 50,
    device: str = "auto",
    token_gib: float = 4.0,
    max_bad_files: float = 0.05,
    workers: int = 0,
    image_size: int | tuple[int, int] | None = None,
    val_fraction: float | None = None,
    group_column: str | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> ProbeResults:
    """Classify held-out images by an encoder's features; the encoder stays as it is.

    knn: the labels of the most similar training images. linear: a linear layer on pooled features. attentive: a
    learned query that attends over the patch tokens, then a linear layer. Training images choose the learning rate.

    data: Labelled images: a folder with train/CLASS and val/CLASS, `sample`, ...; or any with validation.
    weights: Run folder, .safetensors or .pth file, folder of transformers' or timm's, timm:NAME or
        hf-hub:OWNER/NAME.
    validation: Held-out images from another folder or csv list.
    probes: Which probes: knn, linear, attentive.
    k: Neighbours that vote; several numbers are tried one by one.
    pool: mean of the patch tokens, class token (cls), or both; without it, mean, and cls where the model has one.
    pixels: Probe raw pixels too: the baseline that any encoder should be held against.
    most_images: At most so many training and test images, drawn at random, for a quick look; without it, all of
        them.
    epochs: Passes of the linear and the attentive probe through the training images.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    token_gib: GiB that patch tokens may take for the attentive probe; where they take more, every epoch encodes
        anew.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.
    image_size: Height and width of the images in pixels; without it, the model's own. Positions are resized.
    val_fraction: Share of the images of each class that is held out, in (0, 1), by their names and seed, where DATA
        has no held-out images of its own; the validation.txt of a run names them.
    group_column: Column of a .csv whose values, such as patients, stay together: with val_fraction none is on both
        sides.
    batch_size: Images in a step of these probes.
    seed: Decides the order of images, initial weights and which images choose the learning rate.

    Returns the accuracies, a row for each probe (`.probes`, `.to_pandas()`). Raises ValueError for what cannot be.
    """

def report(
    run: str | PathLike[str],
    *,
    out: str | PathLike[str] | None = None,
) -> RunReport:
    """Write one page that says what a run did: settings, curves, health, probes, pictures, cost.

    The run may be finished, under way or interrupted. The page is a single file that needs no network.

    run: Run folder of `pcae pretrain` or `pcae finetune`.
    out: The page (.html); without it, report.html in the run folder.

    Returns what the page says and where it is, a dict. Raises ValueError for what cannot be.
    """

def show(
    data: Data,
    *,
    weights: Weights,
    out: str | PathLike[str],
    most_images: int = 24,
    modes: Literal["masked", "whole", "classifier"] | Sequence[Literal["masked", "whole", "classifier"]] | None = None,
    mask_ratio: float | None = None,
    keep_ratio: float | None = None,
    drop_ratio: float | None = None,
    seed: int | None = None,
    split: Literal["train", "test"] = "test",
    image_size: int | tuple[int, int] | None = None,
    device: str = "auto",
    stages: int | None = None,
    placement: int | None = None,
    stages_after: int | Sequence[int] | None = None,
    criterion: Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"] | None = None,
    max_bad_files: float = 0.05,
    workers: int = 0,
) -> Shown:
    """Show what a model keeps of images, stage by stage (Figures 2 and 4), how redundant it finds each patch, and its
    features as colours.

    Writes NAME.png and NAME.svg of each image, sheet-MODE.png and .svg of all of them, and index.html: a page that
    stands alone, with sliders for the stage and the drop ratio.

    data: An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word.
    weights: Run folder, .safetensors or .pth file, folder of transformers' or timm's, timm:NAME or
        hf-hub:OWNER/NAME.
    out: Folder to write to, outside IMAGES.
    most_images: Images that are shown, spread evenly over the data; at most 200.
    modes: masked: the teacher on the hidden patches of an image, as in pre-training. whole: the teacher on whole
        images. classifier: a fine-tuned model. Without it, all that fit the weights.
    mask_ratio: Share of the patches that are hidden, in (0, 1), for masked.
    keep_ratio: Share of the tokens that each of the teacher's stages keeps, in (0, 1).
    drop_ratio: Share of the tokens that each stage of the classifier drops, in (0, 1); without it, the most that it
        was fine-tuned with, else 0.3.
    seed: Decides what is hidden.
    split: Which split, where the data has splits; test is also the val folder.
    image_size: Height and width of the images in pixels; without it, the model's own. Positions are resized.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    stages: Times that the teacher drops tokens.
    placement: Where the teacher's stages stand, by Table 8's number, 1 to 5.
    stages_after: Blocks, from 0, after which the teacher drops tokens, instead of `stages` and `placement`.
    criterion: What the teacher drops: tokens most like the mean (the method), or another criterion of pcae
        pretrain.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.

    Returns what was written and what was kept of each image (`.images`, `.to_pandas()`). Raises ValueError for what
    cannot be.
    """

def tune(
    data: Data,
    *,
    weights: Weights,
    faster: float | None = None,
    ms: float | None = None,
    at_most_lost: float | None = None,
    labels: bool = True,
    runtime: Literal["torch", "onnxruntime"] = "torch",
    batch_size: int | None = None,
    most_images: int = 1000,
    out: str | PathLike[str] = "reduction.yaml",
    device: str = "auto",
    image_size: int | tuple[int, int] | None = None,
    criteria: Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"] | Sequence[Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"]] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    rounds: int = 5,
    split: Literal["train", "test"] = "test",
    max_bad_files: float = 0.05,
    workers: int = 0,
) -> Tuned:
    """Find the reduction that costs a classifier least at a speed, on this machine, and write it to a file.

    Rules and places are tried on some images, with labels, or without them by how often the answer is the whole
    model's. Every speed is measured beside the whole model, in turns. `evaluate`, `predict` and `export` take the file:
    reduction=FILE. Give one of faster, ms and at_most_lost.

    data: Some images like those that will be classified: a folder, a list, shards, `hf:NAME`, or a built-in word.
    weights: Run folder, .safetensors or .pth file, folder of transformers' or timm's, timm:NAME or
        hf-hub:OWNER/NAME.
    faster: How many times as fast as the whole model it shall be.
    ms: Milliseconds that a batch may take.
    at_most_lost: Points of accuracy that may be lost, as fast as that goes; without labels, percent of answers that
        may be others.
    labels: Count right answers; where there are no labels, or they shall not be looked at, answers that are the
        whole model's.
    runtime: What runs the model: PyTorch, or ONNX Runtime on the CPU, for which each candidate is exported.
    batch_size: Images of a batch whose time counts; without it 1 with ms, else 16 on a CPU and 256 elsewhere.
    most_images: At most so many images, drawn at random.
    out: The file to write; a picture, accuracy against speed, is written beside it as .png.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    image_size: Height and width of the images in pixels; without it, the model's own. Positions are resized.
    criteria: Criteria that are tried; without it, mean-similarity, bipartite and token-importance.
    precision: Of PyTorch's matrix products; bf16 is for GPUs that have it.
    rounds: Turns that each finalist has in the measurement of speed; the others have 2.
    split: Which split, where the data has splits; test is also the val folder.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.

    Returns the reduction that was found (`.chosen`) and what was tried (`.tried`, `.to_pandas()`). Raises
    ValueError for what cannot be.
    """

def worth(
    data: Data,
    *,
    weights: Weights | Sequence[Weights] = (),
    minutes: float = 20.0,
    seeds: int | Sequence[int] = (0, 1, 2),
    out: str | PathLike[str] = "worth",
    validation: Data | None = None,
    unlabelled: Data | None = None,
    most_labels: int = 2000,
    recipe: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    workers: int = 0,
    device: str = "auto",
) -> Worth:
    """Say whether pre-training is worth it for some images, within so many minutes.

    Frozen features of raw pixels, random weights and each of weights; training with labels alone; pre-training from
    scratch, on from the weights, and a small network that learns their features: one table, a page, and a verdict with
    how sure it is. A few hundred labelled images will do. The same command goes on where it was interrupted.

    data: Labelled images, as for `pcae probe`. Where none are held out, a third is, drawn anew for each seed.
    weights: Weights at hand, each as it is, on from, and as a teacher: run folders, files, timm:NAME,
        hf-hub:OWNER/NAME.
    minutes: What all of it may take; rows that are trained share what the others leave.
    seeds: All is done with each of them.
    out: Folder of the page (worth.html), of worth.json, and of what is finished.
    validation: Held-out images in another place; without it, the val folder or test split of DATA, where it has
        one.
    unlabelled: Images without labels to pre-train on, beside those of DATA.
    most_labels: At most so many training images have labels that count, drawn for each seed; all are pre-trained
        on.
    recipe: Recipe of `pcae pretrain` for what is pre-trained from scratch; without it, the network that recipe auto
        picks, trained by MAE with one decoder block, which does best in the same seconds (docs/results.md).
    image_size: Height and width of the images in pixels for all networks; without it, each one's own.
    workers: Processes that read images beside this one.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.

    Returns the verdict (`.verdict`) and the table (`.rows`, `.to_pandas()`), and where the page is (`.page`).
    Raises ValueError for what cannot be.
    """
