"""What each verb does and what it is told: a file a verb, those of detection in one, as are those of
stored features, of comparisons and of kept tokens.

`pcae VERB --help` shows the EXAMPLES of a configuration, the words behind the verb, and where it has many settings the
USUAL ones alone.
"""

import re
from importlib import import_module
from typing import Any

VERBS = {
    "demo": "pre-train on the built-in sample, probe before and after, draw kept tokens; minutes on 2 CPU cores",
    "check-data": "what is in a folder of images: unreadable files, duplicates, balance, and a recipe for it",
    "pack": "images decoded and shrunk once, into a folder that every verb reads faster",
    "index": "the samples of shards counted once, into a file by which they are read in order, also from stores",
    "pretrain": "self-supervised pre-training on a folder of images without labels",
    "finetune": "an encoder becomes a classifier that drops redundant tokens; --drop-ratio A:B serves every ratio",
    "evaluate": "accuracy and speed of a classifier by drop ratio",
    "tune": "the reduction that costs a classifier least at a speed, measured on this machine, for --reduction",
    "predict": "the most likely classes of images, a line of JSON for each",
    "detect train": "an encoder becomes a detector that finds and cuts out objects (Mask R-CNN), on COCO-format data",
    "detect evaluate": "COCO's average precision of a detector's boxes and masks, by size and category, and its speed",
    "detect predict": "the objects in any images, as COCO's results and drawn on the pictures",
    "probe": "how good the features of an encoder are: nearest neighbours, linear and attentive probes",
    "embed": "features of images to a .npy or .parquet file, deterministic",
    "neighbours": "the images whose features are most like those of others, among stored features of any number",
    "show": "what a model keeps of images, stage by stage, as pictures and one page with sliders",
    "explore": "a page on this machine: search images by an image, see kept tokens, turn the dial, mark images",
    "diversity": "how diverse tokens are, layer by layer (Figure 3), and the paper's claims about what is dropped",
    "report": "one HTML page of a run: settings, curves, health, probes, pictures, cost",
    "compare": "methods and settings side by side: same images, budget and seeds; the paper's tables",
    "worth": "whether pre-training is worth it for some images: what can be had in so many minutes, and a verdict",
    "export": "a model for ONNX Runtime, torch.export, timm or transformers, checked against PyTorch",
    "benchmark": "speed and memory of training, reading images and inference, side by side",
    "cost": "multiply-accumulates, parameters and tokens by block of a model",
    "recipes": "the named settings that come with pcae, by verb, and what each is for",
    "doctor": "versions, devices and data sets that pcae finds here",
}
"""Every verb and what it does, in the order of `pcae --help`."""
BESIDE = {"neighbours": "embed", "worth": "compare", "explore": "show"}
"""Verbs whose settings stand in the file of another one."""


def config_of(verb: str) -> Any:
    """The settings of a verb: of `detect train`, DetectTrainConfig in detect.py."""
    words = re.split("[ -]", verb)
    module = BESIDE.get(verb, verb.partition(" ")[0].replace("-", "_"))
    return getattr(import_module(f"{__name__}.{module}"), "".join(map(str.title, words)) + "Config")
