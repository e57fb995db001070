"""The reduction that `pcae tune` finds: against trying everything, and as other verbs take it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from pcae.benchmarking.bench import Bench
from pcae.benchmarking.candidates import WHOLE, Candidate, rules_for
from pcae.cli import main
from pcae.data.crops import WholeImages
from pcae.data.images import open_images
from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.settings.trained import Rule, TrainedConfig
from pcae.settings.verbs.tune import TuneConfig
from pcae.weights.files import load, save_model
from tests.conftest import TINY
from tests.runs.test_finetuning import make_shapes

CLASSES = ["dark", "light", "striped"]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    """A classifier by the nearest mean of random features, whose own rule is none that is tried anyway; 60 images."""
    root = tmp_path_factory.mktemp("tune")
    make_shapes(root / "shapes", 40)
    torch.manual_seed(0)
    facts = PretrainedFacts(
        encoder=replace(TINY, channels=1, image_size=(32, 48)),
        mean=[0.3],
        std=[0.3],
        classes=CLASSES,
        global_pool="avg",
        rule=Rule(fold="leave", after=(2,)),
    )
    model = build_model(facts)
    pixels, right = all_images(root / "shapes")
    vit = model.encoder.vit.eval()
    with torch.no_grad():
        features = vit.forward_head(vit.forward_features(model.normalise(pixels)), pre_logits=True)
        means = torch.stack([features[right == label].mean(0) for label in range(3)])
        vit.head.weight.copy_(means)
        vit.head.bias.copy_(-(means**2).sum(1) / 2)
    save_model(root / "classifier.safetensors", model.encoder.vit, facts)
    return {"shapes": root / "shapes", "weights": root / "classifier.safetensors"}


def all_images(shapes: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels and labels, read one by one."""
    images = open_images(str(shapes), "test", 1)
    pixels = torch.stack([WholeImages(images, (32, 48))[index] for index in range(len(images))])
    return pixels, torch.tensor([CLASSES.index(Path(name).parent.name) for name in images.names])


def worth(candidate: Candidate) -> float:
    """A machine on which rules are worth a different share of what they save, so that speeds are known."""
    return 0.6 + 0.4 * ((len(str(candidate.rule)) * 7) % 10) / 10


@pytest.fixture
def machine(monkeypatch):
    """Speeds are made up: they come from multiply-accumulates and the rule; nothing is timed."""

    def speeds(bench, candidates, rounds):
        return {one: 1 + worth(one) * (bench.allowed(one) - 1) for one in candidates}, 0.01

    monkeypatch.setattr(Bench, "speeds", speeds)


def tuned(places, capsys, *words) -> dict:
    main(["tune", str(places["shapes"]), "--weights", str(places["weights"]), "--json", *map(str, words)])
    return json.loads(capsys.readouterr().out)


def near(places, rules, faster, within=0.05):
    """By rule, the shares of right answers at all drop ratios of about a speed, found by an independent loop."""
    model, (pixels, right) = load(places["weights"]), all_images(places["shapes"])
    bench, found = Bench(model, TuneConfig(data="", model=TrainedConfig(weights="")), pixels, right, Path()), {}
    for rule in rules:
        every = [Candidate(rule, step / 100) for step in range(1, bench.most(rule) + 1)]
        for one in every:
            if abs((1 + worth(one) * (bench.allowed(one) - 1)) / faster - 1) <= within:
                with torch.no_grad():
                    answers = model.classifier(one.drop_ratio, **vars(rule))(pixels).argmax(1)
                found.setdefault(rule, []).append(float((answers == right).double().mean()))
    return found


def test_it_finds_what_trying_everything_finds(places, tmp_path, capsys, machine, monkeypatch):
    """Where all rules are finalists: no share at the speed beats the chosen one but by the width of what is near."""
    monkeypatch.setattr("pcae.benchmarking.tune.FINALISTS", 99)
    words = ["--faster", 1.2, "--criteria", "mean-similarity", "bipartite", "--out", tmp_path / "a.yaml"]
    chosen = (found := tuned(places, capsys, *words))["chosen"]
    assert abs(chosen["times_as_fast"] / 1.2 - 1) <= 0.05
    every = near(places, rules_for(load(places["weights"]), ["mean-similarity", "bipartite"]), 1.2)
    assert max(min(shares) for shares in every.values()) <= chosen["share"] <= max(map(max, every.values()))
    assert max(row["images"] for row in found["tried"]) == 60


def test_the_file_is_what_other_verbs_take_and_says_where_it_holds(places, tmp_path, capsys, machine):
    found, file = tuned(places, capsys, "--faster", 1.15, "--out", tmp_path / "a.yaml"), tmp_path / "a.yaml"
    chosen, said = found["chosen"], yaml.safe_load(file.read_text())
    assert said == {name: chosen[name] for name in ("drop_ratio", *vars(Rule())) if chosen[name] is not None}
    assert all(word in file.read_text() for word in (str(places["weights"]), "PyTorch on cpu", "10 ms for 16 at once"))
    assert (tmp_path / "a.png").stat().st_size > 10_000
    words = ["--weights", str(places["weights"]), "--reduction", str(file), "--json"]
    main(["evaluate", str(places["shapes"]), *words, "--rounds", "0"])
    row = json.loads(capsys.readouterr().out)["rows"][-1]
    assert (row["drop_ratio"], row["top1"]) == (chosen["drop_ratio"], pytest.approx(chosen["share"]))
    few = [row["images"] for row in found["tried"]]
    assert min(few) < max(few) == found["images"] == 60
    assert {row["fold"] for row in found["tried"]} == {"leave", "pool", "merge"}  # its own rule is tried, too


