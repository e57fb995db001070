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
    console.print(f"the run on one page: {found.out / PAGE}; what the teacher kept: {found.picture}")
    console.print(f"weights: {found.out / FILE}; metrics, TensorBoard files and checkpoints beside it")


run = command(run_demo, show)
"""Probe, pre-train, probe again, draw; one table and where everything lies."""
