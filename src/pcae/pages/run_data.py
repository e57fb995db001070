"""What a run folder says of its run, finished or not: settings, state, numbers, cost."""

from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pcae.data.images import Images, open_images, with_held_out
from pcae.evaluation.cost import inference_cost, pretraining_cost
from pcae.evaluation.estimates import in_percent
from pcae.evaluation.run_metrics import Metrics, read_curves, whole_json
from pcae.settings.choices import Split
from pcae.settings.network import EncoderConfig
from pcae.settings.values import build, check_values
from pcae.settings.verbs import detect, finetune
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.tasks.dial import grid, parse_drop_ratio
from pcae.training.checkpoint import Checkpoints, read_header
from pcae.training.plan import make_plan
from pcae.training.run_folder import BAD_FILES, BEST, config_of
from pcae.weights.files import CLASSIFIER_FILE, find
from pcae.weights.timm_models import START

CONFIGS = {"pretrain": PretrainConfig, "detect train": DetectTrainConfig, "finetune": FinetuneConfig}
USUAL_EPOCHS = {"finetune": finetune.USUAL_EPOCHS, "detect train": detect.USUAL_EPOCHS}
CLASSIFIERS = (CLASSIFIER_FILE, BEST)
"""Where a fine-tuning run says what its network is: at its end, and before."""
LIVE = ("loss", "learning_rate", "grad_norm", "skipped", "images_per_second", "data_wait_share")
"""Numbers of a step that stand for a run whose summary is not there yet."""
HELD_OUT = ("top1", "top5", "balanced_accuracy", "map")
BEST_BY = ("top1", "map")
"""The same for a classifier; and by which of them the best weights are chosen."""
DETECTED = ("mask_ap", "mask_ap50", "box_ap", "box_ap50")
"""The same for a detector."""
MOST_CLASSES = 50
"""Classes that a page names, the worst ones."""


@dataclass(frozen=True)
class RunData:
    """A run folder, read.

    verb: what made it. config: what of its settings this version knows, odd: the others. summary: None for a run that
    is not finished. header: that of the newest checkpoint.
    """

    folder: Path
    verb: str
    config: Any
    odd: dict[str, Any]
    metrics: Metrics
    summary: dict[str, Any] | None
    header: dict[str, Any]
    bad_files: list[dict[str, Any]]

    @property
    def step(self) -> int:
        """Optimizer steps that are known to be done."""
        return max(self.metrics.step, self.header.get("step", 0), (self.summary or {}).get("steps", 0))

    @property
    def facts(self) -> dict[str, Any]:
        """What a classifier's file says of itself; nothing where there is none."""
        headers = (header_of(self.folder / name) for name in CLASSIFIERS)
        return next((header for header in headers if header), {}) if self.verb == "finetune" else {}


def read_run(folder: Path) -> RunData:
    """Read a run folder. Raises ValueError when it is none."""
    values = config_of(folder)
    verb = verb_of(values)
    if verb is None:
        what = "no config.yaml of a run" if (folder / "config.yaml").is_file() else "no config.yaml"
        raise ValueError(
            f"{str(folder)!r} is no run folder: it has {what}; give the --out of a pretrain, finetune or detect train"
        )
    config, odd = known(CONFIGS[verb], values)
    checkpoint = Checkpoints(folder / "checkpoints", 1).last()
    return RunData(
        folder=folder,
        verb=verb,
        config=config,
        odd=odd,
        metrics=read_curves(folder / "metrics.jsonl"),
        summary=whole_json(text_of(folder / "summary.json")),
        header=header_of(checkpoint) if checkpoint else {},
        bad_files=named_files(folder / BAD_FILES),
    )


def verb_of(values: dict[str, Any]) -> str | None:
    """The verb whose settings these are."""
    marks = {"pretrain": "mask_ratio", "detect train": "pyramid", "finetune": "drop_ratio"}
    return next((verb for verb, mark in marks.items() if {mark, "data"} <= values.keys()), None)


