"""How blocks are compiled, without compiling them."""

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
