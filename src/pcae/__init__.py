"""pcae: self-supervised pre-training of Vision Transformers by progressive token reduction.

Every verb of the command line is a function: `pretrain`, `finetune`, `evaluate`, `predict`, `probe`, `embed`, `export`,
`neighbours`, `show`, `compare`, `worth`, `check_data`, `pack`, `report`, `detect.train`, `detect.evaluate` and so on.
`load` opens a trained model, `reduce` makes any timm Vision Transformer faster, `open_images` lists images. Type
checkers and editors read `__init__.pyi`, which is written from the settings.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Callback": "training.callbacks",
    "Decoder": "model.decoder",
    "DecoderConfig": "settings.network",
    "Encoder": "model.encoder",
    "EncoderConfig": "settings.network",
    "MAE": "methods.mae",
    "MAEConfig": "settings.methods",
    "PCAE": "methods.pcae",
    "PCAEConfig": "settings.methods",
    "Pretrained": "model.pretrained",
    "Reduction": "model.reduction",
    "RunFacts": "training.callbacks",
    "StepRandom": "training.randomness",
    "SimMIM": "methods.simmim",
    "SimMIMConfig": "settings.methods",
    "build_encoder": "model.encoder",
    "load": "weights.files",
    "open_images": "data.images",
    "reduce": "model.reduced",
    "save": "weights.files",
}
"""Classes and functions, by the module below pcae that has them."""
_VERBS = (
    "check_data", "compare", "embed", "evaluate", "export", "finetune", "neighbours", "pack", "predict", "pretrain",
    "probe", "report", "show", "tune", "worth",
)  # fmt: skip
_MODULES = ("data", "detect", "methods")
_NAMES = sorted([*_PUBLIC, *_VERBS, *_MODULES, "__version__"])
__all__ = [*_NAMES]  # pyright: ignore[reportUnsupportedDunderAll]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"pcae.{name}")
    found = _find(name)
    globals()[name] = found
    return found


def _find(name: str) -> Any:
    """What a public name stands for. Raises AttributeError for another name."""
    if name in _PUBLIC:
        return getattr(import_module(f"pcae.{_PUBLIC[name]}"), name)
    if name == "__version__":
        return import_module("importlib.metadata").version("pcae")
    if name in _VERBS:
        return import_module("pcae.functions").function(name)
    near = [] if name.startswith("_") else import_module("difflib").get_close_matches(name, _NAMES, n=1)
    raise AttributeError(f"module 'pcae' has no attribute {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def __dir__() -> list[str]:
    return _NAMES
