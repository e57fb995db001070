"""`pcae export`: a trained model as a file or folder that other programs run, checked against PyTorch."""

from pcae.inference.export import Exported, export_model
from pcae.settings.verbs.export import ExportConfig
from pcae.terminal import answer, table
from pcae.weights.export.formats import FORMATS


def run(config: ExportConfig) -> None:
    """Export, and say how the check came out."""
    answer(export_model(config), config.json, show)


def show(found: Exported) -> None:
    """Print what was compared."""
    check, reduces = found.check, FORMATS[found.to].reduces
    rows = [
        [f"largest difference of the {found.output}", f"{check['max_difference']:.2g}"],
        ["allowed", f"{check['tolerance']:g}"],
        ["images that keep the same tokens", f"{check['same_kept']} of {check['images']}"],
        ["images that differ by a tie of scores", f"{check['ties']}"],
    ]
    title = f"{found.out}, against PyTorch{f' at drop ratio {found.drop_ratio:g}' if reduces else ''}"
    table(title, ["check", "result"], rows if reduces and found.drop_ratio else rows[:2])
