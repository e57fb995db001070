"""How fast a classifier runs by rule and drop ratio: PyTorch, compiled, ONNX Runtime, OpenVINO, all taking turns.

    python benchmarks/runtimes.py [--runtimes eager compiled onnxruntime openvino] [--batch 1 16] [--rounds 9]
        [--drop-ratio 0 0.1 0.2 0.3 0.4] [--rules mean-similarity:append bipartite:merge:before-mlp]
        [--precision float32 bfloat16] [--model NAME] [--device cpu] [--threads N]

Prints JSON, by precision and batch: images per second of every row (median), and how many times as fast as the same
runtime at the first drop ratio (median over the rounds of the ratio within a round), beside what the multiply-
accumulates allow, and the share of an eager pass that choosing tokens and folding others in takes. timm's own forward
pass is a row, too. The two runtimes read files that `pcae export` writes; they have float32 only and run on CPUs;
`random` is in none of them.
OpenVINO (pip install openvino) is left out where it is not installed. bfloat16 is autocast.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from pcae.benchmarking.candidates import Candidate
from pcae.data.batches import count_cores
from pcae.evaluation.cost import measure
from pcae.evaluation.throughput import ratios, take_turns, turns
from pcae.model.blocks import Walk
from pcae.model.pretrained import Pretrained, PretrainedFacts, build_model
from pcae.settings.network import EncoderConfig
from pcae.settings.trained import Rule
from pcae.weights.export.deployed import NOT_EXPORTED
from pcae.weights.export.onnx_files import Onnx

Call = Callable[[Tensor], Any]
Row = tuple[str, Candidate]
"""A runtime, and how tokens are dropped."""
RUNTIMES = ("eager", "compiled", "onnxruntime", *["openvino"] * bool(find_spec("openvino")))
OF_FILES = {"onnxruntime", "openvino"}


def make(said: argparse.Namespace) -> Pretrained:
    """A classifier of 1,000 classes; what its weights are does not matter for its speed."""
    config = EncoderConfig(model=said.model, image_size=(said.size, said.size), channels=3)
    classes = [str(index) for index in range(1000)]
    facts = PretrainedFacts(encoder=config, mean=[0.5] * 3, std=[0.25] * 3, classes=classes, global_pool="avg")
    torch.manual_seed(0)
    return build_model(facts).eval().to(said.device)


class Plain(nn.Module):
    """timm's own forward pass of the same network."""

    def __init__(self, model: Pretrained) -> None:
        super().__init__()
        self.vit, self.normalise = model.encoder.vit, model.normalise

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.vit(self.normalise(images))


def in_torch(network: nn.Module, said: argparse.Namespace, precision: str, compiled: bool = False) -> Call:
    """A network in PyTorch, compiled for the shapes that come."""
    run = torch.compile(network, dynamic=False) if compiled else network

    def call(images: Tensor) -> Tensor:
        with torch.autocast(said.device, torch.bfloat16, enabled=precision == "bfloat16"):
            return run(images)

    return call


