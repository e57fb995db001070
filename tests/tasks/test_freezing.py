"""What is frozen has no gradient, no state, no drop path, no copy in the average, and keeps nothing in memory."""

from dataclasses import replace

import pytest
import timm
import torch

from pcae.evaluation.memory import kept_bytes, peak_bytes
from pcae.model.compiled import checkpoint_blocks
from pcae.model.encoder import create_vit, plain_vit
from pcae.settings.network import EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.settings.tasks import ClassificationConfig
from pcae.settings.values import flatten
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.words import parse
from pcae.tasks.classification import Classification, drop_schedule, layer_groups
from pcae.tasks.detection import detection_groups
from pcae.tasks.freezing import freeze
from pcae.training.loop import Progress, loop
from pcae.training.micro_batches import Labelled
from pcae.training.optimizer import build_optimizer
from pcae.training.randomness import randomness
from tests.conftest import TINY
from tests.tasks.test_detection import SMALL
from tests.tasks.test_detection import batch as objects
from tests.tasks.test_detection import make as make_detection

pytestmark = pytest.mark.trains
objects = objects
CPU = torch.device("cpu")
FULL = ClassificationConfig(drop_path=0.5, ema=0.9, drop_ratio=0.3, drop_start_epochs=0.0, drop_ramp_epochs=0.0)


def make(config: ClassificationConfig, size: EncoderConfig = TINY) -> Classification:
    torch.manual_seed(0)
    vit = create_vit(size, channels=3, num_classes=5, global_pool="avg")
    return Classification(vit, config, drop_schedule(config, 4, 2.0)).double()


def batch(size: EncoderConfig = TINY) -> Labelled:
    generator = torch.Generator().manual_seed(1)
    return Labelled(torch.randn(8, 3, *size.image_size, generator=generator).double(), torch.arange(8) % 5)


def train(method: Classification, given: Labelled, steps: int = 3, optimizer: str = "adamw") -> torch.optim.AdamW:
    groups = layer_groups(method.model.vit, 0.05, 0.65)
    found = build_optimizer(method, OptimizerConfig(optimizer=optimizer), groups)  # pyright: ignore[reportArgumentType]
    stream = ((given, randomness(3, step, 8, CPU)) for step in range(steps))
    loop(method, stream, found, lambda _: 1e-2, Progress(steps), [])
    return found


def trained_names(what, depth: int) -> tuple[str, ...]:
    """Starts of the names of what is trained."""
    if what == "encoder":
        return ("head.",)
    return ("head.", "fc_norm.", "norm.", *(f"blocks.{index}." for index in range(what, depth)))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("what", ["encoder", 1, 2, 3])
def test_what_is_frozen_stays_to_the_bit_and_all_else_moves(what, optimizer, again):
    method = make(replace(FULL, freeze=what))
    if again:
        checkpoint_blocks(method)
    before = {name: value.clone() for name, value in method.model.vit.state_dict().items()}
    state = train(method, batch(), optimizer=optimizer).state
    for name, parameter in method.model.vit.named_parameters():
        moves = name.startswith(trained_names(what, TINY.depth or 3))
        assert torch.equal(parameter, before[name]) is not moves, name
        assert (parameter in state) is moves and parameter.requires_grad is moves
    assert method.average is not None
    both = zip(method.model.vit.parameters(), method.average.parameters(), strict=True)
    assert all((one is two) is not one.requires_grad for one, two in both)


def test_frozen_blocks_compute_as_in_evaluation_and_the_others_drop_paths():
    """The same draw in a network whose frozen blocks have no drop path at all."""
    method = make(replace(FULL, freeze=2)).train()
    modes = [block.training for block in method.model.vit.blocks]
    assert modes == [False, False, *[True] * (len(modes) - 2)]
    given, random = batch(), randomness(3, 0, 8, CPU)
    loss = method(given, random).loss
    plain = make(FULL).train()
    for block in plain.model.vit.blocks[:2]:
        block.drop_path1 = block.drop_path2 = torch.nn.Identity()
    assert torch.equal(loss, plain(given, random).loss)
    assert not torch.equal(loss, make(FULL).train()(given, random).loss)


