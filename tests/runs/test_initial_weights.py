"""Pre-training that goes on from other weights: what is taken, and that it computes what they computed."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from pcae.cli import main
from pcae.methods.mae import MAE
from pcae.runs import pretraining
from pcae.runs.initial_weights import initial_method, load_initial
from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.reading import DataConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.words import parse
from pcae.training.distributed import open_world
from pcae.training.randomness import randomness
from pcae.weights.export.formats import export
from pcae.weights.files import load
from tests.weights.exported import pictures
from tests.weights.test_vit_mae import saved

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")
SMALL = [
    "--recipe", "sample", "--patch-scale", "1", "--width", "24", "--depth", "3", "--heads", "2",
    "--decoder-width", "16", "--decoder-heads", "2", "--batch-size", "4", "--steps", "2", "--device", "cpu",
]  # fmt: skip
AGAIN = [
    "--decoder-width", "16", "--decoder-heads", "2", "--decoder-depth", "1", "--batch-size", "4", "--steps", "1",
    "--device", "cpu",
]  # fmt: skip


@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize("channels", [3, 1])
def test_mae_with_transformers_weights_and_noise_has_transformers_loss(tmp_path, norm_pix_loss, channels):
    """The same loss to 1e-5, the same predictions at hidden patches to 1e-4."""
    theirs = saved(tmp_path, norm_pix_loss=norm_pix_loss, num_channels=channels)
    initial = load_initial(EncoderConfig(), DataConfig(), str(tmp_path), None)
    method, lines = initial_method(
        initial,
        MethodConfig(method="mae", norm_pix_loss=norm_pix_loss),
        DecoderConfig(decoder_width=32, decoder_depth=2, decoder_heads=4),
    )
    assert isinstance(method, MAE)
    assert any("31 of 31 tensors matched" in line for line in lines)
    images, random = torch.randn(5, channels, 32, 32), randomness(0, 0, 5, CPU)
    predictions = []
    method.decoder.register_forward_hook(lambda _, args, out: predictions.append((args[3], out)))
    with torch.no_grad():
        ours = method.eval()(images, random).loss
        expected = theirs(images, noise=random.uniform("mask", 16))
    torch.testing.assert_close(ours, expected.loss, rtol=0, atol=1e-5)
    hidden, values = predictions[0]
    there = expected.logits.gather(1, hidden.unsqueeze(-1).expand(-1, -1, 64 * channels))
    there = there.unflatten(-1, (8, 8, channels)).movedim(-1, -3).flatten(-3)
    torch.testing.assert_close(values, there, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of MAE with a decoder of 16 x 1."""
    out = tmp_path_factory.mktemp("run") / "mae"
    main(["pretrain", "sample", "--method", "mae", "--decoder-depth", "1", "--out", str(out), *SMALL])
    return out


def tensors_of(out) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Encoder and decoder."""
    return load_file(out / "encoder.safetensors"), load_file(out / "decoder.safetensors")


def begun(tmp_path, weights, *words: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What a run with a learning rate of nearly nothing leaves: its beginning."""
    out = tmp_path / "next"
    main(["pretrain", "sample", "--init", str(weights), "--base-lr", "1e-30", "--out", str(out), *AGAIN, *words])
    return tensors_of(out)


def test_a_run_goes_on_from_encoder_decoder_and_normalisation_of_another(run, tmp_path, capsys):
    encoder, decoder = begun(tmp_path, run, "--method", "mae")
    first = tensors_of(run)
    assert all(torch.allclose(value, encoder[name]) for name, value in first[0].items())
    assert all(torch.allclose(value, decoder[name]) for name, value in first[1].items())
    before, after = load(run).facts, load(tmp_path / "next").facts
    assert (before.mean, before.std, before.encoder.width) == (after.mean, after.std, after.encoder.width)
    said = capsys.readouterr().err
    assert "50 of 50 tensors" in said or "tensors matched, 100.0% of the encoder" in said
    assert "19 of 19 tensors matched, 16 x 1 with 2 heads" in said


def test_another_method_takes_all_but_the_head_and_its_teacher_is_the_same_encoder(run, tmp_path, capsys):
    encoder, decoder = begun(tmp_path, run, "--method", "pcae", "--momentum", "1.0")
    first = tensors_of(run)
    assert all(torch.allclose(value, encoder[name]) for name, value in first[0].items())
    trunk = {name: value for name, value in first[1].items() if not name.startswith("head.")}
    assert all(torch.allclose(value, decoder[name]) for name, value in trunk.items())
    assert decoder["head.weight"].shape[0] == 24 and "the head is left as initialised" in capsys.readouterr().err
    checkpoint = load_file(next((tmp_path / "next" / "checkpoints").glob("step-*.safetensors")))
    for name, value in first[0].items():
        assert torch.equal(checkpoint[f"method.teacher.encoder.vit.{name}"], value)


@pytest.mark.parametrize("to", ["mae", "vitmae", "timm"])
def test_a_run_goes_on_from_what_other_programs_read(run, tmp_path, to):
    """Out to their format and in again: the very tensors, by way of --init."""
    model = load(run)
    place = tmp_path / ("weights.pth" if to == "mae" else "weights")
    export(model, to, place, 0.0, [pictures(model, 2)])
    weights = f"timm:local-dir:{place}" if to == "timm" else str(place)
    encoder, decoder = begun(tmp_path, weights, "--method", "mae", *normalisation(model))
    first = tensors_of(run)
    assert all(torch.allclose(value, encoder[name]) for name, value in first[0].items())
    same = [torch.allclose(value, decoder[name]) for name, value in first[1].items()]
    assert all(same) if to != "timm" else not all(same)  # timm's folders have no decoder


