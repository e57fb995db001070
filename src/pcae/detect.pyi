"""The verbs of detection, with their types. Written by `make completion` from the settings."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal

from pcae import Data as Data
from pcae import Weights as Weights
from pcae import data as data
from pcae.inference.detect_objects import Detected
from pcae.inference.evaluate_detector import DetectorFigures
from pcae.results import RunSummary

def train(
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    weights: Weights | None = None,
    from_scratch: bool = False,
    recipe: str | None = None,
    images: str | PathLike[str] | None = None,
    validation: str | PathLike[str] | None = None,
    masks: Literal["auto", "always", "never"] = "auto",
    drop_ratio: float = 0.0,
    epochs: float | None = None,
    batch_size: int = 16,
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
    base_lr: float = 0.0016,
    warmup_epochs: float | None = None,
    lr_drops: float | Sequence[float] | None = None,
    weight_decay: float = 0.05,
    betas: tuple[float, float] = (0.9, 0.999),
    clip_grad: float | None = None,
    steps: int | None = None,
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
    validation_images: str | PathLike[str] | None = None,
    evaluate_every: int | float | str = "1ep",
    empty_images: bool = False,
    model: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    patch_size: int | None = None,
    channels: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
    patch_scale: float = 1.0,
    pyramid: Literal["fpn", "simple"] = "fpn",
    pyramid_channels: int = 256,
    window: int | None = None,
    global_blocks: int | Sequence[int] | None = None,
    reduce_after: int | Sequence[int] = (),
    head_width: int = 1024,
    mask_channels: int = 256,
    mask_convs: int = 4,
    anchors: int | Sequence[int] = (32, 64, 128, 256, 512),
    sampled_proposals: int = 512,
    layer_decay: float | None = None,
    drop_path: float = 0.1,
    freeze: Literal["encoder"] | int | None = None,
    score_threshold: float = 0.05,
    detections_per_image: int = 100,
    max_bad_annotations: float = 0.0001,
    crowds_as_objects: bool = False,
    views: Literal["multi-scale", "jitter"] = "multi-scale",
    shortest_sides: int | Sequence[int] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800),
    longest_side: int = 1333,
    jitter_size: int | tuple[int, int] = (1024, 1024),
    jitter_scale: tuple[float, float] = (0.1, 2.0),
    padding: int = 114,
    mirror: bool = True,
    callbacks: Sequence[object] | None = None,
) -> RunSummary:
    """Train a detector (Mask R-CNN with a feature pyramid, section 3.5 of the paper; Faster R-CNN where there are no
    masks) from an encoder, end to end.

    DATA is in COCO's format: a folder with annotations/instances_train*.json beside train*/ (and the same for val),
    Roboflow's export, train.json and val.json beside images/, or one .json file with validation=OTHER.json.

    data: Folder of COCO-format data, or a .json file of annotations.
    out: Run folder; a run that stands there already goes on.
    weights: Run folder, .safetensors or .pth file, folder of Hugging Face's ViT or ViTMAE, timm:NAME or
        hf-hub:OWNER/NAME.
    from_scratch: Begin with random weights; weights then only says the architecture, without it model and so on do.
    recipe: Named settings that the package ships, which `pcae recipes` lists; auto picks one that suits.
    images: Folder of the images, where it is not found beside the annotations; the last parts of their names are
        enough.
    validation: Held-out annotations in another place; without it, the val part of DATA.
    masks: auto: masks where objects have them, else boxes alone (Faster R-CNN); always: an object without a mask
        counts as wrong; never: boxes alone.
    drop_ratio: Share of the patch tokens that each stage of `reduce_after` drops, in [0, 1).
    epochs: Length of the run in passes over the images; without it or `steps`, as long as the paper's.
    batch_size: Images per optimizer step, over all processes and micro-batches; the learning rate follows it.
    device: cpu, cuda, cuda:1, mps, ...; auto is the first accelerator, else the CPU.
    dry_run: Make a few steps, say what the run would take in time and memory, and write nothing.
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
    steps: Length of the run in optimizer steps, instead of `epochs`.
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
    validation_images: Folder of the held-out images, where it is not found; without it, that of images.
    evaluate_every: Steps, or epochs as in 1ep, between looks at the held-out images; there is always one at the
        end.
    empty_images: Train on images without objects, too, which teach what is background; as usual on COCO, they are
        left out.
    model: Name of a timm VisionTransformer, with from_scratch=True; without it, vit_base_patch16_224.
    image_size: Height and width of the images in pixels; without it, those of the weights, or 224 224. Positions
        are resized.
    patch_size: Side of a patch in pixels, with from_scratch=True; without it, the model's own.
    channels: Channels of the images, with from_scratch=True; without it, 1 for `sample` and `fashion-mnist`, else
        3.
    width: Width of a token, with from_scratch=True; without it, the model's own.
    depth: Number of blocks, with from_scratch=True; without it, the model's own.
    heads: Attention heads of a block, with from_scratch=True; without it, the model's own.
    patch_scale: Factor on the initial patch embedding, with from_scratch=True (for small patches).
    pyramid: fpn: maps of four blocks, a quarter of the depth apart, through an FPN; simple: all of the last, as in
        ViTDet.
    pyramid_channels: Channels of the pyramid's maps.
    window: Side in patches of the windows in which blocks attend; without it, all attend to the whole image.
    global_blocks: Blocks, counted from 0, that attend to the whole image all the same; without it, the last of each
        quarter.
    reduce_after: Blocks, counted from 0, after which tokens are dropped; none may stand before a block with
        windows.
    head_width: Width of the box head's two layers.
    mask_channels: Channels of the mask head's convolutions.
    mask_convs: Number of convolutions in the mask head before it doubles its side.
    anchors: Side in pixels of the anchor boxes, by level (strides 4, 8, 16, 32, 64); each in three shapes.
    sampled_proposals: Proposals of an image that the box head is trained on.
    layer_decay: Factor on the learning rate from each block to the one before it; without it 0.7, and 1 from
        scratch.
    drop_path: Probability that the last block's branches are left out; it climbs from 0 with the depth.
    freeze: What is not trained, has no drop path and keeps nothing for the gradient. encoder: all of it, so that
        pyramid and heads alone are trained. N: its first N blocks and all before them.
    score_threshold: Predictions with a lower score are left out, in [0, 1).
    detections_per_image: Most predictions that an image gets, the best ones.
    max_bad_annotations: Share of the annotations that may be wrong in themselves, such as boxes of no area; they
        are left out. Two of COCO's own 860,001 are wrong.
    crowds_as_objects: Take annotations with iscrowd 1 as objects: supervision writes it for masks with holes or
        several parts, datumaro for every mask.
    views: Whole images in several sizes, or large-scale jitter: resized far more, then cropped and padded to one
        size.
    shortest_sides: Pixels of the shorter side in multi-scale views, one of them each time.
    longest_side: Pixels that the longer side may have; the shorter one is then smaller, too.
    jitter_size: Height and width of jittered views.
    jitter_scale: Least and most of the size in which an image just fits into a jittered view.
    padding: How light, from 0 to 255, is what surrounds an image smaller than a jittered view; photographs have
        this mean.
    mirror: Mirror half of the views, left to right.
    callbacks: Objects with methods of `pcae.Callback`, which hear of the run.

    Returns the summary of the run, a dict: weights, figures, seconds; it prints as a table. Raises ValueError for
    what cannot be.
    """

def evaluate(
    data: str | PathLike[str],
    *,
    weights: str | PathLike[str],
    images: str | PathLike[str] | None = None,
    split: Literal["train", "test"] = "test",
    drop_ratio: float | None = None,
    reduce_after: int | Sequence[int] | None = None,
    window: int | None = None,
    shortest_side: int | None = None,
    predictions: str | PathLike[str] | None = None,
    device: str = "auto",
    longest_side: int | None = None,
    detections_per_image: int | None = None,
    max_bad_files: float = 0.05,
    workers: int = 0,
    max_bad_annotations: float = 0.0001,
    crowds_as_objects: bool = False,
    masks: Literal["auto", "always", "never"] = "auto",
) -> DetectorFigures:
    """Say how good a detector is by COCO's measures, and how fast.

    DATA is in COCO's format, as for `pcae detect train`. Tokens can be dropped, and windows be chosen, without any
    training for it.

    data: Folder of COCO-format data, or a .json file of annotations.
    weights: Run folder of `pcae detect train`, or one of its files: detector.safetensors, best.safetensors.
    images: Folder of the images, where it is not found beside the annotations; the last parts of their names are
        enough.
    split: Which part of a folder; test is also its val part.
    drop_ratio: Share of the patch tokens that each stage drops, in [0, 1); without it, as it was trained.
    reduce_after: Blocks, counted from 0, after which tokens are dropped; without it, as it was trained.
    window: Side in patches of the windows in which blocks attend, 0 for none; without it, as it was trained.
    shortest_side: Pixels of an image's shorter side where objects are looked for; without it, as it was trained.
    predictions: The .json file that all predictions are written to, as COCO's results.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    longest_side: Pixels that the longer side may have then; without it, as it was trained.
    detections_per_image: Most predictions that an image gets, the best ones; without it, as it was trained.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.
    max_bad_annotations: Share of the annotations that may be wrong in themselves, such as boxes of no area; they
        are left out. Two of COCO's own 860,001 are wrong.
    crowds_as_objects: Take annotations with iscrowd 1 as objects: supervision writes it for masks with holes or
        several parts, datumaro for every mask.
    masks: auto: masks where objects have them, else boxes alone (Faster R-CNN); always: an object without a mask
        counts as wrong; never: boxes alone.

    Returns COCO's figures, a dict of shares, not percent; it prints as tables. Raises ValueError for what cannot
    be.
    """

def predict(
    data: Data,
    *,
    weights: str | PathLike[str],
    out: str | PathLike[str],
    threshold: float = 0.5,
    pictures: bool = True,
    split: Literal["train", "test"] = "test",
    drop_ratio: float | None = None,
    reduce_after: int | Sequence[int] | None = None,
    shortest_side: int | None = None,
    device: str = "auto",
    longest_side: int | None = None,
    window: int | None = None,
    detections_per_image: int | None = None,
    max_bad_files: float = 0.05,
    workers: int = 0,
) -> Detected:
    """Find objects in images: OUT gets results.json as COCO has it, images.json with the images' and the categories'
    ids, and every picture with boxes, labels and masks drawn.

    Images that cannot be read are named at the end.

    data: An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word.
    weights: Run folder of `pcae detect train`, or one of its files: detector.safetensors, best.safetensors.
    out: Folder to write to.
    threshold: Least score of objects that are written and drawn, in [0, 1).
    pictures: Draw the pictures, too.
    split: Which split, where the data has splits; test is also the val folder.
    drop_ratio: Share of the patch tokens that each stage drops, in [0, 1); without it, as it was trained.
    reduce_after: Blocks, counted from 0, after which tokens are dropped; without it, as it was trained.
    shortest_side: Pixels of an image's shorter side where objects are looked for; without it, as it was trained.
    device: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU.
    longest_side: Pixels that the longer side may have then; without it, as it was trained.
    window: Side in patches of the windows in which blocks attend, 0 for none; without it, as it was trained.
    detections_per_image: Most predictions that an image gets, the best ones; without it, as it was trained.
    max_bad_files: Share of the images that may be unreadable, in [0, 1); they are left out and named at the end.
    workers: Processes that read images beside this one.

    Returns the images and the objects in them (`.images`, `.results`, `.to_pandas()`). Raises ValueError for what
    cannot be.
    """
