"""The teacher of a pre-training run, out of its newest checkpoint."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pcae.model.pretrained import Pretrained
from pcae.model.tokens import grid_of
from pcae.training.checkpoint import Checkpoints
from pcae.training.run_folder import config_of
from pcae.weights.files import FILE, fill, find, find_file, image_size_of, load
from pcae.weights.reading import read_safetensors

PART = "method.teacher.encoder.vit."
"""What the names of its tensors in a checkpoint begin with."""


def load_teacher(
    run: Path, device: torch.device | None = None, image_size: tuple[int, int] | None = None
) -> tuple[Pretrained, str] | None:
    """The network that made the targets of a finished pre-training run, in evaluation mode, and what it is in words.

    That is the moving average of the encoder, or the fixed teacher that the run was given. None where the method has no
    teacher and where checkpoints are gone. Raises ValueError for a damaged checkpoint and a fixed teacher that is gone.
    """
    loaded = find_file(run / FILE)
    fixed = config_of(run).get("teacher")
    if isinstance(fixed, str):
        size, (side, _) = image_size or loaded.facts.encoder.image_size, image_size_of(loaded, (1, 1))
        grid = grid_of(size, (side, side))
        return load(fixed, device, image_size_of(find(fixed), grid)), f"the run's fixed teacher {fixed}"
    newest = Checkpoints(run / "checkpoints", keep=1).last()
    tensors = teacher_tensors(newest) if newest else {}
    if not tensors:
        return None
    model, _ = fill(replace(loaded, tensors=tensors, decoder=None), device, image_size)
    return model, f"the run's moving-average teacher, out of {newest}"


def teacher_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """The teacher's tensors under timm's names, on the CPU, and nothing else of the file; none where there is none."""
    return read_safetensors(checkpoint, PART)[0]
