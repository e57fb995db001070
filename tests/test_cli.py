import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from pcae.cli import SHELLS, main
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.settings.network import EncoderConfig
from pcae.settings.verbs import VERBS
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.words import parse
from pcae.weights.files import save_model

RECIPE = ["--recipe", "sample"]
STATISTICS = ["--mean", "0.5", "0.5", "0.5", "--std", "0.2", "0.2", "0.2"]


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


def test_no_help_no_refusal_and_no_script_waits_for_torch():
    lines = [f"{verb} {help}" for verb in VERBS for help in ("--help", "--help-all")]
    lines += ["", "detect --help", "recipes", "recipes --json", *(f"completion {shell}" for shell in SHELLS)]
    lines += ["pretrian", "pretrain sample --out run --mask-ration 0.5", "pretrain sample", "finetune x --steps half"]
    lines += [
        "detect train coco --out run --recipe nothing",
        "embed x --weights w --out a.npy --workers -1",
        "pretrain x --out y --config no.yaml",
    ]
    done = subprocess.run([sys.executable, "-c", INSTANT, *lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


INSTANT = """
import contextlib, sys
from pcae.cli import main
for line in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        main(line.split())
    heavy = {"torch", "timm", "numpy"} & sys.modules.keys()
    assert not heavy, (line, heavy)
"""


def test_python_dash_m_works():
    done = subprocess.run([sys.executable, "-m", "pcae", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "0.1.0"


def test_flags_before_config_before_recipe_before_defaults(tmp_path):
    (tmp_path / "mine.yaml").write_text("batch-size: 128\nwidth: 64\nseed: 5\n")
    words = ["--seed", "7", "sample", "--out", "run", "--config", str(tmp_path / "mine.yaml"), *RECIPE]
    for order in (words, [*words[5:], *words[:5]], [*words[2:], "--seed=7"]):
        config = parse(PretrainConfig, order, "pcae pretrain")
        assert (config.run.seed, config.run.batch_size, config.encoder.width) == (7, 128, 64)
        assert config.encoder.patch_size == 4 and config.method.teacher.momentum == 0.999


def test_steps_and_epochs_replace_each_other(tmp_path):
    """The recipe `sample` says steps, `vit-b-224` says epochs; who sets the other one means it."""
    (tmp_path / "mine.yaml").write_text("steps: 7\n")
    config, large = ["--config", str(tmp_path / "mine.yaml")], ["sample", "--recipe", "vit-b-224"]
    for words, expected in (
        ([*RECIPE, "--epochs=2"], (2.0, None)),
        ([*large, "--steps", "3"], (None, 3)),
        ([*large, *config], (None, 7)),
        ([*large, *config, "--epochs", "1"], (1.0, None)),
    ):
        run = parse(PretrainConfig, [*words, "--out", "o"], "p").run
        assert (run.epochs, run.steps) == expected


def test_dashes_and_underscores_are_the_same():
    for flag in ("--mask-ratio", "--mask_ratio"):
        assert parse(PretrainConfig, ["x", "--out", "o", flag, "0.5"], "p").method.mask_ratio == 0.5


def test_a_recipes_data_needs_no_positional():
    assert parse(PretrainConfig, [*RECIPE, "--out", "o"], "p").data == "sample"
    assert parse(PretrainConfig, ["photos", *RECIPE, "--out", "o"], "p").data == "photos"


FINE = ["--recipe", "finetune-small", "--steps", "1", "--batch-size", "4", "--device", "cpu"]
WRONG = [
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--width", "100", "--heads", "3"], "does not work with"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--heads", "5"], "does not work with"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--decoder-heads", "0"], "decoder_heads must be at least 1"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--clip-grad", "-1"], "clip_grad must be positive"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--seed", "-1"], "seed must lie in [0, 2^63), got -1"),
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
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--model", "resnet18"], "model 'resnet18': only timm's"),
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
    (["probe", "sample", "--weights", "{file}"], "no whole safetensors file"),
    (["embed", "sample", "--weights", "{tmp}", "--out", "{tmp}/a.npy"], "neither a run folder"),
    (["embed", "sample", "--weights", "{tmp}", "--out", "{tmp}/a.txt"], "must end in .npy"),
    (["cost", "--drop-ratio", "1.0"], "drop_ratio must lie in [0, 1)"),
    (["cost", "--model", "cait_xxs24_224"], "got Cait"),
    (["cost", "--pretrain", "--drop-ratio", "0.2"], "drop_ratio 0.2 is for classifying"),
    (["demo", "--steps", "-3", "--out", "{out}"], "steps must be positive, got -3"),
    (["doctor", "now"], "now"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--method", "maee"], "--method takes one of pcae, mae"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--method", "mae", "--stages", "2"], "stages 2 is no setting"),
    (
        ["pretrain", "sample", "--out", "{out}", *RECIPE, "--method", "simmim", "--decoder-width", "64"],
        "has no decoder",
    ),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--placement", "7"], "placement must be one of 1, 2, 3, 4, 5"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--criterion", "best"], "--criterion takes one of"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--random-targets", "5"], "random_targets must lie in [1, 4]"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--stages-after", "0", "9"], "blocks [9] are named"),
    (["pretrain", "sample", "--out", "{out}", "--init", "{tmp}/no"], "neither a run folder"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--method", "mae", "--teacher", "{tmp}/no"], "neither a run"),
    (["cost", "--pretrain", "--method", "mae", "--keep-ratio", "0.3"], "keep_ratio 0.3 is no setting of method mae"),
    (["cost", "--method", "mae"], "need --pretrain"),
    (["compare", "sample", "--out", "{out}"], "give either --rows FILE or --table N"),
    (["compare", "sample", "--out", "{out}", "--table", "1", "--rows", "{rows}"], "give either --rows FILE or --table"),
    (["compare", "--out", "{out}", "--table", "2"], "Table 2 is detection on COCO, for `pcae detect train`"),
    (["compare", "--out", "{out}", "--table", "16"], "the paper has Tables 1 to 15"),
    (["compare", "--out", "{out}", "--table", "3", "--scale", "paper"], "missing: DATA; --scale paper needs"),
    (["compare", "--out", "{out}", "--rows", "{rows}"], "missing: DATA; --rows needs"),
    (["compare", "sample", "--out", "{out}", "--rows", "{tmp}/no.yaml"], "cannot be read"),
    (["compare", "sample", "--out", "{out}", "--rows", "{unknown}"], "must hold `rows:`"),
    (["compare", "sample", "--out", "{out}", "--rows", "{twice}"], "has two rows named 'A'"),
    (["compare", "sample", "--out", "{out}", "--rows", "{badrow}"], "row A: unknown key 'mask-ration'; did you mean"),
    (["compare", "sample", "--out", "{out}", "--rows", "{ownseed}"], "row A: seed is the comparison's to set"),
    (["compare", "{tmp}/nowhere", "--out", "{out}", "--rows", "{rows}"], "neither a folder"),
    (["compare", "{photos}", "--out", "{out}", "--rows", "{rows}"], "label"),
    (
        ["compare", "sample", "--out", "{out}", "--rows", "{rows}", "--seeds", "1", "1"],
        "seeds needs at least one value",
    ),
    (
        ["compare", "sample", "--out", "{out}", "--rows", "{rows}", "--seeds", "-1"],
        "seeds must lie in [0, 2^63), got -1",
    ),
    (["compare", "sample", "--out", "{out}", "--rows", "{rows}", "--measures", "best"], "--measures takes some of"),
    (["compare", "sample", "--out", "{out}", "--rows", "{rows}", "--epochs", "0"], "epochs must be positive, got 0"),
    (["compare", "sample", "--out", "{out}", "--rows", "{rows}", "--epochs", "1", "--seconds", "1"], "not both"),
    (["compare", "sample", "--out", "{file}/x", "--rows", "{rows}"], "cannot be written"),
    (["probe", "sample", "--weights", "{tmp}/no", "--most-images", "0"], "most_images must be at least 1"),
    (["index", "{tmp}", "{tmp}/a.json"], "holds none"),
    (["index", "{tmp}/no.tar", "{tmp}/a.json"], "cannot be streamed"),
    (["index", "{tmp}", "{tmp}/a.txt"], "must end in .json"),
    (["index", "{tmp}", "{tmp}/a.json", "--threads", "0"], "threads must lie in [1, 1024], got 0"),
    (["index", "ftp://host/a.tar", "{tmp}/a.json"], "is none that is read"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--lanes", "4"], "lanes 4 is for streams; add --stream"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--shuffle", "9"], "shuffle 9 is for streams; add --stream"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--shuffle", "0"], "shuffle must be at least 1, got 0"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--stream"], "'sample' cannot be streamed"),
    (["pretrain", "s3://b/{{0..9}}.tar", "--out", "{out}", *RECIPE], "is read by an index"),
    (["finetune", "sample", "--weights", "x", "--out", "{out}", *FINE, "--stream"], "stream is for pretrain"),
    (["benchmark", "--rows", "mae", "--against", "simmim"], "against simmim is not among the rows mae"),
    (["benchmark", "--rows", "mae", "mae"], "rows has a name twice"),
    (["benchmark", "--rows", "best"], "--rows takes some of"),
    (["benchmark", "--rounds", "0"], "rounds must lie in [1, 1000000], got 0"),
    (["benchmark", "--batch-size", "0"], "batch_size must lie in [1, 1000000], got 0"),
    (["benchmark", "--out", "{tmp}/a.txt"], "must end in .json"),
    (["benchmark", "--device", "cuda:9"], "device 'cuda:9' is not usable"),
    (["benchmark", "--patch-scale", "2"], "patch_scale 2 does not change the speed"),
    (["benchmark", "--batch-size", "99999999999999999999"], "batch_size must lie in [1, 1000000], got 9999"),
    (["benchmark", "--steps", "0"], "steps must lie in [1, 1000000], got 0"),
    (["benchmark", "--mode", "loader"], "mode loader reads images; give --data DATA"),
    (["benchmark", "--mode", "loader", "--data", "sample", "--depth", "3"], "depth 3 is no setting of mode loader"),
    (["benchmark", "--mode", "loader", "--data", "{tmp}/gone"], "neither a folder"),
    (["benchmark", "--mode", "loader", "--data", "{torn}"], "1 of 1 images cannot be read"),
    (["benchmark", "--mode", "best"], "--mode takes one of train, loader, inference, got 'best'"),
    (["benchmark", "--workers", "2"], "workers 2 is for reading images; give --data DATA"),
    (["benchmark", "--drop-ratios", "0", "0.2"], "drop_ratios 0.0 0.2 is no setting of mode train"),
    (["benchmark", "--mode", "inference", "--data", "sample"], "data sample is no setting of mode inference"),
    (["benchmark", "--mode", "inference", "--drop-ratios", "0.2"], "drop_ratios must have 0"),
    (["benchmark", "--mode", "inference", "--drop-ratios", "0", "1"], "drop_ratio must lie in [0, 1)"),
    (["benchmark", "--mode", "inference", "--batch-sizes", "1", "0"], "batch_sizes must lie in [1, 1000000], got 0"),
    (["benchmark", "--mode", "inference", "--batch-sizes", "2", "2"], "batch_sizes has a value twice: 2 2"),
    (["benchmark", "--against", "mae-repo"], "which benchmarks/peers.py measures"),
    (["benchmark", "--mae-repo", "{empty}"], "which benchmarks/peers.py measures"),
    (["benchmark", "--pcae-repo", "{tmp}/no"], "which benchmarks/peers.py measures"),
    # every verb, and what each of them takes
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--steps", "x"], "--steps takes a whole number, got 'x'"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--epochs", "inf"], "epochs must be"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--image-size", "28"], "takes 2 whole numbers, got '28'"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--target-norm", "x"], "takes one of token, none, got 'x'"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--json", "yes"], "yes"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--seeds", "1"], "unknown flag --seeds; did you mean --seed?"),
    (["pretrain", "sample", "--out="], "an empty value was given for --out"),
    (["pretrain", "", "--out", "{out}"], "an empty value was given"),
    (["pretrain", "sampel", "--out", "{out}"], "did you mean 'sample'?"),
    (["pretrain", "sample", "--out", "/proc/pcae", *RECIPE], "cannot be written"),
    (["pretrain", "sample", "--out", "{file}", *RECIPE], "cannot be written"),
    (["pretrain", "{photos}", "--out", "{photos}/run", *RECIPE], "lies inside the data"),
    (
        ["pretrain", "{photos}", "--out", "{out}", *RECIPE, "--channels", "5"],
        "it has 3 channels, not 5",
    ),
    (["pretrain", "{photos}", "--out", "{out}", *RECIPE, "--pixel-range", "1", "0"], "pixel_range must be"),
    (
        ["pretrain", "{photos}", "--out", "{out}", *RECIPE, "--max-bad-files", "1"],
        "max_bad_files must lie in [0, 1), got 1",
    ),
    (["pretrain", "{torn}", "--out", "{out}", *RECIPE], "1 of 1 images cannot be read: "),
    (["pretrain", "{torn}", "--out", "{out}", *RECIPE, *STATISTICS], "100 images in a row cannot be read"),
    (["pretrain", "{list}", "--out", "{out}", *RECIPE], "gone.jpg', which is no file"),
    (["pretrain", "sample", "--out", "{out}", "--config", "{unknown}"], "unknown key 'batchsize'; did you mean"),
    (["pretrain", "sample", "--out", "{out}", "--config", "{typed}"], "steps takes a whole number, got 'many'"),
    (["pretrain", "sample", "--out", "{out}", "--recipe", "samples"], "choose from auto, continue, demo, "),
    (["pretrain", "{tmp}/gone", "--out", "{out}", "--recipe", "auto"], "neither a folder"),
    (["probe", "sample", "--weights", "{other}"], "holds no encoder of pcae's"),
    (["probe", "sample", "--weights", "{half}"], "is no whole safetensors file"),
    (["probe", "sample", "--weights", "{strange}"], "holds no encoder: no patch_embed.proj.weight among conv.weight"),
    (["probe", "{photos}", "--weights", "{whole}"], "has no labels"),
    (["probe", "sample", "--weights", "{whole}", "--k", "0"], "k must be at least 1, got 0"),
    (["probe", "sample", "--weights", "{whole}", "--pool", "max"], "--pool takes some of mean, cls, got 'max'"),
    (["probe", "sample"], "--weights"),
    (
        ["embed", "{photos}", "--weights", "{whole}", "--out", "{tmp}/gone/a.npy"],
        "cannot be written: there is no folder ",
    ),
    (["embed", "{photos}", "--weights", "{whole}", "--out", "{photos}/a.csv"], "must end in .npy or .parquet"),
    (
        ["embed", "{photos}", "--weights", "{whole}", "--out", "{tmp}/a.npy", "--workers", "-1"],
        "workers must be 0 or more",
    ),
    (["embed", "{torn}", "--weights", "{whole}", "--out", "{tmp}/a.npy"], "1 of 1 images cannot be read"),
    (["check-data", "{tmp}/gone"], "neither a folder"),
    (["check-data", "{empty}"], "holds no image files"),
    (["check-data", "{photos}", "--out", "{tmp}/a.txt"], "must end in .html"),
    (["check-data", "{photos}", "--out", "{tmp}/gone/a.html"], "cannot be written"),
    (["check-data", "{photos}", "--alike", "0"], "alike must lie in (0, 1], got 0"),
    (["check-data", "{photos}", "--validation", "{empty}"], "holds no image files"),
    (["check-data", "{photos}", "--workers", "many"], "--workers takes a whole number, got 'many'"),
    (["check-data"], "DATA"),
    (["pack"], "missing: DATA, OUT; see --help"),
    (["pack", "{photos}"], "missing: OUT; see --help"),
    (["pack", "{tmp}/gone", "{out}"], "neither a folder"),
    (["pack", "{empty}", "{out}"], "holds no image files"),
    (["pack", "{torn}", "{out}"], "1 of 1 images cannot be read: "),
    (["pack", "{photos}", "{photos}/packed"], "lies inside the data"),
    (["pack", "{photos}", "{tmp}"], "holds 'file' of another program"),
    (["pack", "{photos}", "{file}"], "cannot be written"),
    (["pack", "{photos}", "{file}/out"], "cannot be written"),
    (["pack", "{photos}", "{out}", "--form", "npz"], "--form takes one of pixels, jpeg, got 'npz'"),
    (["pack", "{photos}", "{out}", "--form", "jpeg", "--channels", "4"], "form jpeg holds 1 or 3 channels, got 4"),
    (["pack", "{photos}", "{out}", "--quality", "90"], "quality is no setting of form pixels"),
    (["pack", "{photos}", "{out}", "--side", "0"], "side must be at least 1, got 0"),
    (["pack", "{photos}", "{out}", "--side", "9999999"], "GB are wanted and"),
    (["pack", "{photos}", "{out}", "--sides", "9"], "unknown flag --sides; did you mean --side?"),
    (["check_data", "{photos}"], "unknown verb 'check_data'; did you mean 'check-data'?"),
    (["diversity"], "missing: "),
    (["diversity", "{tmp}/gone"], "neither a folder"),
    (["diversity", "{torn}", "--image-size", "32", "32", "--model", "vit_tiny_patch16_224"], "1 of 1 images cannot be"),
    (["diversity", "sample", "--weights", "{tmp}/no"], "neither a run folder"),
    (["diversity", "sample", "--weights", "{whole}", "--seeds", "0"], "seeds must lie in [1, 1000], got 0"),
    (["diversity", "sample", "--weights", "{whole}", "{whole}"], "weights needs at least one value, and each once"),
    (["diversity", "sample", "--weights", "{whole}", "--labels", "a", "b"], "labels must give each of 1 weights"),
    (["diversity", "sample", "--weights", "{whole}", "--model", "vit_base_patch16_224"], "is for random weights alone"),
    (["diversity", "sample", "--model", "vit_bass_patch16_224"], "'vit_bass_patch16_224' is not known to timm"),
    (["diversity", "sample", "--image-size", "30", "28"], "image_size (30, 28) must be a positive multiple of"),
    (["diversity", "sample", "--weights", "{whole}", "--stages", "0"], "stages must be at least 1, got 0"),
    (["diversity", "sample", "--weights", "{whole}", "--stages", "99"], "stages must lie in [0, "),
    (["diversity", "sample", "--weights", "{whole}", "--keep-ratio", "1"], "keep_ratio must lie in (0, 1), got 1"),
    (["diversity", "sample", "--weights", "{whole}", "--keep-ratio", "nan"], "keep_ratio must lie in (0, 1), got nan"),
    (["diversity", "sample", "--weights", "{whole}", "--keep-ratio", "0.999999999999"], "drops none of 49 tokens"),
    (["diversity", "sample", "--weights", "{whole}", "--keep-ratio", "0.01"], "leaves none; keep more"),
    (["diversity", "sample", "--weights", "{whole}", "--reductions", "best"], "--reductions takes some of none"),
    (["diversity", "sample", "--weights", "{whole}", "--reductions", "ptr", "ptr"], "reductions needs at least one"),
    (["diversity", "sample", "--weights", "{whole}", "--most-images", "0"], "most_images must be at least 1, got 0"),
    (["diversity", "sample", "--weights", "{whole}", "--out", "{file}/x"], "cannot be written"),
    (["diversity", "{photos}", "--weights", "{whole}", "--out", "{photos}/x"], "lies inside the data"),
    (["diversity", "sample", "--weights", "{whole}", "--device", "tpu9"], "device 'tpu9' is not usable"),
    (["cost", "--model", "vit_base"], "'vit_base' is not known to timm"),
    (["cost", "--drop-ratio"], "--drop-ratio takes a number, got nothing"),
    (["demo", "--out", "{file}"], "cannot be written"),
    (["demo", "--device", "tpu9"], "device 'tpu9' is not usable"),
    (["pretrain", "~nobody-here/photos", "--out", "{out}", *RECIPE], "names the home of a user who is not here"),
    (["probe", "sample", "--weights", "~nobody-here/run"], "names the home of a user who is not here"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--epochs", "1e308"], "more than any run can make"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--warmup-epochs", "1e308"], "more than any run can make"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--seed", "99999999999999999999"], "seed must lie in [0, 2^63)"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--device", "meta"], "device 'meta' is not usable"),
    (["pretrain", "sample", "--out", "{out}", *RECIPE, "--mean", "nan", "--std", "1"], "mean and std must be numbers"),
    (["pretrain", "sample", "--out", "{out}/a/b", *RECIPE, "--precision", "fp64"], "one of auto, bf16, fp32"),
    (["pretrain", "{torn}", "--out", "{out}/a/b", *RECIPE, *STATISTICS], "100 images in a row cannot be read"),
    # fine-tuning and what follows it
    (["finetune", "{labelled}", "--out", "{out}", *FINE], "weights are missing; give --weights W, or --from-scratch"),
    (["finetune", "{photos}", "--weights", "{whole}", "--out", "{out}", *FINE], "has no labels; use a folder with"),
    (["finetune", "{single}", "--weights", "{whole}", "--out", "{out}", *FINE], "has one class only, 'one'"),
    (["finetune", "{odd}", "--weights", "{whole}", "--out", "{out}", *FINE], "of classes that no training image has"),
    (["finetune", "{labelled}", "--weights", "{half}", "--out", "{out}", *FINE], "no whole safetensors file"),
    (["finetune", "{labelled}", "--weights", "{strange}", "--out", "{out}", *FINE], "holds no encoder"),
    (["finetune", "{labelled}", "--weights", "timm:resnet18", "--out", "{out}", *FINE], "got ResNet"),
    (
        ["finetune", "{labelled}", "--weights", "timm:vit_tin", "--out", "{out}", *FINE],
        "'vit_tin' is not known to timm",
    ),
    (
        ["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--width", "48"],
        "use --from-scratch",
    ),
    (
        ["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--image-size", "30", "28"],
        "image_size (30, 28) must be a positive multiple of the patch size (4, 4)",
    ),
    (
        ["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--drop-ratio", "1"],
        "drop_ratio must",
    ),
    (
        ["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--drop-ratio", "0.99"],
        "leaves none",
    ),
    (["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--drop-ratio", "a:b"], "got 'a:b'"),
    (  # 0.5 could be had, but not 0.45 on the way there
        [
            *["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--image-size", "16", "24"],
            *["--criterion", "bipartite", "--reduce-after", "0", "1", "2", "--drop-ratio", "0.5"],
            *["--drop-ramp-epochs", "9"],
        ],
        "use a drop ratio of 0.42 at most",
    ),
    (
        [
            "finetune",
            "{labelled}",
            "--weights",
            "{whole}",
            "--out",
            "{out}",
            *FINE,
            "--mixup",
            "1",
            "--batch-size",
            "3",
        ],
        "need an even number of images in a micro-batch, got 3",
    ),
    (
        ["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--auto-augment", "x"],
        "auto_augment 'x' is no policy of timm's",
    ),
    (["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--erasing", "2"], "erasing must lie"),
    (["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--crop-pct", "0"], "crop_pct must"),
    (["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", *FINE, "--ema", "1"], "ema must lie in"),
    (
        ["finetune", "{labelled}", "--weights", "{whole}", "--out", "{out}", "--recipe", "vit-ti-64"],
        "'vit-ti-64' is for another verb; choose from auto, finetune-",
    ),
    (["finetune", "{labelled}", "--weights", "{whole}", "--out", "{labelled}/run", *FINE], "lies inside the data"),
    (["finetune", "{labelled}", "--weights", "{whole}", "--out", "{file}/run", *FINE], "cannot be written"),
    (["finetune", "{labelled}", "--weights", "{code}", "--out", "{out}", *FINE], "code.pth"),
    (["evaluate", "{labelled}", "--weights", "{whole}"], "encoder without a classifier; fine-tune it first"),
    (["predict", "{photos}", "--weights", "{whole}"], "encoder without a classifier; fine-tune it first"),
    (["evaluate", "{labelled}"], "--weights"),
    (["export", "--weights", "{whole}", "--to", "tflite", "--out", "{tmp}/a"], "--to takes one of onnx"),
    (["export", "--weights", "{whole}", "--to", "onnx", "--out", "{tmp}/a.txt"], "must end in .onnx"),
    (["export", "--weights", "{whole}", "--to", "timm", "--out", "{tmp}/a", "--drop-ratio", "0.3"], "drop"),
    (["embed", "{photos}", "--weights", "{code}", "--out", "{tmp}/a.npy"], "code.pth"),
    (["report"], "missing: "),
    (["report", "{tmp}/gone"], "is no run folder: it has no config.yaml"),
    (["report", "{photos}"], "is no run folder: it has no config.yaml"),
    (["report", "{whole}"], "is no run folder: it has no config.yaml"),
    (["report", "~nobody-here/run"], "names the home of a user who is not here"),
    (["report", "{photos}", "--epochs", "3"], "unknown flag --epochs"),
    (["report", "{photos}", "{photos}"], "unexpected"),
    (["show", "{photos}"], "missing: "),
    (["show", "{tmp}/gone", "--weights", "{whole}", "--out", "{out}"], "neither a folder"),
    (["show", "{empty}", "--weights", "{whole}", "--out", "{out}"], "holds no image files"),
    (["show", "{torn}", "--weights", "{whole}", "--out", "{out}"], "1 of 1 images cannot be read: "),
    (["show", "{photos}", "--weights", "{tmp}/no", "--out", "{out}"], "neither a run folder"),
    (["show", "{photos}", "--weights", "{half}", "--out", "{out}"], "no whole safetensors file"),
    (["show", "{photos}", "--weights", "{code}", "--out", "{out}"], "code.pth"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{photos}/out"], "lies inside the data"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{file}/out"], "cannot be written"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--most-images", "201"], "must lie in [1, 200]"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--modes", "half"], "--modes takes some of masked"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--modes", "classifier"], "is for a fine-tuned"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--drop-ratio", "0.3"], "for mode classifier"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--mask-ratio", "1.5"], "mask_ratio must lie in"),
    (
        ["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--keep-ratio", "0"],
        "keep (keep_ratio) must lie in (0, 1]",
    ),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--keep-ratio", "0.9999999999999"], "drop nothing"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--keep-ratio", "0.02"], "leaves none"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--criterion", "best"], "--criterion takes one of"),
    (["show", "{photos}", "--weights", "{whole}", "--out", "{out}", "--image-size", "30", "28"], "positive multiple"),
    (["detect", "foo"], "unknown verb 'detect foo'; did you mean 'detect"),
    (["detect", "--weights", "{whole}"], "unknown verb 'detect --weights'"),
    (["detect", "train"], "missing: DATA, --out"),
    (["detect", "train", "{tmp}/gone", "--from-scratch", "--out", "{out}"], "neither a folder nor a .json file"),
    (["detect", "train", "{photos}", "--from-scratch", "--out", "{out}"], "has no COCO annotations for train"),
    (["detect", "train", "{photos}", "--out", "{out}"], "weights are missing; give --weights W, or --from-scratch"),
    (["detect", "train", "{photos}", "--weights", "{tmp}/no", "--out", "{out}"], "neither a run folder"),
    (["detect", "train", "{photos}", "--out", "{out}", "--pyramid", "best"], "--pyramid takes one of fpn, simple"),
    (["detect", "train", "{photos}", "--out", "{out}", "--shortest-side", "9"], "did you mean --shortest-sides?"),
    (["detect", "train", "{photos}", "--out", "{out}", "--recipe", "sample"], "is for another verb"),
    (["detect", "evaluate", "{photos}", "--weights", "{whole}"], "holds no detector of pcae's"),
    (["detect", "evaluate", "{photos}", "--weights", "{half}"], "no whole safetensors file"),
    (["detect", "evaluate", "{photos}", "--weights", "{whole}", "--predictions", "{tmp}/a.txt"], "must end in .json"),
    (
        ["detect", "evaluate", "{photos}", "--weights", "{whole}", "--workers", "-1"],
        "workers must be 0 or more, got -1",
    ),
    (["detect", "predict", "{photos}", "--weights", "{whole}"], "missing: --out"),
    (["detect", "predict", "{photos}", "--weights", "{tmp}/no", "--out", "{out}"], "with detector.safetensors"),
    (["detect", "predict", "{photos}", "--weights", "{whole}", "--out", "{photos}/out"], "lies inside the data"),
    (
        ["detect", "predict", "{photos}", "--weights", "{whole}", "--out", "{out}", "--threshold", "1"],
        "in [0, 1), got 1",
    ),
    (["completion", "tcsh"], "completion is for one of bash, zsh, fish, got 'tcsh'"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, str]:
    """Weights that are whole, cut in half, of another architecture than they say, and of another kind of network."""
    root = tmp_path_factory.mktemp("weights")
    small = EncoderConfig(model="vit_tiny_patch16_224", image_size=(28, 28), patch_size=4, width=24, depth=3, heads=2)
    encoder = build_encoder(replace(small, channels=1))
    facts = PretrainedFacts(encoder=replace(small, channels=1), mean=[0.5], std=[0.2])
    save_model(root / "whole", encoder.vit, facts)
    save_model(root / "other", encoder.vit, replace(facts, encoder=replace(small, channels=1, depth=4)))
    (root / "half").write_bytes((root / "whole").read_bytes()[:5000])
    save_file({"conv.weight": encoder.vit.state_dict()["norm.weight"]}, root / "strange")
    torch.save({"model": Payload(str(root / "made"))}, root / "code.pth")
    files = {"code": "code.pth"}
    return {name: str(root / files.get(name, name)) for name in ("whole", "other", "half", "strange", "code")}


