"""`pcae export`: a trained model as a file or folder that other programs run, checked against PyTorch."""

from pcae.inference.export import export_model
from pcae.results import print_result
from pcae.terminal import command

run = command(export_model, print_result)
"""Export, and say how the check came out."""
