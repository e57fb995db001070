"""Which trackers a run has, by the words of `--log-to`."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from pcae.settings.choices import TrackerName
from pcae.training.callbacks import Tracker
from pcae.training.trackers.csv_file import CsvFile
from pcae.training.trackers.mlflow_store import MlflowStore
from pcae.training.trackers.tensorboard import TensorBoard
from pcae.training.trackers.weights_and_biases import WeightsAndBiases

TRACKERS: dict[TrackerName, Callable[[], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MlflowStore,
    "csv": CsvFile,
}
EXTRAS = ("wandb", "mlflow")
"""Those whose client is an extra of the same name."""


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Raise ValueError, with the remedy, for trackers that are not installed, named twice, or beside `none`."""
    if len(set(names)) != len(names):
        raise ValueError(f"log_to names a tracker twice: {' '.join(names)}")
    if "none" in names and len(names) > 1:
        raise ValueError(f"log_to none leaves no others, got {' '.join(names)}")
    for name in names:
        if name in EXTRAS and not is_installed(name):
            raise ValueError(f"log_to {name} needs its client, which is not installed: pip install 'pcae[{name}]'")


def is_installed(name: str) -> bool:
    """Whether a client is there; a folder of its name, such as W&B leaves where it ran, is none."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def open_trackers(names: Sequence[TrackerName]) -> dict[str, Tracker]:
    """The trackers by name; each opens what it writes to when the run starts."""
    return {name: TRACKERS[name]() for name in names if name != "none"}