class Payload:
    """What makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, str]:
    """Images, lists and configurations, good and bad."""
    root = tmp_path_factory.mktemp("data")
    for name in ("photos", "torn", "empty"):
        (root / name).mkdir()
    for index in range(4):
        Image.effect_noise((40, 36), 60).convert("RGB").save(root / "photos" / f"{index}.png")
    for name, split, label in (
        *(("labelled", split, label) for split in ("train", "val") for label in ("one", "two")),
        *(("single", split, "one") for split in ("train", "val")),
        *(("odd", "train", label) for label in ("one", "two")),
        ("odd", "val", "three"),
    ):
        (root / name / split / label).mkdir(parents=True)
        Image.effect_noise((40, 36), 60).save(root / name / split / label / "a.png")
    (root / "torn" / "a.jpg").write_bytes(b"torn")
    (root / "list").with_suffix(".txt").write_text("gone.jpg\n")
    (root / "unknown.yaml").write_text("batchsize: 3\n")
    (root / "typed.yaml").write_text("steps: many\n")
    (root / "rows.yaml").write_text("rows: [{name: A, pretrain: {recipe: sample, steps: 1}}]\n")
    (root / "twice.yaml").write_text("rows: [{name: A}, {name: A}]\n")
    (root / "badrow.yaml").write_text("rows: [{name: A, pretrain: {mask-ration: 0.5}}]\n")
    (root / "ownseed.yaml").write_text("rows: [{name: A, pretrain: {seed: 3}}]\n")
    named = ("unknown", "typed", "rows", "twice", "badrow", "ownseed")
    files = {"list": "list.txt"} | {name: f"{name}.yaml" for name in named}
    folders = ("photos", "torn", "empty", "labelled", "single", "odd")
    return {name: str(root / files.get(name, name)) for name in (*folders, *files)}


@pytest.mark.parametrize(
    ("words", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_input_is_one_line_exit_2_and_leaves_nothing(
    capsys, tmp_path, monkeypatch, weights, data, words, message
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    places = {"tmp": str(tmp_path), "out": str(tmp_path / "run"), "file": str(tmp_path / "file"), **weights, **data}
    before = snapshot(tmp_path, *map(Path, data.values()))
    status, out, err = call(capsys, *(word.format(**places) for word in words))
    assert status == 2 and message in err
    lines = [line for line in err.strip().splitlines() if line.startswith("pcae: ")]
    assert len(lines) == 1 and err.strip().splitlines()[-1] == lines[0] and "Traceback" not in err + out
    assert snapshot(tmp_path, *map(Path, data.values())) == before
    assert not (Path(weights["code"]).parent / "made").exists()


def snapshot(*roots: Path) -> set[Path]:
    return {path for root in roots for path in [root, *root.rglob("*")]}


def test_a_folder_without_permission_to_write_is_refused(capsys, tmp_path, unprivileged, data):
    (tmp_path / "shut").mkdir(mode=0o555)
    with unprivileged(tmp_path):
        status, _, err = call(capsys, "pretrain", "sample", "--out", str(tmp_path / "shut" / "run"), *RECIPE)
        assert status == 2 and "cannot be written: Permission denied" in err.splitlines()[-1]
        status, _, err = call(capsys, "check-data", "sample", "--out", str(tmp_path / "shut" / "a.html"))
        assert status == 2 and "cannot be written" in err


@pytest.mark.parametrize("text", ["seed: !!bool maybe", 'seed: !!int ""', "seed: 2020-13-45", "[" * 5000, "a: &x [*x]"])
def test_what_only_looks_like_yaml_is_refused_by_the_files_name(capsys, tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    words = ["pretrain", "sample", "--out", str(tmp_path / "run"), "--config", str(tmp_path / "mine.yaml")]
    status, _, err = call(capsys, *words)
    assert status == 2 and err.startswith("pcae: ") and "mine.yaml" in err and len(err.splitlines()) == 1


def test_a_home_is_filled_in_wherever_a_path_is_taken(tmp_path, monkeypatch, data):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("out: ~/run\n")
    small = [*RECIPE, "--width", "24", "--depth", "3", "--heads", "2", "--batch-size", "4", "--steps", "1"]
    main(["pretrain", data["photos"], "--out=~/run", *small])
    main(["embed", data["photos"], "--weights", "~/run", "--out=~/a.npy"])
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "run", "a.npy", "a.files.json"}


def test_names_that_are_no_text_are_printed_all_the_same(tmp_path, monkeypatch):
    for name in (b"one\xff", b"two"):
        folder = tmp_path / "data" / os.fsdecode(name)
        folder.mkdir(parents=True)
        Image.effect_noise((9, 9), 50).save(folder / "a.png")
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="utf-8", errors="strict"))
    main(["check-data", str(tmp_path / "data"), "--workers", "0"])
    sys.stdout.flush()
    assert b"one\\udcff" in printed.getvalue()


def test_a_timestamp_is_a_seed(tmp_path, data):
    small = [*RECIPE, "--width", "24", "--depth", "3", "--heads", "2", "--batch-size", "4", "--steps", "1"]
    main(["pretrain", data["photos"], "--out", str(tmp_path / "run"), *small, "--seed", "20261124123456"])


def test_running_out_of_memory_is_told_with_a_remedy(capsys, monkeypatch):
    from pcae.commands import cost

    def run(_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB\nsee the documentation")

    monkeypatch.setattr(cost, "run", run)
    status, _, err = call(capsys, "cost")
    assert status == 2 and "try a smaller --batch-size" in err and len(err.splitlines()) == 1


def test_a_fault_of_our_own_is_not_hidden(monkeypatch):
    from pcae.commands import cost

    monkeypatch.setattr(cost, "run", lambda _: (_ for _ in ()).throw(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        main(["cost"])


def test_auto_picks_a_recipe_says_so_and_keeps_it(capsys, tmp_path, data):
    words = ["pretrain", data["photos"], "--out", str(tmp_path / "run"), "--recipe", "auto", "--steps", "1"]
    small = ["--width", "24", "--depth", "3", "--heads", "2", "--batch-size", "4"]
    status, _, err = call(capsys, *words, *small)
    assert status == 0 and "recipe auto: vit-ti-32 (4 images, shorter side about 36 pixels, cpu)" in err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["recipe"] == "vit-ti-32" and config["image_size"] == [32, 32] and config["width"] == 24
    (tmp_path / "run" / "summary.json").unlink()
    status, _, err = call(capsys, *words, *small, "--seed", "0")
    assert status == 0 and "recipe auto: vit-ti-32 (that of the run in" in err


def test_auto_in_a_file_and_from_python(tmp_path, data):
    import pcae

    (tmp_path / "mine.yaml").write_text("recipe: auto\nwidth: 24\nheads: 2\n")
    knobs = {"steps": 1, "batch_size": 4, "depth": 3, "device": "cpu"}
    for name, more in (("a", {"config": tmp_path / "mine.yaml"}), ("b", {"recipe": "auto", "width": 24, "heads": 2})):
        pcae.pretrain(data["photos"], tmp_path / name, **knobs, **more)
        config = yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        assert (config["recipe"], config["image_size"], config["width"]) == ("vit-ti-32", [32, 32], 24)


def test_cost_as_json(capsys):
    status, out, _ = call(capsys, "cost", "--model", "vit_base_patch16_224", "--drop-ratio", "0.4", "--json")
    result = json.loads(out)
    assert status == 0 and result["gmacs"] == pytest.approx(9.53, abs=0.02) and result["tokens"][-1] == 46


def test_doctor_as_json(capsys):
    assert json.loads(call(capsys, "doctor", "--json")[1])["pcae"] == "0.1.0"


def test_it_is_installed_as_a_command():
    pcae = Path(sys.executable).parent / "pcae"
    done = subprocess.run([pcae, "cost", "--drop-ratio", "half"], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pcae: --drop-ratio takes a number, got 'half'\n"


@pytest.mark.parametrize("words", [("demo",), ("detect", "predict", "sample", "--weights", "w", "--out", "out")])
def test_a_verb_that_shares_no_work_is_refused_in_several_processes(capsys, monkeypatch, words):
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, said = call(capsys, *words)
    assert status == 2 and "runs in one process, got 2; start it without torchrun" in said
