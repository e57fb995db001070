"""The encoder among the tensors of a file: behind the names of wrappers, beside a student, a text model or a head."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

MARKS = (
    "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embedding.weight",
    "embeddings.patch_embeddings.weight",
)
"""How the name of a patch embedding ends, timm's and transformers': where one is, an encoder is."""
WRAPPERS = {"_orig_mod", "module", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of names that come from torch.compile and from training on several devices, and say nothing."""
USUAL = {"", "model", "state_dict", "model_state", "model_state_dict"}
"""What training scripts call the network itself, where a moving average stands beside it."""
OF_ENCODERS = {"pos_embed", "cls_token", "reg_token", "register_tokens", "storage_tokens", "dist_token"}
"""Tensors that change features."""
CHUNK = re.compile(r"blocks\.(\d+)\.(\d+)\.")
"""A block in a chunk of several, as DINOv2's training has them."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The encoder of a file.

    tensors: by their names inside it. root: what these began with. beside: the others, by their whole names.
    """

    tensors: dict[str, Tensor]
    root: str
    beside: dict[str, Tensor]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was taken and what was left out, in a line; none where all begins with the same."""
        if not self.beside:
            return ()
        groups = Counter(first_apart(name, self.root) for name in self.beside)
        left = ", ".join(f"{name}: {count}" for name, count in groups.items())
        other = next((f"; W#{root} takes the other" for root in roots_in(self.beside) if root), "")
        return (f"taken: {self.root.removesuffix('.') or 'what has no prefix'}; left out beside it: {left}{other}",)


def encoder_in(tensors: Mapping[str, Tensor], where: str, asked: str | None = None) -> Taken:
    """The encoder among tensors. asked: what the names of the one that is wanted begin with.

    A teacher is taken before its student, a network before its moving average. Raises ValueError, naming them, for
    several of which none is the usual one, and where there is none that is asked for.
    """
    tensors = unwrapped(tensors, where)
    roots = roots_in(tensors)
    if asked is not None:
        root = next((root for root in roots if root == without_wrappers(asked.rstrip("."))), None)
        if root is None:
            there = ", ".join(map(repr, roots)) or "none"
            raise ValueError(f"{where} holds no encoder whose names begin with {asked!r}; there are {there}")
    else:
        root = chosen(roots, where)
    start = f"{root}." if root else ""
    inside = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
    beside = {name: value for name, value in tensors.items() if not name.startswith(start)}
    check_beside(beside, roots, where)
    return Taken(tensors=unchunked(inside, where), root=root, beside=beside)


def first_apart(name: str, root: str) -> str:
    """The first part of a name that is not the root's, too."""
    pairs = zip(name.split("."), [*root.split("."), *name.split(".")], strict=False)
    return next((part for part, other in pairs if part != other), name)


def roots_in(tensors: Iterable[str]) -> list[str]:
    """What the names of each encoder begin with, without the last dot, in the order of the file."""
    ends = [(name, mark) for name in tensors for mark in MARKS if name == mark or name.endswith(f".{mark}")]
    return [name.removesuffix(mark).removesuffix(".") for name, mark in ends]


def chosen(roots: list[str], where: str) -> str:
    """The encoder that is meant where nobody says; the only one, or none at all."""
    if len(roots) < 2:
        return roots[0] if roots else ""
    words = {root: re.split(r"[._]", root) for root in roots}
    teachers = [root for root in roots if "teacher" in words[root]]
    if len(teachers) == 1 and all("student" in words[root] for root in roots if root not in teachers):
        return teachers[0]
    usual = [root for root in roots if root.split(".")[0] in USUAL]
    if len(usual) != 1:
        raise ValueError(
            f"{where} holds several encoders, {', '.join(roots)}; say which is wanted behind the file's name: "
            f"{where}#{roots[-1]}"
        )
    return usual[0]


def check_beside(beside: Iterable[str], roots: list[str], where: str) -> None:
    """Raise ValueError for tokens and positions beside the encoder, which would be dropped in silence."""
    others = tuple(f"{root}." for root in roots if root)
    lost = [name for name in beside if name.rpartition(".")[2] in OF_ENCODERS and not name.startswith(others)]
    if lost:
        raise ValueError(f"{where} has {lost[0]} outside its encoder: it would be dropped, and features be others")


def without_wrappers(name: str) -> str:
    """A name without the parts that say nothing."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def unwrapped(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors by such names. Raises ValueError where two get the same."""
    found = {without_wrappers(name): value for name, value in tensors.items()}
    if len(found) < len(tensors):
        twice = Counter(map(without_wrappers, tensors)).most_common(1)[0][0]
        raise ValueError(f"{where} has {twice} twice, with and without a wrapper's name; save it without one of them")
    return found


def unchunked(tensors: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors with blocks counted through, where they stand in chunks: `blocks.1.3.` is `blocks.3.`.

    Where every chunk counts from 0, they are numbered in their order.
    """
    blocks = sorted({(int(found[1]), int(found[2])) for found in map(CHUNK.match, tensors) if found})
    through = len({block for _, block in blocks}) == len(blocks)
    number = {pair: pair[1] if through else place for place, pair in enumerate(blocks)}
    named = {
        CHUNK.sub(lambda found: f"blocks.{number[int(found[1]), int(found[2])]}.", name, count=1): value
        for name, value in tensors.items()
    }
    if len(named) < len(tensors):
        raise ValueError(f"{where} has blocks in chunks and out of them; save it with one kind of names")
    return named
