"""What a place of weights holds: tensors in timm's names, and all that is needed to use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pcae.model.pretrained import PretrainedFacts, TrainedDecoder
from pcae.model.tokens import Grid, grid_of
from pcae.settings.network import EncoderConfig

EMBEDDING = "patch_embed.proj.weight"
"""The tensor that every Vision Transformer has: its patch embedding."""

SEVERAL = "multi_label_classification"
"""What config.json says, as `problem_type`, of a classifier of images that show any number of classes."""
OTHERS = {
    "lora_": "it holds an adapter alone; have peft merge it with its network",
    "embeddings.": "transformers' names are read in their folder, with its config.json",
    "visual.conv1.": "OpenCLIP's names are not read; give the same network as timm:NAME or a folder of transformers'",
    "patch_embed.projection.": "OpenMMLab's names are not read; give the same network as timm:NAME",
    "embeds.proj.": "NaFlexVit's tensors do not say what it computes; give timm:NAME, or a file that pcae.save wrote",
    "conv_proj.": "torchvision's names are not read; give the same network as timm:NAME",
    "_flat_param": "it is a part of what FSDP saved; save a full state_dict",
}
"""Parts of the names in files whose encoders are not found, and what helps."""


NAFLEX = "embeds.pos_embed"
"""The table of positions of timm's NaFlexVit, 1 x rows x columns x width."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network as its tensors have it, in timm's names; nothing is known of its images.

    global_pool: timm's name of its pooling. remarks: what was read off. granted: what the tensors do not say.
    """

    tensors: dict[str, Tensor]
    encoder: EncoderConfig
    global_pool: str = ""
    remarks: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Weights as they were read, in no model yet.

    tensors: in timm's names, on the CPU. facts: the model that they are of. source: where they come from, in words.
    remarks: what the weights did not say themselves and was taken for granted, and why a decoder was left out.
    decoder: the one that the encoder was trained with, where it can be read.
    """

    tensors: dict[str, Tensor]
    facts: PretrainedFacts
    source: str
    remarks: tuple[str, ...] = ()
    decoder: TrainedDecoder | None = None

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches that the positions are of."""
        if NAFLEX in self.tensors:
            rows, columns = self.tensors[NAFLEX].shape[1:3]
            return rows, columns
        if f"{NAFLEX}_y" in self.tensors:
            return self.tensors[f"{NAFLEX}_y"].shape[1], self.tensors[f"{NAFLEX}_x"].shape[1]
        height, width = self.tensors[EMBEDDING].shape[-2:]
        return grid_of(self.facts.encoder.image_size, (height, width))


def class_names(tensors: Mapping[str, Tensor], names: Mapping[str, Any] | None = None) -> list[str] | None:
    """Names of the classes of a linear classifier, if there is one; numbers where `names`, by number, lacks them."""
    if "head.weight" not in tensors:
        return None
    return [str((names or {}).get(str(index), index)) for index in range(len(tensors["head.weight"]))]


def count_blocks(tensors: Mapping[str, Tensor]) -> int:
    """Number of transformer blocks that tensors in timm's names are of."""
    return len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})


def check_embedding(tensors: dict[str, Tensor], where: str) -> None:
    """Raise ValueError when there is no patch embedding of square patches: these are other weights."""
    if EMBEDDING not in tensors:
        said = next((f"; {what}" for mark, what in OTHERS.items() if any(mark in name for name in tensors)), "")
        raise ValueError(
            f"{where} holds no encoder: no {EMBEDDING} among {', '.join([*tensors][:3]) or 'no tensors'}{said}"
        )
    shape = tuple(tensors[EMBEDDING].shape)
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"{where} holds no encoder of square patches: {EMBEDDING} is {shape}")
