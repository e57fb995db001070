"""`pcae export`: a trained model as a file or folder that other programs run, checked against PyTorch."""

from dataclasses import replace
from typing import Any

from pcae.inference.export import batches, images_of, ratio_of, remarks
from pcae.inference.trained import open_trained
from pcae.model.pretrained import Pretrained
from pcae.settings.verbs.export import ExportConfig
from pcae.terminal import as_json, console, table, warn
from pcae.weights.export.formats import FORMATS, check_format, export
from pcae.weights.export.parity import Parity


def run(config: ExportConfig) -> None:
    """Export and check."""
    check_format(config.to, config.out, config.drop_ratio, config.pool_dropped)
    if config.model.device not in ("auto", "cpu"):
        raise ValueError(f"device {config.model.device!r} is not for exporting: files are made and checked on the CPU")
    model = open_trained(replace(config.model, device="cpu"), config.pool_dropped)
    ratio, bad_files = ratio_of(config, model), images_of(config, model)
    images = list(batches(model, bad_files))
    for remark in remarks(config, model):
        warn(remark)
    parity = export(model, config.to, config.out, ratio, images)
    if bad_files.found:
        console.print(f"{bad_files.describe()}; the check is on the others")
    report(config, model, ratio, parity)


def report(config: ExportConfig, model: Pretrained, ratio: float, parity: Parity) -> None:
    """Say what was written and how the check came out."""
    facts, output = model.facts, FORMATS[config.to].answers(model)
    result: dict[str, Any] = {
        "out": str(config.out),
        "to": config.to,
        "output": output,
        "classes": facts.classes,
        "image_size": list(facts.encoder.image_size),
        "channels": facts.encoder.channels or 3,
        "drop_ratio": ratio,
        "pool_dropped": facts.pool_dropped,
        "check": parity.to_plain(),
    }
    if config.json:
        as_json(result)
        return
    rows = [
        [f"largest difference of the {output}", f"{parity.max_difference:.2g}"],
        ["allowed", f"{parity.tolerance:g}"],
        ["images that keep the same tokens", f"{parity.same_kept} of {parity.images}"],
        ["images that differ by a tie of scores", f"{parity.ties}"],
    ]
    reduces = FORMATS[config.to].reduces
    title = f"{config.out}, against PyTorch{f' at drop ratio {ratio:g}' if reduces else ''}"
    table(title, ["check", "result"], rows if reduces and ratio else rows[:2])
