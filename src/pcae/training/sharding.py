"""Weights, gradients and the optimizer's state split over the processes, by torch's fully_shard."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

BLOCKS = "blocks"
"""What timm's Vision Transformers and our decoder call their transformer blocks."""


def shard(method: nn.Module, device: torch.device) -> nn.Module:
    """Split a method's weights, in place, over all processes; returns a copy without weights, for `materialise`.

    Each transformer block is gathered for itself while it computes, all else while the method does. Gradients are
    exchanged after every micro-batch, so that they stay split too. Matrix products have their precision from autocast
    as ever, not from fully_shard's own policy: the numbers are those of a run that is not split. It costs two bytes a
    weight, for autocast keeps the bf16 copies until the forward pass is over. Tested on CPUs with gloo; it has not run
    on CUDA yet.
    """
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard  # a second for every command, if it stood above

    meta_copy = without_weights(method)
    mesh = DeviceMesh.from_group(cast(distributed.ProcessGroup, distributed.group.WORLD), device.type)
    for block in blocks_of(method):
        fully_shard(block, mesh=mesh)
    fully_shard(method, mesh=mesh)
    assert all(is_split(parameter) for parameter in method.parameters())
    return meta_copy


def blocks_of(method: nn.Module) -> list[nn.Module]:
    """The transformer blocks of all networks that a method is made of."""
    lists = [part for name, part in method.named_modules() if name.rpartition(".")[2] == BLOCKS]
    return [block for blocks in lists for block in blocks.children()]


def without_weights(method: nn.Module) -> nn.Module:
    """A copy whose parameters take no memory."""
    empty = {id(one): nn.Parameter(one.detach().to("meta"), one.requires_grad) for one in method.parameters()}
    return copy.deepcopy(method, empty)


def materialise(meta_copy: nn.Module, method: nn.Module) -> nn.Module:
    """A copy of a split method with all of its weights, in the same mode. Every process calls it.

    What is done with it waits for no other process: the copy is a plain one.
    """
    there = copy.deepcopy(meta_copy)
    there.load_state_dict(dict(gathered(method.state_dict())), assign=True)
    return there.to(next(method.parameters()).device).train(method.training)


def gathered(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors, one whole after the other. Every process goes through all of them."""
    return ((name, whole(value)) for name, value in tensors.items())


def is_split(value: Tensor) -> bool:
    """Whether a tensor is torch's DTensor."""
    return hasattr(value, "full_tensor")


def whole(value: Any) -> Tensor:
    """All of a tensor that is split, where every process calls it; any other as it is."""
    return value.full_tensor() if is_split(value) else value


def local(value: Any) -> Tensor:
    """This process's share of a tensor that is split, in the same memory; any other as it is."""
    return value.to_local() if is_split(value) else value


def split_like(value: Tensor, pattern: Any) -> Tensor:
    """A whole tensor that every process has, split as a pattern of its shape is; as it is where that one is whole."""
    if not is_split(pattern) or value.shape != pattern.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, pattern.device_mesh, pattern.placements, src_data_rank=None)
