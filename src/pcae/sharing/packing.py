"""A whole packing: what is asked for, whether there is room, every split, and the header last."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import PIL

from pcae.data.files.eight_bits import MODES
from pcae.data.images import Images, open_images, with_held_out
from pcae.data.packed.chunks import Files, Jpeg, Pixels, finish_split, part_of, write_whole
from pcae.data.packed.reading import BAD_FILES, FORMAT, HEADER, read_header, sealed
from pcae.data.unreadable import BadFiles
from pcae.results import Block, Record, Table
from pcae.settings.bounds import check_bounds
from pcae.settings.choices import Split
from pcae.settings.sources import Data, has_splits, in_words
from pcae.settings.verbs.pack import PackConfig
from pcae.sharing.packing_folder import alone, begin, check_space, check_vacant, clear, is_done, written
from pcae.sharing.segments import Packing, rows_of_a_segment
from pcae.training.distributed import open_world
from pcae.writing import check_place, cleared_on_failure, replace_text

SIDE, QUALITY = 256, 90


class Packed(Record):
    """What stands in a packed folder: `out`, `bytes`, what it was packed with, and its `splits`."""

    def blocks(self) -> list[Block]:
        """A row for each split."""
        rows = [
            [name, *(f"{facts[key]:,}" for key in ("images", "bad_files"))] for name, facts in self["splits"].items()
        ]
        return [Table(f"{self['bytes'] / 1e6:.4g} MB in {self['out']}", ["split", "images", "left out"], rows)]

    def records(self) -> list[dict[str, Any]]:
        """A row for each split."""
        return [{"split": name, **facts} for name, facts in self["splits"].items()]


def pack_images(config: PackConfig) -> Packed:
    """Decode and shrink DATA once, into a folder that every verb takes as DATA; go on, or find that it is done.

    What stands there, as JSON has it. Processes share the images, and every one of them calls it. Raises ValueError for
    what cannot be packed or written, and when too many images cannot be read.
    """
    check(config)
    with open_world("cpu") as world:
        splits = world.main_first(lambda: open_splits(config))
        form = form_of(config, next(iter(splits.values())).channels)
        rows = rows_of_a_segment(max(map(len, splits.values())))
        limit = config.max_bad_files
        bad_files: dict[Split, BadFiles] = {name: BadFiles(images, limit) for name, images in splits.items()}
        packing = Packing(config.out, form, bad_files, rows, config.workers, world)
        task = world.from_main(partial(task_left, config, packing))
        if task is not None:
            pack(config, packing, task)
        return world.from_main(partial(packed_in, config.out))


def packed_in(out: Path) -> Packed:
    """What stands in a packed folder."""
    header = read_header(out)
    total = sum(size for chunks in header["files"].values() for size, _ in chunks)
    return Packed({"out": str(out), "bytes": total, **header["settings"], "splits": header["splits"]})


def task_left(config: PackConfig, packing: Packing) -> dict[str, Any] | None:
    """What is to be packed, in a folder that can take it; None where it is. Raises ValueError where that cannot be."""
    splits: dict[Split, Images] = {name: bad_files.images for name, bad_files in packing.splits.items()}
    task = describe(packing.form, splits)
    check_place(config.out, config.data)
    if is_done(config.out, task):
        return None
    check_vacant(config.out, task)
    check_space(config.out, packing.form, list(splits.values()), packing.rows)
    return task


def check(config: PackConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_bounds(config)
    for name, other in (("image_size", "jpeg"), ("quality", "pixels")):
        if getattr(config, name) is not None and config.form == other:
            raise ValueError(f"{name} is no setting of form {other}; leave --{name.replace('_', '-')} out")
    if config.side is not None and config.image_size is not None:
        raise ValueError(f"give side or image_size, not both; got {config.side} and {config.image_size}")


def form_of(config: PackConfig, channels: int) -> Pixels | Jpeg:
    """The form that is asked for, with its defaults. Raises ValueError for channels that JPEG has not."""
    side = config.side or SIDE
    if config.form == "pixels":
        return Pixels(config.image_size or (side, side))
    if channels not in MODES:
        raise ValueError(f"form jpeg holds 1 or 3 channels, got {channels}; use --form pixels")
    return Jpeg(side, config.quality or QUALITY)


def open_splits(config: PackConfig) -> dict[Split, Images]:
    """The splits to pack; data without any are packed as train."""
    names: tuple[Split, ...] = (config.split,) if config.split else ("train", "test")
    names = names if has_splits(config.data) else names[:1]
    channels, pixel_range, bands = config.channels, config.pixel_range, config.bands
    found: dict[Split, Images] = {
        name: open_images(data_of(config, name), name, channels, pixel_range, bands=bands, labels=True)
        for name in names
    }
    if len(found) == 2 and list(found["train"].names) == list(found["test"].names):
        return {"train": found["train"]}
    return found


def data_of(config: PackConfig, split: Split) -> Data:
    """DATA; of several sources where all splits are packed, those that have held-out images give these."""
    return with_held_out(config.data) if split == "test" and config.split is None else config.data


def describe(form: Pixels | Jpeg, splits: Mapping[Split, Images]) -> dict[str, Any]:
    """What is to be packed, and how: two packings of which this is the same come to the same."""
    images = next(iter(splits.values()))
    kind = "pixels" if isinstance(form, Pixels) else "jpeg"
    settings = {"form": kind, **vars(form), "channels": images.channels}
    settings |= {"pixel_range": images.pixel_range, "bands": images.bands}
    source = {name: identity_of(images) for name, images in splits.items()}
    return json.loads(json.dumps({"settings": settings, "source": source}))


def identity_of(images: Images) -> dict[str, Any]:
    """Which images these are, and what is said of them."""
    several = {"several": True} if images.labels is None and images.said is not None else {}
    return {"images": len(images), "files": images.digest(), "labels": images.digest_of_labels(), **several}


def pack(config: PackConfig, packing: Packing, task: Mapping[str, Any]) -> None:
    """Write everything, the header last; every process calls it."""
    out, world, ours = config.out, packing.world, True

    def nothing_to_keep() -> bool:
        return ours and not any(path.stat().st_size for path in out.glob("*.chunks-*"))

    with cleared_on_failure(out, nothing_to_keep) if world.is_main else nullcontext():
        packing = replace(packing, rows=world.from_main(partial(begin, out, task, packing.rows)))
        ours = False  # but another's, for all that is known
        with alone(out, world):
            ours = True
            if not world.from_main(packing.is_joining):
                packing.share()
            world.from_main(partial(finish, config, packing, task))


def finish(config: PackConfig, packing: Packing, task: Mapping[str, Any]) -> None:
    """Join what is packed, and say what it is, the header last."""
    with written(config.out):
        chunks, found, files = packing.join(), {}, {}
        for name, bad_files in packing.splits.items():
            found[name], parts = finish_split(bad_files.images, chunks[name], config.out, name)
            files |= parts
        files |= write_bad_files(config.out, packing.splits)
        made_by = f"pcae {version('pcae')}, Pillow {PIL.__version__}"
        header = {"format": FORMAT, "made_by": made_by, "data": in_words(config.data), **task, "splits": found}
        replace_text(config.out / HEADER, sealed({**header, "files": files}))
        clear(config.out)


def write_bad_files(out: Path, bad: Mapping[Split, BadFiles]) -> Files:
    """Write down what could not be read, if anything could not."""
    rows = [{"split": name, **json.loads(line)} for name, files in bad.items() for line in files.lines().splitlines()]
    if not rows:
        return {}
    write_whole(out / BAD_FILES, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return {BAD_FILES: part_of(out / BAD_FILES)}