def normalisation(model) -> list[str]:
    return ["--mean", str(model.facts.mean[0]), "--std", str(model.facts.std[0])]


@pytest.mark.slow
def test_a_run_from_other_weights_goes_on_where_it_stopped(run, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = [
        "pretrain",
        "sample",
        "--init",
        str(run),
        "--method",
        "pcae",
        *AGAIN[:-4],
        "--steps",
        "6",
        "--device",
        "cpu",
    ]
    words += ["--checkpoint-every", "2"]
    main([*words, "--out", str(whole)])
    shutil.copytree(whole, broken)
    for name in ("encoder.safetensors", "decoder.safetensors", "summary.json"):
        (broken / name).unlink()
    checkpoints = sorted((broken / "checkpoints").glob("step-*"))
    checkpoints[-1].unlink()
    (broken / "checkpoints" / "last").write_text(checkpoints[-2].name)
    main([*words, "--out", str(broken)])
    for one, other in zip(tensors_of(whole), tensors_of(broken), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_fixed_teacher_gives_its_normalisation_to_the_run(run, tmp_path, capsys):
    out = tmp_path / "taught"
    main(["pretrain", "sample", "--teacher", str(run), "--out", str(out), *SMALL])
    assert load(out).facts.mean == load(run).facts.mean and "teacher, fixed: " in capsys.readouterr().err
    checkpoint = load_file(next((out / "checkpoints").glob("step-*.safetensors")))
    for name, value in tensors_of(run)[0].items():
        assert torch.equal(checkpoint[f"method.teacher.encoder.vit.{name}"], value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--init", "{run}", "--width", "36"], "they differ in width, patch size or channels; to have its own network"),
        (["--init", "{run}", "--channels", "3"], "leave --channels out: gray and colour images"),
        (["--init", "{run}", "--patch-scale", "2"], "patch_scale 2 is for new networks"),
        (["--teacher", "{run}", "--mean", "0.1", "--std", "0.2", *SMALL[2:]], "leave --mean and --std out"),
        (["--teacher", "{run}", "--momentum", "0.9", *SMALL[2:]], "momentum 0.9 is for a teacher that moves"),
        (["--teacher", "{run}/gone"], "neither a run folder"),
        (["--init", "{run}/config.yaml"], "no whole safetensors file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run, tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        main(["pretrain", "sample", "--out", str(tmp_path / "no"), *(word.format(run=run) for word in words)])
    assert stop.value.code == 2 and message in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_the_image_size_is_that_of_the_weights_or_the_one_asked_for(run):
    usual = load_initial(EncoderConfig(), DataConfig(), str(run), None)
    assert usual.encoder.image_size == (28, 28) and usual.encoder.width == 24
    larger = load_initial(EncoderConfig(image_size=(56, 28)), DataConfig(), str(run), None)
    method, _ = initial_method(larger, MethodConfig(method="mae"), DecoderConfig(decoder_width=16, decoder_heads=2))
    assert method.student.grid == (14, 7) and method.counts == [98 - int(98 * 0.25)]


def test_pretrain_from_python_takes_init(run, tmp_path):
    words = {"decoder_width": 16, "decoder_heads": 2, "batch_size": 4, "steps": 1, "device": "cpu"}
    summary = pretraining.pretrain("sample", tmp_path / "p", init=str(run), method="mae", decoder_depth=1, **words)
    assert summary["steps"] == 1


def test_learned_weights_go_on_at_rates_that_fall_to_the_first_block(run, tmp_path):
    """The student's by layer, the decoder's in full, and none is left out."""
    words = ["--recipe", "continue", "--init", str(run), *AGAIN, "--warmup-epochs", "0", "--layer-decay", "0.5"]
    main(["pretrain", "sample", "--out", str(tmp_path / "on"), *words])
    config = parse(PretrainConfig, ["sample", "--out", str(tmp_path / "other"), *words], "pcae")
    with open_world("cpu") as world:
        built = pretraining.build_task(config, world).run
        names = {id(parameter): name for name, parameter in built.method.named_parameters()}
        groups = built.optimizer.param_groups
    rates = {names[id(one)]: group.get("lr_scale", 1.0) for group in groups for one in group["params"]}
    assert rates.keys() == {name for name, one in built.method.named_parameters() if one.requires_grad}
    assert {rate for name, rate in rates.items() if name.startswith("decoder.")} == {1.0}
    by_block = [rates[f"student.vit.blocks.{block}.attn.qkv.weight"] for block in range(3)]
    assert by_block == pytest.approx([by_block[2] / 4, by_block[2] / 2, by_block[2]])
    assert rates["student.vit.patch_embed.proj.weight"] == pytest.approx(by_block[0] / 2)


def test_layer_decay_is_for_weights_that_have_learned(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "sample", *SMALL, "--layer-decay", "0.7", "--out", str(tmp_path / "run")])
    assert (
        "layer_decay 0.7 is for networks that have learned; leave it out, or give --init W" in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
