"""How blocks are compiled, without compiling them; and how often a reduced model is, by a compiler that only counts."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from pcae.model.compiled import GRAPHS, compile_blocks
from pcae.model.encoder import build_encoder
from tests.conftest import TINY


@pytest.mark.parametrize("mode", [None, GRAPHS])
def test_with_graphs_every_call_of_the_whole_begins_a_step(monkeypatch, mode):
    asked, begun = [], []
    monkeypatch.setattr(nn.Module, "compile", lambda block, **how: asked.append(how))
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(True))
    vit = build_encoder(TINY).vit
    compile_blocks(vit, mode)
    assert asked == [{"dynamic": False, "mode": mode}] * TINY.depth
    for _ in range(3):
        vit(torch.zeros(1, 3, 32, 48))
    assert len(begun) == (3 if mode == GRAPHS else 0)


COUNTED = """
import json, sys, timm, torch
from torch._dynamo.testing import CompileCounter
import pcae
from pcae.model.criteria import inference_criterion
from pcae.model.reduction import Reduction

rule = json.loads(sys.argv[1])
rule["criterion"] = inference_criterion(rule["criterion"])
vit = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=3, num_classes=3, global_pool="avg").eval()
counts = {}
for dynamic in (False, None):
    torch._dynamo.reset()
    counter, reduced = CompileCounter(), pcae.reduce(vit, 0.0)
    compiled = torch.compile(reduced, backend=counter, fullgraph=True, dynamic=dynamic)
    frames = []
    for ratio in (0.0, 0.2, 0.4, 0.0, 0.4, 0.2):
        reduced.reduction = Reduction.for_finetuning(3, drop_ratio=ratio, **rule)
        for _ in range(3):
            images = torch.rand(2, 3, 64, 64)
            with torch.no_grad():
                torch.testing.assert_close(compiled(images), reduced(images), rtol=0, atol=1e-6)
        frames.append(counter.frame_count)
    counts[str(dynamic)] = frames
print(json.dumps(counts))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [
        {"criterion": "mean-similarity"},
        {"criterion": "bipartite", "fold": "merge", "before_mlp": True},
        {"criterion": "token-importance", "fold": "pool", "before_mlp": True},
    ],
)
def test_a_reduced_model_is_compiled_once_for_each_ratio_and_as_one_graph(rule):
    """In a process of its own, because the checks of shapes in tests break compilation. The ratios come twice."""
    words = [sys.executable, "-c", COUNTED, json.dumps(rule)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=600, check=True)
    counts = json.loads(found.stdout.splitlines()[-1])
    assert counts["False"] == [1, 2, 3, 3, 3, 3]
    assert counts["None"][-1] <= 3 and counts["None"][3:] == counts["None"][2:3] * 3
