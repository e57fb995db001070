"""`pcae check-data`: what a folder of images holds, before a run meets it."""

from pcae.pages.check_data import check_data
from pcae.results import print_result
from pcae.terminal import command

run = command(check_data, print_result)
"""Look, compare and print."""