def test_the_gradient_of_what_is_trained_is_that_of_the_whole_network():
    config = replace(FULL, drop_path=0.0)
    method, plain = make(replace(config, freeze=2)).train(), make(config).train()
    for one in (method, plain):
        one(batch(), randomness(3, 0, 8, CPU)).loss.backward()
    for (name, mine), other in zip(method.model.vit.named_parameters(), plain.model.vit.parameters(), strict=True):
        assert (mine.grad is not None) is name.startswith(trained_names(2, 9))
        assert mine.grad is None or (other.grad is not None and torch.equal(mine.grad, other.grad)), name


def test_a_classifier_alone_takes_a_fraction_of_the_memory():
    """The weights, and next to nothing for the backward pass. ViT-B's: benchmarks/frozen_memory.py."""
    size = EncoderConfig(model="vit_tiny_patch16_224", image_size=(64, 64), patch_size=8, width=96, depth=12, heads=4)
    peaks, kept = {}, {}
    for what in (None, 8, "encoder"):
        method, given = make(replace(FULL, ema=None, freeze=what, drop_ratio=0.0), size), batch(size)
        optimizer = train(method, given, steps=1)
        there = [given.images, *method.parameters()]
        states = [value for state in optimizer.state.values() for value in state.values()]
        stream = ((given, randomness(3, 0, 8, CPU)) for _ in range(1))
        step = lambda stream=stream, m=method, o=optimizer: loop(m, stream, o, lambda _: 1e-3, Progress(1), [])  # noqa: E731
        peaks[what] = peak_bytes(step, [*there, *states], CPU)
        kept[what] = kept_bytes(lambda m=method, b=given: m(b, randomness(3, 0, 8, CPU)).loss, there)
    assert peaks["encoder"] < 0.3 * peaks[None] and peaks[8] < 0.55 * peaks[None]
    assert kept["encoder"] < 0.02 * kept[None] and kept[8] < 0.45 * kept[None]


@pytest.mark.parametrize("what", ["encoder", 2])
def test_detection_trains_pyramid_and_heads_on_a_frozen_encoder(objects, what):
    method = make_detection(replace(SMALL, freeze=what, drop_path=0.3))
    vit = method.encoder.vit
    before = {name: value.clone() for name, value in method.state_dict().items()}
    optimizer = build_optimizer(method, OptimizerConfig(), detection_groups(method, 0.05, 0.7))
    images = len(objects.images)
    loop(method, iter([(objects, randomness(3, 0, images, CPU))]), optimizer, lambda _: 1e-2, Progress(1), [])
    assert [block.training for block in vit.blocks] == [what != "encoder" and index >= 2 for index in range(4)]
    used = [name for name, _ in vit.named_parameters() if name.startswith(("patch_embed.", "pos_embed", "blocks."))]
    for name in used:
        moves = what == 2 and name.startswith(("blocks.2.", "blocks.3."))
        assert torch.equal(vit.state_dict()[name], before[f"network.backbone.encoder.vit.{name}"]) is not moves, name
    pyramid = [name for name in before if name.startswith("network.backbone.pyramid") and name.endswith("weight")]
    assert pyramid and all(not torch.equal(method.state_dict()[name], before[name]) for name in pyramid)


def test_blocks_that_are_not_there_are_refused():
    vit = plain_vit(timm.create_model("vit_tiny_patch16_224", depth=3))
    with pytest.raises(ValueError, match=r"freeze must lie in \[1, 3\], as the network has 3 blocks, or .*; got 4"):
        freeze(vit, 4)
    assert all(parameter.requires_grad for parameter in vit.parameters())


@pytest.mark.parametrize("value", ["encoder", "8"])
def test_a_word_or_a_number_is_read_from_flags_and_from_a_file(tmp_path, value):
    (tmp_path / "mine.yaml").write_text(f"freeze: {value}\n")
    for cls in (FinetuneConfig, DetectTrainConfig):
        for words in (["--freeze", value], ["--config", str(tmp_path / "mine.yaml")]):
            found = flatten(parse(cls, ["data", "--out", "run", *words], "pcae"))["freeze"]
            assert found == (value if value == "encoder" else 8)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("head", "--freeze takes the word encoder or a whole number, got 'head'"),
        ("0", "freeze must be at least 1, got 0"),
    ],
)
def test_other_words_are_refused_in_a_line(value, message):
    with pytest.raises(ValueError, match=message):
        parse(FinetuneConfig, ["data", "--out", "run", "--freeze", value], "pcae")
