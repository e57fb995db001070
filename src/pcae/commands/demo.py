"""`pcae demo`: the main job on the built-in sample, in minutes on two CPU cores."""

from pcae.pages.run_page import PAGE
from pcae.runs.demo import Demo, run_demo
from pcae.terminal import command, console, table
from pcae.weights.files import FILE


def show(found: Demo) -> None:
    """Print the table and where everything lies."""
    rows = [[name, f"{value:.1%}"] for name, value in found.knn.items()]
    table("20 nearest neighbours of 9,000 images, 1,000 held out", ["features", "kNN accuracy"], rows)
    console.print(f"gain over random weights: {found.gain:+.1f} points, in {found.seconds:.0f} s altogether")
    console.print(meaning(found))
    console.print(f"the run on one page: {found.out / PAGE}; what the teacher kept: {found.picture}")
    console.print(f"weights: {found.out / FILE}; metrics, TensorBoard files and checkpoints beside it")


def meaning(found: Demo) -> str:
    """What the table says."""
    if found.gain <= 0:
        return "No gain: too few steps. The demo as it comes makes 2,000; features get better after some hundred."
    return (
        f"Without a label, training made the features {found.gain:.1f} points better at saying what a picture shows. "
        f"Raw pixels, {found.knn['raw pixels']:.1%}, are a strong rival on centred pictures like these, and a weak one "
        "on photographs. Next, on your own: pcae check-data photos; "
        "pcae pretrain photos --recipe auto --out runs/photos"
    )


run = command(run_demo, show)
"""Probe, pre-train, probe again, draw; one table and where everything lies."""
