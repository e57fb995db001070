"""Other people's MAE in our loop, and the script that measures it beside our rows."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from benchmarks.peers import LightlyMAE, OriginalMAE, PublicPCAE, TransformersMAE, check_checkout, main
from timm.models import vision_transformer

from pcae.evaluation.stepper import Stepper
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.optimizer import build_optimizer
from pcae.training.randomness import randomness
from tests.gradients import assert_falls_as_its_gradient_says

ENCODER = EncoderConfig(image_size=(16, 16), patch_size=4, channels=3, width=48, depth=2, heads=2)
DECODER = DecoderConfig(decoder_width=16, decoder_heads=2, decoder_depth=1)
POSITIONS = """
import numpy as np

def fixed(count, width):
    return np.sin(np.arange(count * width, dtype=np.float).reshape(count, width))
"""
START = """
import torch
from timm.models.vision_transformer import Block, PatchEmbed
from torch import nn
from util.pos_embed import fixed

print("a word about itself")

def trunk(self, img_size, patch_size, in_chans, embed_dim, depth, num_heads, norm_layer):
    self.patch_embed = PatchEmbed(img_size, patch_size, in_chans, embed_dim)
    self.blocks = nn.ModuleList(
        Block(embed_dim, num_heads, 4.0, qkv_bias=True, qk_scale=None, norm_layer=norm_layer) for _ in range(depth)
    )
    places = torch.from_numpy(fixed(self.patch_embed.num_patches, embed_dim)).float()
    self.pos_embed = nn.Parameter(places, requires_grad=False)

def through(self, x):
    for block in self.blocks:
        x = block(x)
    return x
"""
MAE = (
    START
    + """
class MaskedAutoencoderViT(nn.Module):
    def __init__(self, img_size, patch_size, in_chans, embed_dim, depth, num_heads, decoder_embed_dim, decoder_depth,
                 decoder_num_heads, norm_layer, norm_pix_loss):
        super().__init__()
        assert norm_pix_loss and (decoder_embed_dim, decoder_depth, decoder_num_heads) == (16, 1, 2)
        trunk(self, img_size, patch_size, in_chans, embed_dim, depth, num_heads, norm_layer)

    def forward(self, imgs, mask_ratio):
        assert mask_ratio == 0.75
        x = through(self, self.patch_embed(imgs) + self.pos_embed)
        return (x - 1).square().mean(), x, None
"""
)
PCAE = (
    START
    + """
class PCAEViT(nn.Module):
    def __init__(self, img_size, patch_size, in_chans, embed_dim, depth, num_heads, decoder_embed_dim, decoder_depth,
                 decoder_num_heads, norm_layer, use_decoder):
        super().__init__()
        self.use_decoder = use_decoder
        if use_decoder:
            self.decoder_pred = nn.Linear(embed_dim, patch_size**2 * in_chans)
        trunk(self, img_size, patch_size, in_chans, embed_dim, depth, num_heads, norm_layer)

    def forward(self, imgs, mask_ratio=None, student_ids_keep=None, teacher_ids_keep=None):
        x = through(self, self.patch_embed(imgs) + self.pos_embed)
        if self.use_decoder:
            assert student_ids_keep == "visible"
            return self.decoder_pred(x)[:, teacher_ids_keep]
        assert mask_ratio == 0.75
        return x[:, [1, 3]], [1, 3], "visible"
