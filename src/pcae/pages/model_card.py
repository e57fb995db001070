"""The model card of an export, README.md for the Hugging Face Hub: method, figures, how to load it; data by counts"""

from importlib import resources
from importlib.metadata import version
from typing import Any

import jinja2
import yaml

from pcae.model.pretrained import Pretrained
from pcae.pages.run_data import RunData, numbers_of, read_run
from pcae.pages.run_page import value_of
from pcae.settings.choices import ExportFormat
from pcae.settings.values import expand
from pcae.weights import hub, timm_models
from pcae.weights.files import CLASSIFIER_FILE, FILE

CARD = "README.md"
LIBRARIES: dict[ExportFormat, str] = {"timm": "timm", "hf": "transformers"}
"""The library that reads a folder, by its format; other exports have no card."""
ON_TIMM = """import timm

model = timm.create_model("hf-hub:OWNER/NAME", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))"""
ON_TRANSFORMERS = """import transformers

processor = transformers.AutoImageProcessor.from_pretrained("OWNER/NAME")
model = transformers.{call}"""
CALLS = {
    True: 'ViTForImageClassification.from_pretrained("OWNER/NAME")',
    False: 'ViTModel.from_pretrained("OWNER/NAME", add_pooling_layer=False)',
}
METHODS = {
    "pcae": "PCAE (masked feature prediction; its teacher drops redundant tokens)",
    "mae": "MAE (masked pixel prediction)",
    "mae-discard": "MAE with a part of its targets discarded (masked pixel prediction)",
    "simmim": "SimMIM (masked pixel prediction, mask tokens in the encoder)",
    "pcae-simmim": "PCAE with SimMIM's mask tokens in the encoder (masked feature prediction)",
}
"""The methods of pre-training, in words."""
OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon for matrices, AdamW for the rest"}
FIGURES = {
    "top1": "accuracy on held-out images",
    "top5": "right class among the first five",
    "balanced_accuracy": "mean over classes of the share that is right",
    "map": "mean average precision of classes, each by itself there or not",
    "knn": "accuracy of 20 nearest neighbours on held-out images",
    "held_out": "held-out images",
    "images": "training images",
    "epochs": "epochs",
    "loss": "training loss at the last step",
}
"""Numbers of a run's summary that say something of its model, in words."""


def model_card(model: Pretrained, to: ExportFormat, name: str, weights: str) -> dict[str, str]:
    """The card by its file name, for a folder of that name; nothing for formats without one.

    weights: where the model comes from. Of a run folder come method and figures. Neither paths, nor names of files,
    images or classes stand in it.
    """
    if to not in LIBRARIES:
        return {}
    text = (resources.files("pcae.pages") / "model-card.md").read_text(encoding="utf-8")
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True).from_string(text)
    run = run_of(weights)
    card = template.render(
        front=yaml.safe_dump(front_matter(model, to), sort_keys=False).strip(),
        name=name,
        what=origin(model, run, weights),
        model=described(model, run),
        figures=figures_of(run) if run else [],
        at=measured_at(run) if run else "",
        code=code_for(model, to),
        version=version("pcae"),
    )
    return {CARD: card}


def run_of(weights: str) -> RunData | None:
    """The finished run whose model the weights are."""
    place = expand(weights)
    folder = place.parent if place.name in (FILE, CLASSIFIER_FILE) else place
    try:
        run = read_run(folder)
    except ValueError:
        return None
    return run if run.summary is not None else None


def front_matter(model: Pretrained, to: ExportFormat) -> dict[str, Any]:
    """What the Hub sorts models by."""
    task = "image-feature-extraction" if model.facts.classes is None else "image-classification"
    return {
        "library_name": LIBRARIES[to],
        "pipeline_tag": task,
        "tags": [task, LIBRARIES[to], "pcae", "vision-transformer"],
    }


def origin(model: Pretrained, run: RunData | None, weights: str) -> str:
    """What the model is, in a sentence."""
    kind = "A Vision Transformer" if model.facts.classes is None else "An image classifier, a Vision Transformer,"
    if run is None:
        named = weights if weights.startswith((hub.START, timm_models.START)) and "local-dir" not in weights else ""
        return f"{kind} {f'converted from {named}' if named else 'of weights that do not say how they were trained'}."
    images = f"{numbers_of(run)['images']:,} images"
    if run.verb == "pretrain":
        return f"{kind} pre-trained on {images} without labels by {METHODS[run.config.method.method]}."
    begun = "random" if run.config.weights is None or run.config.from_scratch else "pre-trained"
    return f"{kind} fine-tuned from {begun} weights on {images} of {len(model.facts.classes or ())} classes."


def described(model: Pretrained, run: RunData | None) -> list[str]:
    """The network, and how it was trained, line by line."""
    facts, encoder = model.facts, model.encoder
    (height, width), (patch, _) = facts.encoder.image_size, encoder.patch_size
    size, channels = sum(parameter.numel() for parameter in encoder.vit.parameters()), facts.encoder.channels or 3
    lines = [
        f"{facts.encoder.model}: {encoder.depth} blocks of width {encoder.width}, {size:,} parameters",
        f"images of {height} x {width} x {channels} (height, width, channels), in patches of {patch} x {patch}",
    ]
    if run is None:
        return lines
    settings = run.config
    optimizer = OPTIMIZERS[settings.optimizer.optimizer]
    steps, images = numbers_of(run)["steps"], settings.run.batch_size
    lines.append(f"{steps:,} steps of {images:,} images, {optimizer}, seed {settings.run.seed}")
    if facts.multi_label:
        lines.append("an image may show any number of classes: the sigmoid of each logit is the probability of a class")
    if run.verb == "pretrain" and settings.method.mask_ratio is not None:
        lines.append(f"mask ratio {settings.method.mask_ratio:g}")
    if facts.drop_ratios[1]:
        low, high = facts.drop_ratios
        ratio = f"{high:g}" if low == high else f"{low:g} to {high:g}"
        lines.append(f"trained to drop a share of {ratio} of the tokens in each of three stages; as it is here, none")
    return lines


def figures_of(run: RunData) -> list[tuple[str, str]]:
    """The main numbers of a run, and what they are."""
    numbers = numbers_of(run)
    return [(what, value_of(name, numbers[name])) for name, what in FIGURES.items() if numbers.get(name) is not None]


def measured_at(run: RunData) -> str:
    """The size of the images that figures are of."""
    size = run.config.encoder.image_size if run.verb == "pretrain" else run.facts["encoder"]["image_size"]
    return f" at {size[0]} x {size[1]} pixels"


def code_for(model: Pretrained, to: ExportFormat) -> str:
    """How the library of a format loads it."""
    return ON_TIMM if to == "timm" else ON_TRANSFORMERS.replace("{call}", CALLS[model.facts.classes is not None])
