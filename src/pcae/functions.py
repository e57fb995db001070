"""Every verb as a function of Python: what it takes and returns. Its work, and torch, are imported when called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from pcae.settings.arguments import check_complete, prepared, settings_from
from pcae.settings.signatures import doc_of, in_python, signature_of
from pcae.settings.training import RunSettings
from pcae.settings.values import leaves
from pcae.settings.verbs import config_of


@dataclass(frozen=True)
class Function:
    """A verb in Python. verb: its words on the command line. work: the module below pcae and the function that does it,
    by its settings, or for training verbs by name. returns: the type of what comes of it, and `says` what that is.

    first: the arguments that need no name. optional: settings that only the command line needs. more: arguments that
    are no settings, by name with their type, and what each is. module: of the type that is returned.
    """

    verb: str
    work: tuple[str, str]
    returns: str
    says: str
    first: tuple[str, ...] = ("data",)
    optional: tuple[str, ...] = ()
    more: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def config(self) -> Any:
        """The class of its settings."""
        return config_of(self.verb)

    def types(self) -> dict[str, str]:
        """The types of the arguments that are no settings."""
        return {name: kind for name, (kind, _) in self.more.items()}

    def sentences(self) -> dict[str, str]:
        """What the arguments that are no settings are."""
        return {name: said for name, (_, said) in self.more.items()}


SUMMARY = "Returns the summary of the run, a dict: weights, figures, seconds; it prints as a table."
CALLBACKS = {"callbacks": ("Sequence[object]", "Objects with methods of `pcae.Callback`, which hear of the run.")}
FUNCTIONS = {
    "pretrain": Function(
        "pretrain", ("runs.pretraining", "pretrain"), "RunSummary", SUMMARY, ("data", "out"), more=CALLBACKS
    ),
    "finetune": Function(
        "finetune", ("runs.finetuning", "finetune"), "RunSummary", SUMMARY, ("data", "out"), more=CALLBACKS
    ),
    "evaluate": Function(
        "evaluate",
        ("inference.evaluate", "evaluate_classifier"),
        "Evaluated",
        "Returns accuracy, cost and speed, a row for each drop ratio (`.rows`, `.to_pandas()`).",
    ),
    "predict": Function(
        "predict",
        ("inference.predict", "predict_images"),
        "Predictions",
        "Returns the likely classes of every image (`.rows`, `.to_pandas()`), written to `out` too where it is given.",
    ),
    "probe": Function(
        "probe",
        ("inference.probe", "probe_features"),
        "ProbeResults",
        "Returns the accuracies, a row for each probe (`.probes`, `.to_pandas()`).",
    ),
    "embed": Function(
        "embed",
        ("inference.embed", "embed_in_memory"),
        "Embeddings",
        "Returns the features (`.features`, `.names`, `.to_pandas()`), written to `out` too where it is given. "
        'embed(model, images, how="mean") returns the pooled features of open images as one tensor.',
        optional=("out",),
    ),
    "neighbours": Function(
        "neighbours",
        ("inference.neighbours", "find_neighbours"),
        "Neighbours",
        "Returns the images most like each query (`.rows`, `.to_pandas()`), written to `out` too where it is given.",
        ("features", "data"),
    ),
    "export": Function(
        "export",
        ("inference.export", "export_model"),
        "Exported",
        "Returns what was written and how the check came out (`.check`).",
        ("weights",),
    ),
    "tune": Function(
        "tune",
        ("benchmarking.tune", "tune"),
        "Tuned",
        "Returns the reduction that was found (`.chosen`) and what was tried (`.tried`, `.to_pandas()`).",
    ),
    "show": Function(
        "show",
        ("inference.show", "show_kept"),
        "Shown",
        "Returns what was written and what was kept of each image (`.images`, `.to_pandas()`).",
    ),
    "compare": Function(
        "compare",
        ("comparison.compare", "compare_rows"),
        "Compared",
        "Returns the table (`.rows`, `.to_pandas()`); why rows failed stands in them.",
    ),
    "worth": Function(
        "worth",
        ("comparison.worth.worth", "worth"),
        "Worth",
        "Returns the verdict (`.verdict`) and the table (`.rows`, `.to_pandas()`), and where the page is (`.page`).",
    ),
    "check_data": Function(
        "check-data",
        ("pages.check_data", "check_data"),
        "DataReport",
        "Returns the report, a dict: counts, faults, remarks, a suggestion; it prints as tables.",
    ),
    "pack": Function(
        "pack",
        ("sharing.packing", "pack_images"),
        "Packed",
        "Returns what stands in the folder, a dict; it prints as a table of its splits.",
        ("data", "out"),
    ),
    "report": Function(
        "report",
        ("pages.run_page", "report_run"),
        "RunReport",
        "Returns what the page says and where it is, a dict.",
        ("run",),
    ),
    "detect.train": Function(
        "detect train", ("runs.detection", "train_detector"), "RunSummary", SUMMARY, ("data", "out"), more=CALLBACKS
    ),
    "detect.evaluate": Function(
        "detect evaluate",
        ("inference.evaluate_detector", "evaluate_detector"),
        "DetectorFigures",
        "Returns COCO's figures, a dict of shares, not percent; it prints as tables.",
    ),
    "detect.predict": Function(
        "detect predict",
        ("inference.detect_objects", "detect_objects"),
        "Detected",
        "Returns the images and the objects in them (`.images`, `.results`, `.to_pandas()`).",
    ),
}
"""Every verb that is a function, by its name below `pcae`."""
RESULTS = {
    "Tuned": "benchmarking.tuned",
    "Packed": "sharing.packing",
    "RunReport": "pages.run_page",
    "RunSummary": "results",
    "Evaluated": "inference.evaluated",
    "Predictions": "inference.predict",
    "ProbeResults": "inference.probe",
    "Embeddings": "inference.embed",
    "Neighbours": "inference.neighbours",
    "Exported": "inference.exported",
    "Shown": "inference.show",
    "Compared": "comparison.compare",
    "Worth": "comparison.worth.result",
    "DataReport": "pages.data_report",
    "DetectorFigures": "inference.evaluate_detector",
    "Detected": "inference.detect_objects",
}
"""Where the types that are returned stand."""


@cache
def function(name: str) -> Callable[..., Any]:
    """A verb as a function, with the signature and the help that its settings have."""
    told = FUNCTIONS[name]

    def call(*values: Any, **named: Any) -> Any:
        try:
            return run(told, name, arguments(told, name, values, named))
        except ValueError as error:
            if error.args and isinstance(error.args[0], str):
                error.args = (in_python(error.args[0], leaves(told.config)), *error.args[1:])
            raise

    def embed(*values: Any, **named: Any) -> Any:
        of_model = "weights" not in named and len(values) + len({"model", "images"} & named.keys()) > 1
        return work_of(("evaluation.features", "embed"))(*values, **named) if of_model else call(*values, **named)

    made = embed if name == "embed" else call
    made.__name__ = made.__qualname__ = name.rpartition(".")[2]
    made.__module__ = "pcae.detect" if "." in name else "pcae"
    signature = signature_of(told.config, told.verb, told.first, told.types(), told.optional, told.returns)
    setattr(made, "__signature__", signature)  # noqa: B010 (a type checker knows no such attribute)
    made.__doc__ = doc_of(told.config, signature.parameters, told.sentences(), told.says)
    return made


def arguments(told: Function, name: str, values: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name. Raises ValueError for too many without one, or the same one twice."""
    if len(values) > len(told.first):
        known = " and ".join(told.first)
        raise ValueError(f"{name} takes {known} without a name, got {len(values)} values; give the others by name")
    given = dict(zip(told.first, values, strict=False))
    twice = given.keys() & named.keys()
    if twice:
        raise ValueError(f"{name} was given {', '.join(sorted(twice))} twice; give it once")
    return given | named


def run(told: Function, name: str, given: dict[str, Any]) -> Any:
    """Do what a verb does."""
    beside = {key: value for key, value in given.items() if key in told.more and value is not None}
    own = {key: value for key, value in given.items() if key not in told.more}
    if issubclass(told.config, RunSettings):
        check_complete(told.config, name, own)
        return work_of(told.work)(**prepared(told.config, told.verb, own), **beside)
    return work_of(told.work)(settings_from(told.config, told.verb, own, told.optional), **beside)


def work_of(place: tuple[str, str]) -> Callable[..., Any]:
    """The function that does the work of a verb."""
    module, name = place
    return getattr(import_module(f"pcae.{module}"), name)
