"""`pcae evaluate`: accuracy and speed of a classifier at one or more drop ratios."""

from pathlib import Path

from pcae.inference.evaluate import evaluate_classifier
from pcae.results import print_result
from pcae.terminal import command

PICTURE = Path("accuracy-speed.png")
"""What is drawn where two drop ratios or more are measured and no other picture is asked for."""
run = command(lambda config: evaluate_classifier(config, PICTURE), print_result)
"""Evaluate and print."""
