"""Finding and cutting out objects, from Python: `train`, `evaluate` and `predict`, as `pcae detect` has them."""

from pcae.functions import function

__all__ = ["evaluate", "predict", "train"]

train, evaluate, predict = (function(f"detect.{verb}") for verb in ("train", "evaluate", "predict"))