def in_onnxruntime(path: Path, said: argparse.Namespace) -> Call:
    """A file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = said.threads, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would take the others' turns
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images.numpy()})


def in_openvino(path: Path, said: argparse.Namespace) -> Call:
    """The same file in OpenVINO, for the shapes that come."""
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": said.threads, "INFERENCE_PRECISION_HINT": "f32"})
    found: dict[int, Any] = {}

    def call(images: Tensor) -> Any:
        if len(images) not in found:
            network = core.read_model(path)
            network.reshape({"images": list(images.shape)})
            found[len(images)] = core.compile_model(network, "CPU")
        return found[len(images)]({"images": images.numpy()})["logits"]

    return call


def candidates(said: argparse.Namespace) -> list[Candidate]:
    """Every rule at every drop ratio; nothing dropped is one and the same."""
    rules = [rule_of(*words.split(":")) for words in said.rules]
    return list(
        dict.fromkeys(Candidate(rule if ratio else Rule(), ratio) for rule in rules for ratio in said.drop_ratio)
    )


def rule_of(criterion: Any, fold: Any, place: str = "") -> Rule:
    """A rule in words."""
    return Rule(criterion=criterion, fold=fold, before_mlp=place == "before-mlp")


def rows_of(model: Pretrained, said: argparse.Namespace, precision: str, folder: Path) -> dict[Row, Call]:
    """What takes turns."""
    rows: dict[Row, Call] = {("timm", Candidate(Rule(), 0.0)): in_torch(Plain(model), said, precision)}
    for one in candidates(said):
        network = model.classifier(one.drop_ratio, **vars(one.rule))
        for name in ("eager", "compiled"):
            if name in said.runtimes:
                rows[name, one] = in_torch(network, said, precision, name == "compiled")
        in_files = said.device == "cpu" and precision == "float32" and one.rule.criterion not in NOT_EXPORTED
        if not in_files or not OF_FILES & {*said.runtimes}:
            continue
        path = folder / f"{len(rows)}.onnx"
        Onnx().write(Pretrained(model.encoder, replace(model.facts, rule=one.rule)), one.drop_ratio, path)
        makers = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}
        rows |= {(name, one): makers[name](path, said) for name in said.runtimes if name in makers}
    return rows


def measured(rows: dict[Row, Call], batch: int, said: argparse.Namespace) -> list[dict[str, Any]]:
    """Images per second of each row, and the ratio to the first of its runtime."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, 3, said.size, said.size), dtype=torch.uint8, generator=generator)
    images = images.to(said.device)
    seconds, found = take_turns(rows, images, said.rounds, warm_up=2), []
    for (runtime, one), spent in seconds.items():
        first = next(name for name in rows if name[0] == runtime)
        faster = ratios(seconds, first)[runtime, one]
        speed = {"images_per_second": round(batch / median(spent), 3), "times_as_fast": round(faster, 3)}
        speed |= selection(rows[runtime, one], images, said) if runtime == "eager" and one.drop_ratio else {}
        found.append({"runtime": runtime, "rule": in_words(one.rule), "drop_ratio": one.drop_ratio, **speed})
    return found


def in_words(rule: Rule) -> str:
    """A rule, as it is given."""
    return f"{rule.criterion}:{rule.fold}{':before-mlp' if rule.before_mlp else ''}"


def selection(call: Call, images: Tensor, said: argparse.Namespace) -> dict[str, float]:
    """The share of a pass that its stages take."""
    spent, device, stage = [], images.device, Walk.reduce

    def timed(*given: Any) -> None:
        spent.extend(turns({"": lambda: stage(*given)}, device, 1, warm_up=0)[""])

    shares = []
    with mock.patch.object(Walk, "reduce", timed), torch.inference_mode():
        for _ in range(said.rounds):
            spent.clear()
            whole = turns({"": lambda: call(images)}, device, 1, warm_up=0)[""][0]
            shares.append(sum(spent) / whole)
    return {"share_of_selecting": round(median(shares), 4)}


def allowed(model: Pretrained, said: argparse.Namespace) -> dict[str, float]:
    """How many times as fast the multiply-accumulates would be, by rule and drop ratio."""
    image, vit = torch.zeros(1, 3, said.size, said.size, device=said.device), model.encoder.vit
    networks = {one: model.classifier(one.drop_ratio, **vars(one.rule)).reduced for one in candidates(said)}
    with torch.no_grad():
        macs = {one: measure(network, vit.blocks, image).gmacs for one, network in networks.items()}
    first = next(iter(macs.values()))
    return {f"{in_words(one.rule)} {one.drop_ratio:g}": round(first / found, 3) for one, found in macs.items()}


def options() -> argparse.Namespace:
    """What the command line says."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    words.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    words.add_argument("--rounds", type=int, default=9)
    words.add_argument("--drop-ratio", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3, 0.4])
    words.add_argument("--rules", nargs="+", default=["mean-similarity:append"])
    words.add_argument("--precision", nargs="+", choices=("float32", "bfloat16"), default=["float32"])
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--size", type=int, default=224)
    words.add_argument("--device", default="cpu")
    words.add_argument("--threads", type=int, default=count_cores())
    return words.parse_args()


def benchmark() -> None:
    """Export, take turns, print."""
    said = options()
    torch.set_num_threads(said.threads)
    torch._dynamo.config.recompile_limit = 64
    model, found = make(said), {}
    with tempfile.TemporaryDirectory() as name:
        for precision in said.precision:
            rows = rows_of(model, said, precision, Path(name))
            found[precision] = {f"batch {batch}": measured(rows, batch, said) for batch in said.batch}
    packages = [name for name in ("torch", "timm", "onnxruntime", "openvino") if find_spec(name)]
    machine = {"machine": platform.machine(), "versions": {name: version(name) for name in packages}}
    print(json.dumps({**vars(said), **machine, "macs_allow": allowed(model, said), **found}, indent=2))


if __name__ == "__main__":
    benchmark()