"""
)


@pytest.fixture
def checkout(tmp_path):
    """What makes a folder that has the files and the interface of one of the repositories."""

    def make(models: str):
        (tmp_path / "util").mkdir(exist_ok=True)
        (tmp_path / "util" / "pos_embed.py").write_text(POSITIONS)
        (tmp_path / "models_mae.py").write_text(models)
        return tmp_path

    return make


@pytest.mark.parametrize(("kind", "source"), [(OriginalMAE, MAE), (PublicPCAE, PCAE)])
def test_code_of_its_time_learns_in_our_loop(checkout, capsys, kind, source):
    torch.manual_seed(0)
    method, images = kind(checkout(source), ENCODER, DECODER), torch.randn(4, 3, 16, 16)
    optimizer, random = build_optimizer(method, OptimizerConfig()), randomness(0, 0, 4, torch.device("cpu"))
    assert Stepper(method, optimizer, images, None).progress.step == 1
    method, images = method.double(), images.double()
    assert_falls_as_its_gradient_says(method, lambda: method(images, random).loss)
    assert capsys.readouterr().out == ""  # it would stand in our JSON


@pytest.mark.parametrize("source", [MAE, MAE.replace("assert norm_pix_loss", "assert not norm_pix_loss")])
def test_all_is_as_before_afterwards_whatever_happens(checkout, monkeypatch, source):
    util = ModuleType("util")
    monkeypatch.setitem(sys.modules, "util", util)
    block = vision_transformer.Block
    if source is MAE:
        OriginalMAE(checkout(source), ENCODER, DECODER)
    else:
        with pytest.raises(AssertionError):
            OriginalMAE(checkout(source), ENCODER, DECODER)
    assert vision_transformer.Block is block and "float" not in vars(np)
    assert sys.modules["util"] is util and not {"util.pos_embed", "models_mae"} & sys.modules.keys()


def test_the_public_code_is_trained_as_it_trains_itself(checkout):
    """Cosine distance to features standardised by token; the teacher starts as the student and follows at 0.9999."""
    torch.manual_seed(0)
    method, images = PublicPCAE(checkout(PCAE), ENCODER, DECODER), torch.randn(4, 3, 16, 16)
    student, teacher = method.student, method.teacher
    shared = {name: value.clone() for name, value in teacher.named_parameters()}
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in shared.items())
    features = teacher(images, mask_ratio=0.75)[0]
    targets = (features - features.mean(-1, keepdim=True)) / features.std(-1, keepdim=True)
    predictions = student(images, student_ids_keep="visible", teacher_ids_keep=[1, 3])
    cosine = (predictions * targets).sum(-1) / predictions.norm(dim=-1) / targets.norm(dim=-1)
    loss = method(images, randomness(0, 0, 4, torch.device("cpu"))).loss
    torch.testing.assert_close(loss, 1 - cosine.mean())
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1000)
    method.after_step(Stepper(method, build_optimizer(method, OptimizerConfig()), images, None).progress)
    name = "blocks.0.mlp.fc1.weight"  # the Stepper's step moved it once, we a second time
    once = 0.9999 * shared[name] + 0.0001 * (shared[name] + 1000)
    twice = 0.9999 * once + 0.0001 * (shared[name] + 1000)
    torch.testing.assert_close(teacher.get_parameter(name), twice, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("kind", "source", "more", "message"),
    [
        (OriginalMAE, MAE, {"image_size": (16, 32)}, "image_size must be square for the code in .*, got 16 32"),
        (OriginalMAE, MAE, {"channels": 1}, "channels must be 3 for the MAE in .*, got 1"),
        (OriginalMAE, PCAE, {}, "has no class MaskedAutoencoderViT; is it the checkout of another"),
        (OriginalMAE, "import no_such_package", {}, "cannot be imported: No module named 'no_such_package'"),
        (PublicPCAE, PCAE, {"width": 24}, "width 24 does not train by the PCAE in .*, which predicts the 48 values"),
    ],
)
def test_what_cannot_be_is_refused(checkout, kind, source, more, message):
    config = EncoderConfig(**{**vars(ENCODER), **more})
    with pytest.raises(ValueError, match=message):
        kind(checkout(source), config, DECODER)


def test_a_folder_that_is_no_checkout_is_refused_by_the_file_it_lacks(tmp_path):
    with pytest.raises(ValueError, match="mae-repo '.*' has no models_mae.py; give a checkout of facebookresearch/mae"):
        check_checkout("mae-repo", tmp_path)
    (tmp_path / "models_mae.py").touch()
    with pytest.raises(ValueError, match=r"pcae-repo '.*' has no util/pos_embed.py; .* caddyless/PCAE"):
        check_checkout("pcae-repo", tmp_path)


@pytest.mark.parametrize("peer", [TransformersMAE, LightlyMAE])
def test_peers_learn_in_our_loop(peer):
    """The loss of random weights is near 1 (normalised pixels), and falls as its gradient says.

    All weights are moved a little: as they are made, some norms are of zeros, and there the loss has no slope.
    """
    torch.manual_seed(0)
    method, images = peer(ENCODER, DECODER), torch.randn(4, 3, 16, 16)
    optimizer = build_optimizer(method, OptimizerConfig())
    random = randomness(0, 0, 4, images.device)
    assert 0.8 < method(images, random).loss < 4
    assert Stepper(method, optimizer, images, None).progress.step == 1
    method, images = method.double(), images.double()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)

    def loss() -> torch.Tensor:
        torch.manual_seed(1)  # lightly draws its masks itself
        return method(images, random).loss

    assert_falls_as_its_gradient_says(method, loss)


SMALL = [
    "--model", "vit_tiny_patch16_224", "--image-size", "32", "32", "--patch-size", "8", "--width", "24", "--depth", "3",
    "--heads", "2", "--decoder-width", "16", "--decoder-heads", "2", "--batch-size", "2", "--rounds", "2",
    "--device", "cpu", "--json",
]  # fmt: skip


@pytest.mark.slow
def test_the_script_has_our_rows_a_package_and_a_checkout_take_turns(tmp_path, capsys):
    (tmp_path / "util").mkdir()
    (tmp_path / "util" / "pos_embed.py").touch()
    (tmp_path / "models_mae.py").write_text(
        "import torch\n"
        "class MaskedAutoencoderViT(torch.nn.Module):\n"
        "    def __init__(self, embed_dim, **sizes):\n"
        "        super().__init__()\n"
        "        self.one = torch.nn.Linear(32, embed_dim)\n"
        "    def forward(self, imgs, mask_ratio):\n"
        "        return self.one(imgs).square().mean(), None, None\n"
    )
    out = tmp_path / "peers.json"
    names = ["--rows", "mae", "transformers", "--mae-repo", str(tmp_path), "--against", "mae-repo"]
    main([*SMALL, *names, "--out", str(out)])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(out.read_text()) and "| transformers |" in out.with_suffix(".md").read_text()
    rows = {row["row"]: row for row in found["rows"]}
    assert [*rows] == ["mae", "transformers", "mae-repo"] and found["against"] == "mae-repo"
    assert rows["mae"]["times_as_fast"] < 1 == rows["mae-repo"]["times_as_fast"]
    assert rows["mae"]["training_gmacs"] > 0 and rows["transformers"]["training_gmacs"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pcae-repo", "nowhere"], "peers.py: pcae-repo 'nowhere' has no models_mae.py; give a checkout of"),
        (["--rows", "mae", "--against", "lightly"], "peers.py: against lightly is not among the rows mae"),
    ],
)
def test_what_the_script_cannot_do_is_said_in_one_line(capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, *words])
    assert stop.value.code == 2 and message in capsys.readouterr().err
