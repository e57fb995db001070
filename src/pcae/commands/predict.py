"""`pcae predict`: the most likely classes of images, a line of JSON for each."""

import json

from pcae.inference.predict import Predicted, predictions, write_predictions
from pcae.settings.verbs.predict import PredictConfig
from pcae.terminal import answer, as_json, console


def run(config: PredictConfig) -> None:
    """Predict, and print or say what was written."""
    if config.out is not None:
        answer(write_predictions(config, config.out), config.json, show)
    elif config.json:
        as_json(list(predictions(config)))
    else:
        for line in predictions(config):
            print(json.dumps(line))


def show(found: Predicted) -> None:
    """Say what was written."""
    console.print(f"predictions of {found.images} images in {found.out}")