def known(cls: type, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A configuration with those values that it can have, and the others: another version wrote them."""
    taken, odd = {}, {}
    for name, value in values.items():
        try:
            taken |= check_values(cls, {name: value}, "config.yaml")
        except ValueError:
            odd[str(name)] = value
    return build(cls, taken), odd


def header_of(path: Path) -> dict[str, Any]:
    """What a file of ours says of itself; nothing where it is not there or not whole."""
    try:
        return read_header(path)
    except ValueError:
        return {}


def named_files(path: Path) -> list[dict[str, Any]]:
    """The files that could not be read, each with its reason."""
    return [row for line in text_of(path).splitlines() if (row := whole_json(line))]


def text_of(path: Path) -> str:
    """What a text file holds; nothing where it is not there."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def steps_of(run: RunData) -> int | None:
    """Steps that the run is to make; None where nobody says, because its data are gone before its first checkpoint."""
    if run.summary:
        return run.summary.get("steps")
    images = run.header.get("settings", {}).get("images")
    try:
        if not images and not run.config.run.steps:
            images = len(images_of(run, "train"))
        usual = {"usual_epochs": USUAL_EPOCHS[run.verb]} if run.verb in USUAL_EPOCHS else {}
        return make_plan(run.config.run, run.config.optimizer, images or 1, 1, **usual).steps
    except ValueError:
        return None


def images_of(run: RunData, split: Split = "test") -> Images:
    """The images of the run's own data, those for training or the held-out ones. Raises ValueError where they are not
    there, and for a detector's."""
    config = run.config
    if run.verb == "detect train":
        raise ValueError("pcae detect predict draws what the detector finds")
    other = getattr(config, "validation", None) if split == "test" else None
    data = other or (with_held_out(config.data) if split == "test" else config.data)
    network = config.encoder if run.verb == "pretrain" else config.network
    channels = run.facts.get("encoder", {}).get("channels") or network.channels
    reading, bands = config.reading, run.facts.get("bands") or config.reading.bands
    return open_images(data, split, channels, reading.pixel_range, reading.stream, bands)


def numbers_of(run: RunData) -> dict[str, Any]:
    """The main numbers: those of the summary, before there is one those of the last step that was written down."""
    if run.summary is not None:
        return {name: value for name, value in run.summary.items() if name not in {"weights", "source", "warnings"}}
    last = run.metrics.last()
    numbers = {name: last[name] for name in (*LIVE, *HELD_OUT, *DETECTED) if name in last}
    numbers |= {f"best_{name}": run.metrics.curves[name].highest for name in BEST_BY if name in run.metrics.curves}
    seconds = {"seconds": run.header["seconds"]} if "seconds" in run.header else {}
    return numbers | seconds | {"bad_files": len(run.bad_files)}


def last_written(run: RunData) -> str | None:
    """When the last number was written, here."""
    path = run.folder / "metrics.jsonl"
    if not path.is_file():
        return None
    return datetime.fromtimestamp(path.stat().st_mtime).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def versions_of(run: RunData) -> dict[str, str]:
    """Versions that are known: torch's of the run, and of what reads it now."""
    trained = {"torch, of the run": run.header["torch"]} if "torch" in run.header else {}
    return trained | {"pcae, of this report": version("pcae")}


def cost_of(run: RunData) -> dict[str, Any]:
    """What `pcae cost` says of the run: a training image, or classifying one by drop ratio. Raises ValueError."""
    if run.verb == "detect train":
        raise ValueError("the cost of a detector, which depends on the images, is not counted here")
    return cost_of_training(run) if run.verb == "pretrain" else cost_of_classifying(run)


def cost_of_training(run: RunData) -> dict[str, Any]:
    """One training image, and all that were trained on so far, in 10^15 multiply-accumulates."""
    config = run.config
    if str(config.teacher).startswith(START):
        raise ValueError(f"the cost of a run with the fixed teacher {config.teacher} is not counted here")
    teacher = find(config.teacher).facts.encoder if config.teacher else None
    cost = pretraining_cost(config.encoder, config.method, config.decoder, teacher)
    return cost | {"run_petamacs": cost["training_gmacs"] * run.step * config.run.batch_size / 1e6}


def cost_of_classifying(run: RunData) -> dict[str, Any]:
    """One image by drop ratio, up to the highest one that was trained."""
    encoder = network_of(run)
    classes = len(run.facts.get("classes") or ()) or None
    ratios = grid(0.0, parse_drop_ratio(run.config.task.drop_ratio)[1])
    return {"model": encoder.model, "by_drop_ratio": [inference_cost(encoder, ratio, classes) for ratio in ratios]}


def network_of(run: RunData) -> EncoderConfig:
    """The network of a fine-tuning run. Raises ValueError before the run has written what it is."""
    if "encoder" not in run.facts and run.config.weights is not None:
        raise ValueError(f"the network is that of {run.config.weights}; it is known here once weights are written")
    try:
        return TypeAdapter(EncoderConfig).validate_python(
            run.facts.get("encoder", asdict(run.config.network.encoder()))
        )
    except ValidationError as error:
        raise ValueError(f"the classifier in {str(run.folder)!r} was written by another version") from error


def classes_of(run: RunData) -> list[dict[str, Any]]:
    """What a finished classifier makes of each class of the held-out images, worst first."""
    found = (run.summary or {}).get("by_class") or {}
    rows = [
        {"name": name, "share": said.get("recall", said.get("average_precision")), **said}
        for name, said in found.items()
    ]
    return [
        {"name": row["name"], "images": row["images"], "share": in_percent(row["share"], row.get("interval"))}
        for row in sorted(rows, key=lambda row: row["share"])[:MOST_CLASSES]
    ]
