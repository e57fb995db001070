"""What `pcae export` is told."""

from dataclasses import dataclass
from pathlib import Path

from pcae.settings.bounds import Natural, Share
from pcae.settings.choices import ExportFormat, Precision, Runtime
from pcae.settings.trained import RuleConfig, TrainedConfig


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a model for other programs, read it back, and compare its answers with PyTorch's on 64 images.

    An export whose answers differ is not kept. onnx and torch-export take uint8 images and normalise them themselves.
    onnx in fp16 and int8 may differ as docs/export.md says; its size and speed are measured beside the file in fp32.
    """

    EXAMPLES = (
        "--weights runs/classifier --to onnx --out classifier.onnx",
        "--weights runs/classifier --to web --onnxruntime-web onnxruntime-web-1.30.0.tgz --out page",
    )
    USUAL = "weights to out check drop_ratio criterion fold reduction data image_size device json"

    model: TrainedConfig
    to: ExportFormat | None = None
    """onnx (ONNX file), torch-export (.pt2), timm (folder), hf (folder for transformers), vitmae (the same with the
    decoder that predicts pixels), mae (.pth of MAE's code, with that decoder where there is one), pcae-code (.pth of
    the public PCAE code, with the decoder that predicts features), safetensors (ours), web (folder with a page that
    runs a classifier in browsers)."""
    out: Path | None = None
    """The .onnx, .pt2, .pth or .safetensors file, or the new folder, to write."""
    check: Path | None = None
    """Write nothing, and hold this exported file or folder against the weights: one that was quantised, cast or made by
    another tool. How far it is off is printed."""
    drop_ratio: Share | None = None
    """Share of the patch tokens that each of three stages drops, for onnx and torch-export; without it, as it was
    fine-tuned, or as the file of --check says. For web, where the dial of the page stands at first."""
    rule: RuleConfig = RuleConfig()
    precision: Precision | None = None
    """Of the numbers, for onnx: fp32 (without it), fp16 (half of the size; for GPUs) or int8 (a quarter; for CPUs).
    With --check, what the file's answers are judged as; without it, as the file says."""
    calibration: str | None = None
    """Images that set the ranges of int8: as for other verbs, 128 of the training split; without it, those of --data,
    else the built-in ones."""
    rounds: Natural = 5
    """Measurements of the speed of a file in fp16 or int8, and of the same in fp32, in turns; 0 for none."""
    runtime: Runtime = "onnxruntime"
    """What runs an ONNX file for --check: onnxruntime, or openvino."""
    onnxruntime_web: Path | None = None
    """For web: the package of npm that computes in browsers, as `npm pack onnxruntime-web@1.30.0` leaves it (.tgz), or
    unpacked (node_modules/onnxruntime-web). Two of its files, 14 MB, are copied."""
    data: str | None = None
    """Images for the check: as for other verbs; without it, 64 of the built-in ones."""
    max_bad_files: Share = 0.05
    """Share of the images of the check that may be unreadable, in [0, 1)."""
    json: bool = False
    """Print what was written, and the check, as JSON."""
