"""Weights for images of other channels or bands: which one takes which kernel of the patch embedding."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pcae.data.files.eight_bits import MODES, Bands
from pcae.data.images import channels_of
from pcae.weights.loaded import EMBEDDING, Loaded


def with_bands(loaded: Loaded, kernels: Sequence[int | None], bands: Bands | None = None) -> Loaded:
    """The weights for as many channels as `kernels` has: channel i takes the kernel of the weights' channel kernels[i].

    kernels: channels of the weights, from 0; None for a new one, which begins with the mean of all kernels. bands:
    which of a file's the channels are, from 1. Mean and std of the pixels go with the kernels. Nothing is scaled. A
    decoder, which is for the old channels, is left out where it predicts pixels of them. Raises ValueError for a
    channel that the weights do not have.
    """
    if EMBEDDING not in loaded.tensors:
        raise ValueError(f"{loaded.source} has no {EMBEDDING}, whose kernels other channels would take; leave them out")
    theirs = loaded.tensors[EMBEDDING]
    odd = [kernel for kernel in kernels if kernel is not None and not 0 <= kernel < theirs.shape[1]]
    if odd or not kernels:
        raise ValueError(
            f"{loaded.source} has kernels for channels 1 to {theirs.shape[1]}, not {odd[0] + 1 if odd else 'none'}"
        )
    taken = [theirs.mean(dim=1) if kernel is None else theirs[:, kernel] for kernel in kernels]
    facts = replace(
        loaded.facts,
        encoder=replace(loaded.facts.encoder, channels=len(kernels)),
        mean=of_channels(loaded.facts.mean, kernels),
        std=of_channels(loaded.facts.std, kernels),
        bands=bands if bands else loaded.facts.bands,
    )
    changed = list(kernels) != list(range(theirs.shape[1]))
    of_pixels = changed and loaded.decoder is not None and loaded.decoder.facts.predicts == "pixels"
    lost = ("decoder left out: it predicts pixels of other channels",) if of_pixels else ()
    return replace(
        loaded,
        tensors=loaded.tensors | {EMBEDDING: torch.stack(taken, dim=1)},
        facts=facts,
        decoder=None if of_pixels else loaded.decoder,
        remarks=(*loaded.remarks, in_words(kernels, theirs, bands), *lost),
    )


def of_channels(values: Sequence[float], kernels: Sequence[int | None]) -> list[float]:
    """Each channel's own value, and the mean of all for a new one."""
    return [sum(values) / len(values) if kernel is None else values[kernel] for kernel in kernels]


def in_words(kernels: Sequence[int | None], theirs: Tensor, bands: Bands | None) -> str:
    """Which channel or band takes which kernel, all from 1."""
    said = [
        f"{place} {'is new' if kernel is None else f'takes kernel {kernel + 1}'}"
        for place, kernel in zip(bands or range(1, len(kernels) + 1), kernels, strict=True)
    ]
    new = f"; new ones begin at the mean of the {theirs.shape[1]}" if None in kernels else ""
    return f"{'bands' if bands else 'channels'}: {', '.join(said)}{new}"


def for_channels(loaded: Loaded, channels: int | None) -> Loaded:
    """The weights for so many channels: their own first, then new ones. Raises ValueError for fewer and gray ones."""
    theirs = loaded.facts.encoder.channels or 3
    if channels in (None, theirs):
        return loaded
    if channels < theirs or theirs < 3:
        raise ValueError(
            f"channels {channels} is asked for, but {loaded.source} takes {theirs}; leave --channels out: gray and "
            "colour images are read for each other"
        )
    return with_bands(loaded, [*range(theirs), *[None] * (channels - theirs)])


def for_bands(loaded: Loaded, channels: int | None, bands: Bands | None) -> Loaded:
    """The weights for images of which these bands are read; without any, for so many channels.

    Weights that know their own bands are matched by number, others in order: 4 3 2 9 give red, green and blue to the
    bands 4, 3 and 2. One band is gray to weights of three. Raises ValueError for too few bands.
    """
    channels_of(channels, bands)
    if bands is None:
        return for_channels(loaded, channels)
    theirs, known = loaded.facts.encoder.channels or 3, loaded.facts.bands
    if known is None and {len(bands), theirs} == MODES.keys():
        said = f"bands: {' '.join(map(str, bands))}, read as {'gray' if theirs == 1 else 'gray in three channels'}"
        return replace(loaded, facts=replace(loaded.facts, bands=bands), remarks=(*loaded.remarks, said))
    if known is None and len(bands) < theirs:
        raise ValueError(
            f"{len(bands)} bands are asked for, but {loaded.source} takes {theirs}; name as many or more, one of them "
            "twice if need be"
        )
    kernels = [place if place < theirs else None for place in range(len(bands))]
    if known is not None:
        kernels = [known.index(band) if band in known else None for band in bands]
    return with_bands(loaded, kernels, bands)