def test_without_labels_the_whole_models_answers_are_right(places, tmp_path, capsys, machine):
    found = tuned(places, capsys, "--faster", 1.15, "--no-labels", "--out", tmp_path / "a.yaml")
    assert found["whole"] == 1 and found["counted"] == "answers of the whole model"


def test_milliseconds_are_a_speed_of_one_image(places, tmp_path, capsys, machine):
    """The whole model takes ten."""
    found = tuned(places, capsys, "--ms", 8, "--out", tmp_path / "a.yaml")
    assert found["batch_size"] == 1 and abs(found["chosen"]["times_as_fast"] / 1.25 - 1) <= 0.05


def test_the_fastest_that_loses_no_more(places, tmp_path, capsys, machine):
    found = tuned(places, capsys, "--at-most-lost", 5, "--out", tmp_path / "a.yaml")
    good = [row["times_as_fast"] for row in found["tried"] if row["share"] >= found["whole"] - 0.05]
    assert found["chosen"]["share"] >= found["whole"] - 0.05 and found["chosen"]["times_as_fast"] == max(good)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give one of --faster, --ms and --at-most-lost, got none"),
        (["--faster", 2, "--ms", 3], "got --faster and --ms"),
        (["--faster", 9], "9 times as fast cannot be had here: "),
        (["--ms", 11], "the whole model takes 10 ms here, no more than 11: drop nothing"),
        (["--faster", 2, "--runtime", "onnxruntime", "--precision", "bf16"], "leave it out"),
        (["--faster", 2, "--runtime", "onnxruntime", "--criteria", "random"], "use --runtime torch"),
        (["--faster", 2, "--out", "a.txt"], "a.txt"),
        (["--faster", 1], "faster"),
    ],
)
def test_what_cannot_be_is_one_line_and_writes_nothing(places, tmp_path, capsys, machine, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        tuned(places, capsys, *words)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and message in said
    assert not [*tmp_path.iterdir()]


def test_exactly_as_many_points_as_may_be_lost_are_not_too_many(places, tmp_path, capsys, machine, monkeypatch):
    """54 of 60 right less 3 of 60 is 0.85 but for rounding."""
    monkeypatch.setattr(Bench, "score", lambda bench, one, images=None: 0.85 if one != WHOLE else 0.9)
    words = ["--at-most-lost", 5, "--criteria", "bipartite", "--out", tmp_path / "a.yaml"]
    assert tuned(places, capsys, *words)["chosen"]["share"] == 0.85


@pytest.mark.parametrize(
    ("speed", "message"),
    [
        (0.7, "nothing that was measured is faster than the whole model (0.7 times); use that"),
        (1.77, "1.77 times was the nearest that was measured; ask for that"),
    ],
)
def test_what_is_said_of_a_speed_can_be_followed(places, tmp_path, capsys, monkeypatch, speed, message):
    """Less than 1.2 cannot be asked for where all are slower, nor is 1.77 too little."""
    monkeypatch.setattr(Bench, "speeds", lambda bench, candidates, rounds: (dict.fromkeys(candidates, speed), 0.01))
    with pytest.raises(SystemExit):
        tuned(places, capsys, "--faster", 1.2, "--criteria", "bipartite", "--out", tmp_path / "a.yaml")
    assert message in capsys.readouterr().err
    if speed > 1:
        tuned(places, capsys, "--faster", speed, "--criteria", "bipartite", "--out", tmp_path / "a.yaml")


def test_an_image_of_one_patch_is_left_whole(places, tmp_path, capsys, machine):
    with pytest.raises(SystemExit):
        tuned(places, capsys, "--faster", 1.2, "--image-size", 8, 8, "--out", tmp_path / "a.yaml")
    assert "no rule can drop any of the 1 patch tokens of an image; use the whole model" in capsys.readouterr().err


def test_a_picture_that_cannot_be_is_refused_before_the_search(places, tmp_path, capsys, machine):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(SystemExit):
        tuned(places, capsys, "--faster", 1.2, "--out", tmp_path / "a.yaml")
    assert "a.png' is a folder" in capsys.readouterr().err and not (tmp_path / "a.yaml").exists()


def test_the_most_that_can_be_had_is_said_and_can_be_had(places, tmp_path, capsys, machine):
    with pytest.raises(SystemExit):
        tuned(places, capsys, "--faster", 9, "--out", tmp_path / "a.yaml")
    most = float(re.search(r"here: ([\d.]+) times was the most", capsys.readouterr().err)[1])
    assert tuned(places, capsys, "--faster", most * 0.99, "--out", tmp_path / "a.yaml")["chosen"]["times_as_fast"] > 1


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_it_measures(places, tmp_path, capsys, runtime):
    """No speed is promised here: whatever it is, it is a time, and the answers are as many."""
    words = ["--criteria", "bipartite", "--at-most-lost", 99, "--rounds", 1, "--most-images", 16, "--runtime", runtime]
    found = tuned(places, capsys, *words, "--out", tmp_path / "a.yaml")
    assert found["milliseconds"] > 0 and found["images"] == 16 and found["runtime"] != "torch"
    assert all(row["times_as_fast"] > 0 for row in found["tried"]) and WHOLE.drop_ratio == 0


def test_an_encoder_is_no_classifier(places, tmp_path, capsys):
    encoder = build_model(PretrainedFacts(encoder=TINY, mean=[0.3] * 3, std=[0.3] * 3))
    save_model(tmp_path / "encoder.safetensors", encoder.encoder.vit, encoder.facts)
    with pytest.raises(SystemExit):
        main(["tune", str(places["shapes"]), "--weights", str(tmp_path / "encoder.safetensors"), "--faster", "2"])
    assert "fine-tune it first: pcae finetune" in capsys.readouterr().err
