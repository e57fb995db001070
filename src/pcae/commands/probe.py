"""`pcae probe`: how good an encoder's features are, by k nearest neighbours, a linear and an attentive probe."""

from pcae.inference.probe import probe_features
from pcae.results import print_result
from pcae.terminal import command

run = command(probe_features, print_result)
"""Probe, and print the accuracies."""
