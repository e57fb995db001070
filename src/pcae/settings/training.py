"""What every training verb is told, and which of it decides the result."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcae.settings.bounds import AnyData
from pcae.settings.reading import DataConfig
from pcae.settings.run import OptimizerConfig, RunConfig

RUNTIME_SETTINGS = {
    "data", "out", "recipe", "config", "resume", "json", "device", "accumulation", "workers", "max_bad_files",
    "checkpoint_every", "keep_checkpoints", "log_every", "mean", "std", "validation", "evaluate_every",
    "dry_run", "compile", "grad_checkpointing", "fully_shard", "health_every", "knn_data", "knn_every",
    "roll_back_after", "most_roll_backs", "images", "validation_images", "log_to",
}  # fmt: skip
"""Settings that may change when a run goes on: how it is run, not what. A run knows its images by their names below
DATA, and mean and std are kept beside the settings."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every training verb is told."""

    data: AnyData
    """Folder, .txt or .csv list, WebDataset shards (a folder, a .tar or 'shard-{000..099}.tar') or their index (.json,
    also at an address), `hf:NAME`, `sample` or `fashion-mnist`."""
    out: Path
    """Run folder; a run that stands there already goes on."""
    recipe: str | None = None
    """Named settings that the package ships, which `pcae recipes` lists; auto picks one that suits."""
    config: Path | None = None
    """YAML file of `name: value` lines, named as the flags are."""
    resume: str = "auto"
    """auto: go on from the folder's newest checkpoint. never: refuse a folder with a run. PATH: that checkpoint."""
    json: bool = False
    """Print the summary as JSON."""
    reading: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig = RunConfig()

    packs = True
    """Whether `pcae pack` makes data that the verb takes."""

    @staticmethod
    def applicable(recipe: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
        """What of a recipe goes with what was chosen over it."""
        return recipe
