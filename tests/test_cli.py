import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pcae.cli import VERBS, main, parse
from pcae.commands import pretrain

RECIPE = ["--recipe", "sample"]


def call(capsys, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command line, in process."""
    try:
        main(list(words))
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_help_lists_every_verb(capsys):
    status, out, _ = call(capsys, "--help")
    assert status == 0 and all(f"  {verb}" in out for verb in VERBS)
    assert call(capsys)[1] == out


def test_help_answers_in_under_a_second_and_without_torch():
    program = "import sys; from pcae.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    best = 9.0
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        best = min(best, time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
    assert best < 1.0


def test_python_dash_m_works():
    done = subprocess.run([sys.executable, "-m", "pcae", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "0.1.0"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_documents_itself(capsys, verb):
    status, out, _ = call(capsys, verb, "--help")
    assert status == 0 and "--json" in out


def test_flags_before_config_before_recipe_before_defaults(tmp_path):
    (tmp_path / "mine.yaml").write_text("batch-size: 128\nwidth: 64\nseed: 5\n")
    words = ["--seed", "7", "sample", "--out", "run", "--config", str(tmp_path / "mine.yaml"), *RECIPE]
    for order in (words, [*words[5:], *words[:5]], [*words[2:], "--seed=7"]):
        config = parse(pretrain.Config, order, "pcae pretrain")
        assert (config.run.seed, config.run.batch_size, config.encoder.width) == (7, 128, 64)
        assert config.encoder.patch_size == 4 and config.method.mask_ratio == 0.75


def test_steps_and_epochs_replace_each_other(tmp_path):
    """The recipe `sample` says steps, `fashion-mnist` says epochs; who sets the other one means it."""
    (tmp_path / "mine.yaml").write_text("steps: 7\n")
    config, fashion = ["--config", str(tmp_path / "mine.yaml")], ["--recipe", "fashion-mnist"]
    for words, expected in (
        ([*RECIPE, "--epochs=2"], (2.0, None)),
        ([*fashion, "--steps", "3"], (None, 3)),
        ([*fashion, *config], (None, 7)),
        ([*fashion, *config, "--epochs", "1"], (1.0, None)),
    ):
        run = parse(pretrain.Config, [*words, "--out", "o"], "p").run
        assert (run.epochs, run.steps) == expected


def test_dashes_and_underscores_are_the_same():
    for flag in ("--mask-ratio", "--mask_ratio"):
        assert parse(pretrain.Config, ["x", "--out", "o", flag, "0.5"], "p").method.mask_ratio == 0.5


def test_a_recipes_data_needs_no_positional():
    assert parse(pretrain.Config, [*RECIPE, "--out", "o"], "p").data == "sample"
    assert parse(pretrain.Config, ["photos", *RECIPE, "--out", "o"], "p").data == "photos"


WRONG = [
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--width", "100", "--heads", "3"], "does not work with"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--heads", "5"], "does not work with"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--decoder-heads", "0"], "decoder_heads must be at least 1"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--clip-grad", "-1"], "clip_grad must be positive"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--seed", "-1"], "seed must not be negative"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--mean", "0.5"], "mean and std together"),
    (["cost", "--mask-ratio", "0.9"], "need --pretrain"),
    (["pretrain", "sample", "--out", "{out}", "--steps", "3", "--epochs", "2"], "epochs or steps, not both"),
    (["pretrian"], "unknown verb 'pretrian'; did you mean 'pretrain'?"),
    (["pretrain", "--out", "{out}"], "DATA"),
    (["pretrain", "sample"], "--out"),
    (["pretrain", "{tmp}/nowhere", "--out", "{out}"], "neither a folder"),
    (["pretrain", "{tmp}", "--out", "{out}"], "holds no image files"),
    (["pretrain", "sample", "--out", "{out}", "--mask-ration", "0.5"], "--mask-ration"),
    (["pretrain", "sample", "--out", "{out}", "--mask-ratio", "half"], "--mask-ratio"),
    (["pretrain", "sample", "--out", "{out}", "--target-norm", "batch"], "batch"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--mask-ratio", "1.5"], "mask_ratio must lie in (0, 1)"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--steps", "0"], "steps must be positive, got 0"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--model", "vit_tin"], "'vit_tin' is not known to timm"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--model", "resnet18"], "'resnet18' takes no image size"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--image-size", "30", "28"], "must be a positive multiple"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--device", "cuda:9"], "device 'cuda:9' is not usable"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--accumulation", "7"], "must be a multiple of processes"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--mean", "0.5", "0.5", "--std", "1", "1"], "mean and std"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--crop-scale", "0.5", "0.2"], "crop_scale must"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--workers", "-1"], "workers must"),
    (["pretrain", "sample", "--out", "{out}", "--recipe", "nothing"], "recipe 'nothing' is not known"),
    (["pretrain", "sample", "--out", "{out}", "--config", "{tmp}/no.yaml"], "cannot be read as YAML"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--resume", "{tmp}/no"], "is no checkpoint"),
    (["pretrain", "sample", "--out", "{file}/run", *RECIPE], "cannot be written"),
    (["probe", "sample", "--weights", "{tmp}/no"], "neither a run folder"),
    (["probe", "sample", "--weights", "{file}"], "no whole file"),
    (["embed", "sample", "--weights", "{tmp}", "--out", "{tmp}/a.npy"], "neither a run folder"),
    (["embed", "sample", "--weights", "{tmp}", "--out", "{tmp}/a.txt"], "must end in .npy"),
    (["cost", "--drop-ratio", "1.0"], "drop_ratio must lie in [0, 1)"),
    (["cost", "--model", "eva02_tiny_patch14_224"], "got Eva"),
    (["cost", "--pretrain", "--drop-ratio", "0.2"], "drop_ratio 0.2 is for classifying"),
    (["demo", "--steps", "-3", "--out", "{out}"], "steps must be positive, got -3"),
    (["doctor", "now"], "now"),
]


@pytest.mark.parametrize(
    ("words", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_input_is_one_line_exit_2_and_leaves_nothing(capsys, tmp_path, words, message):
    (tmp_path / "file").write_text("no folder")
    places = {"tmp": str(tmp_path), "out": str(tmp_path / "run"), "file": str(tmp_path / "file")}
    status, out, err = call(capsys, *(word.format(**places) for word in words))
    assert status == 2 and message in err
    assert len(err.strip().splitlines()) == 1 and err.startswith("pcae: ") and "Traceback" not in err + out
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_cost_as_json(capsys):
    status, out, _ = call(capsys, "cost", "--model", "vit_base_patch16_224", "--drop-ratio", "0.4", "--json")
    result = json.loads(out)
    assert status == 0 and result["gmacs"] == pytest.approx(9.53, abs=0.02) and result["tokens"][-1] == 46


def test_doctor_as_json(capsys):
    assert json.loads(call(capsys, "doctor", "--json")[1])["pcae"] == "0.1.0"


def test_it_is_installed_as_a_command():
    pcae = Path(sys.executable).parent / "pcae"
    done = subprocess.run([pcae, "cost", "--drop-ratio", "2"], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pcae: drop_ratio must lie in [0, 1), got 2.0\n"
