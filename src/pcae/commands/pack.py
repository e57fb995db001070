"""`pcae pack`: images decoded and shrunk once, into a folder that every verb takes as DATA."""

from typing import Any

from pcae.data.packed.folder import BAD_FILES, read_header
from pcae.data.packed.pack import (
    check,
    check_form,
    check_space,
    check_vacant,
    describe,
    form_of,
    is_done,
    open_splits,
    pack,
)
from pcae.settings.verbs.pack import PackConfig
from pcae.terminal import as_json, console
from pcae.writing import check_place


def run(config: PackConfig) -> None:
    """Pack, or go on, or say that it is done."""
    check(config)
    form, splits = form_of(config), open_splits(config)
    task = describe(form, splits)
    check_form(form, task["settings"]["channels"])
    check_place(config.out, config.data)
    if not is_done(config.out, task):
        check_vacant(config.out, task)
        check_space(config.out, form, splits)
        try:
            pack(config, form, splits, task)
        except OSError as error:
            raise ValueError(f"out {str(config.out)!r} cannot be written: {error.strerror or error}") from error
    report(config, read_header(config.out))


def report(config: PackConfig, header: dict[str, Any]) -> None:
    """Say what stands there."""
    total = sum(size for chunks in header["files"].values() for size, _ in chunks)
    if config.json:
        as_json({"out": str(config.out), "bytes": total, **header["settings"], "splits": header["splits"]})
        return
    counts = " + ".join(f"{facts['images']} {name}" for name, facts in header["splits"].items())
    console.print(f"{counts} images, {total / 1e6:.4g} MB in {config.out}")
    bad = sum(facts["bad_files"] for facts in header["splits"].values())
    if bad:
        console.print(f"{bad} could not be read and were left out, see {config.out / BAD_FILES}")
