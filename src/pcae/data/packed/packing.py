"""A whole packing: what is asked for, whether there is room, every split, and the header last."""

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import PIL

from pcae.data.batches import scanning_workers
from pcae.data.files.eight_bits import MODES
from pcae.data.images import Images, open_images, with_held_out
from pcae.data.packed.chunks import Files, Jpeg, Pixels, alone, finish_split, pack_split, part_of, write_whole
from pcae.data.packed.reading import (
    BAD_FILES,
    FORMAT,
    HEADER,
    UNFINISHED,
    check_sizes,
    is_packed,
    read_header,
    sealed,
)
from pcae.data.unreadable import BadFiles
from pcae.results import Block, Record, Table
from pcae.settings.bounds import check_bounds
from pcae.settings.choices import Split
from pcae.settings.sources import Data, has_splits, in_words
from pcae.settings.verbs.pack import PackConfig
from pcae.terminal import bar
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

    What stands there, as JSON has it. Raises ValueError for what cannot be packed or written, and when too many images
    cannot be read.
    """
    check(config)
    splits = open_splits(config)
    form = form_of(config, next(iter(splits.values())).channels)
    task = describe(form, splits)
    check_place(config.out, config.data)
    if not is_done(config.out, task):
        check_vacant(config.out, task)
        check_space(config.out, form, splits)
        try:
            pack(config, form, splits, task)
        except OSError as error:
            raise ValueError(f"out {str(config.out)!r} cannot be written: {error.strerror or error}") from error
    header = read_header(config.out)
    total = sum(size for chunks in header["files"].values() for size, _ in chunks)
    return Packed({"out": str(config.out), "bytes": total, **header["settings"], "splits": header["splits"]})


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


def is_done(out: Path, task: Mapping[str, Any]) -> bool:
    """Whether all of it is packed there. Raises ValueError when something else is."""
    if not (out / HEADER).is_file():
        return False
    header = read_header(out)
    check_sizes(out, header)
    check_same(out, header, task)
    clear(out)
    return True


def check_same(out: Path, theirs: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    """Raise ValueError naming what differs between a folder's packing and the one that is asked for."""
    for name, value in task["settings"].items():
        if theirs["settings"].get(name) != value:
            raise ValueError(
                f"out {str(out)!r} holds images packed with {name} = {theirs['settings'].get(name)}, not {value}; "
                "choose another folder"
            )
    for name in task["source"].keys() | theirs["source"].keys():
        mine, there = task["source"].get(name, {}), theirs["source"].get(name, {})
        odd = [key for key in mine.keys() | there.keys() if mine.get(key) != there.get(key)]
        odd = [key for key in odd if key != "labels" or "labels" in there or mine.get("several")]  # older ones lack it
        if odd:
            what = "labels" if {*odd} <= {"labels", "several"} else "images"
            raise ValueError(f"out {str(out)!r} holds other {what} of the split {name}; choose another folder")


def check_vacant(out: Path, task: Mapping[str, Any]) -> None:
    """Raise ValueError when a folder holds anything but the beginning of this packing."""
    if out.is_dir() and not is_packed(out):
        other = next(iter(sorted(path.name for path in out.iterdir())), None)
        if other:
            raise ValueError(f"out {str(out)!r} holds {other!r} of another program; choose another folder")
    if (out / UNFINISHED).is_file():
        try:
            theirs = json.loads((out / UNFINISHED).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"out {str(out)!r} has a damaged {UNFINISHED}; remove the folder") from error
        check_same(out, theirs, task)


def check_space(out: Path, form: Pixels | Jpeg, splits: Mapping[Split, Images]) -> None:
    """Raise ValueError when the disk has no place for the pixels that are not there yet."""
    if isinstance(form, Jpeg):
        return
    there = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    height, width = form.image_size
    wanted = sum(len(images) * images.channels for images in splits.values()) * height * width
    left = wanted - sum(path.stat().st_size for path in out.glob("*.data"))
    free = shutil.disk_usage(there).free
    if left > free:
        raise ValueError(
            f"out {str(out)!r} cannot be written: {left / 1e9:.3g} GB are wanted and {free / 1e9:.3g} GB are free; "
            "use --form jpeg, a smaller --side or another disk"
        )


def pack(config: PackConfig, form: Pixels | Jpeg, splits: Mapping[Split, Images], task: dict[str, Any]) -> None:
    """Write everything, the header last."""
    out, taken = config.out, False
    with cleared_on_failure(out, lambda: not (taken or any(path.stat().st_size for path in out.glob("*.chunks")))):
        out.mkdir(parents=True, exist_ok=True)
        if not (out / UNFINISHED).is_file():
            replace_text(out / UNFINISHED, json.dumps(task, indent=1))
        taken = True  # by another process, for all that is known
        with alone(out):
            taken = False
            found, files, bad = {}, {}, {}
            for name, images in splits.items():
                bad[name] = BadFiles(images, config.max_bad_files)
                found[name], parts = pack_one(config, form, bad[name], name)
                files |= parts
            files |= write_bad_files(out, bad)
            made_by = f"pcae {version('pcae')}, Pillow {PIL.__version__}"
            header = {"format": FORMAT, "made_by": made_by, "data": in_words(config.data), **task, "splits": found}
            replace_text(out / HEADER, sealed({**header, "files": files}))
            clear(out)


def pack_one(config: PackConfig, form: Pixels | Jpeg, bad_files: BadFiles, name: str) -> tuple[dict[str, Any], Files]:
    """Write a split; what it holds, and the checksums of its files."""
    images = bad_files.images
    workers = scanning_workers(images, len(images)) if config.workers is None else config.workers
    chunks = pack_split(bad_files, form, config.out, name, workers, bar(f"packing {name}"))
    return finish_split(images, chunks, config.out, name)


def write_bad_files(out: Path, bad: Mapping[Split, BadFiles]) -> Files:
    """Write down what could not be read, if anything could not."""
    rows = [{"split": name, **json.loads(line)} for name, files in bad.items() for line in files.lines().splitlines()]
    if not rows:
        return {}
    write_whole(out / BAD_FILES, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return {BAD_FILES: part_of(out / BAD_FILES)}


def clear(out: Path) -> None:
    """Remove what was only for going on."""
    for path in (*out.glob("*.chunks"), out / UNFINISHED):
        path.unlink(missing_ok=True)
