"""`pcae predict`: the most likely classes of images, a line of JSON for each."""

import json

from pcae.inference.predict import check, output, predictions
from pcae.inference.trained import open_shown, open_trained
from pcae.settings.verbs.predict import PredictConfig
from pcae.terminal import as_json, console


def run(config: PredictConfig) -> None:
    """Predict and write."""
    check(config)
    model = open_trained(config.model, config.pool_dropped)
    bad_files = open_shown(config.data, config.shown, model)
    lines = predictions(config, model, bad_files)
    if config.json and config.out is None:
        as_json(list(lines))
        return
    with output(config.out) as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
    predicted = len(bad_files.images) - len(bad_files.found)
    if config.json:
        as_json({"out": str(config.out), "images": predicted, "bad_files": bad_files.by_name()})
    elif config.out:
        console.print(f"predictions of {predicted} images in {config.out}")
    if bad_files.found:
        console.print(bad_files.describe())
