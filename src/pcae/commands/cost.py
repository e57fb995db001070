"""`pcae cost`: multiply-accumulates, parameters and tokens by block, read off the running model."""

from dataclasses import replace
from typing import Any

from pcae.evaluation.cost import inference_cost, pretraining_cost
from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig
from pcae.settings.verbs.cost import CostConfig
from pcae.terminal import as_json, table


def run(config: CostConfig) -> None:
    """Count and print."""
    encoder = replace(config.encoder, channels=config.encoder.channels or 3)
    if config.pretrain and config.drop_ratio:
        raise ValueError(f"drop_ratio {config.drop_ratio:g} is for classifying; with --pretrain use --keep-ratio")
    if not config.pretrain and (config.method, config.decoder) != (MethodConfig(), DecoderConfig()):
        raise ValueError("settings of the method and the decoder need --pretrain; a classifier's cost has --drop-ratio")
    if config.pretrain:
        result = pretraining_cost(encoder, config.method, config.decoder)
    else:
        result = inference_cost(encoder, config.drop_ratio)
    if config.json:
        as_json(result)
    elif config.pretrain:
        show_pretraining(result)
    else:
        table(
            f"{result['model']} at drop ratio {result['drop_ratio']:g}",
            ["GMACs", "parameters", "tokens that enter each block"],
            [[f"{result['gmacs']:.2f}", f"{result['parameters']:,}", " ".join(map(str, result["tokens"]))]],
        )


def show_pretraining(result: dict[str, Any]) -> None:
    """A row for each part of the method."""
    counts = " -> ".join(map(str, [f"{result['hidden']} hidden", *result["kept"]]))
    rows = [
        [part, f"{cost['gmacs']:.2f}", f"{cost['parameters']:,}", " ".join(map(str, cost["tokens"]))]
        for part in ("student", "teacher", "decoder")
        if (cost := result.get(part))
    ]
    title = f"{result['model']}, {result['method']}: {result['visible']} visible, {counts}"
    table(title, ["one pass", "GMACs", "parameters", "tokens that enter each block"], rows)
    per_view = f", {result['training_gmacs'] / result['views']:.2f} for each view" if result["views"] > 1 else ""
    print(f"a training image: {result['training_gmacs']:.2f} GMACs (3 x student and decoder + teacher){per_view}")
