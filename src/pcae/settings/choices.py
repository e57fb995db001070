"""The words that flags take one of."""

from typing import Annotated, Literal

from annotated_types import Interval

CriterionName = Literal["mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite"]
"""The method's criterion, and those that it is compared with."""
FoldName = Literal["leave", "append", "pool", "merge"]
"""What becomes of dropped tokens. leave: nothing. append: their mean stands behind the sequence. pool: the same, and
pooling takes it in. merge: each goes into the nearest kept one, which then counts for more."""
Ramp = Literal["cosine", "linear"]
PyramidName = Literal["fpn", "simple"]
"""fpn: maps of four blocks, a quarter of the depth apart, and torchvision's FPN. simple: all from the last block."""
Pool = Literal["mean", "cls"]
Frozen = Literal["encoder"] | Annotated[int, Interval(ge=1)]
"""What of a network is not trained: all of it but the task's own part, or so many first blocks."""
Dropping = Literal["none", "sampled", "random", "ptr"]
"""What happens to tokens on the way. none: all stay. random: the stages draw which stay. ptr: they drop those most like
the mean. sampled: all stay, but only those that `random` would have kept are measured, so that their number is not
what makes the difference."""
Measure = Literal[
    "finetuned", "knn", "linear", "attentive", "training_images_per_second", "inference_images_per_second",
    "peak_memory", "training_gmacs", "inference_gmacs", "seconds",
]  # fmt: skip
"""What can be measured here."""
ScaleName = Literal["smoke", "small", "paper"]
RowName = Literal[
    "mae", "mae-lite", "pcae-75", "pcae-85", "pcae-90", "pcae-85-2-views", "pcae-85-4-views", "simmim", "pcae-simmim",
]  # fmt: skip
AnyRow = Literal[RowName, "transformers", "lightly", "mae-repo", "pcae-repo"]
"""Ours, and those that are measured by benchmarks/peers.py."""
TrackerName = Literal["tensorboard", "wandb", "mlflow", "csv", "none"]
Split = Literal["train", "test"]
Form = Literal["pixels", "jpeg"]
ExportFormat = Literal["onnx", "torch-export", "timm", "hf", "vitmae", "mae", "pcae-code", "safetensors", "web"]
Precision = Literal["fp32", "fp16", "int8"]
"""Of the numbers in an exported file."""
Runtime = Literal["onnxruntime", "openvino"]
"""What reads an ONNX file for its check."""
Probe = Literal["knn", "linear", "attentive"]
BenchmarkMode = Literal["train", "loader", "inference"]
KeptMode = Literal["masked", "whole", "classifier"]
