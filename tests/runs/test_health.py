"""The health of real runs: what is written down and warned of, and that a run that is not watched is the same."""

import json
import shutil

import pytest
import torch
import yaml

from pcae.cli import main
from pcae.runs import pretraining
from pcae.runs.health import Health, health_every
from pcae.settings.recipes import read_recipe
from pcae.settings.run import HealthConfig
from pcae.settings.values import build
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.training.checkpoint import read
from pcae.training.distributed import World
from pcae.training.logging import read_metrics
from pcae.training.plan import Plan
from tests import few
from tests.photographs import photographs
from tests.processes import succeed, together

pytestmark = pytest.mark.trains

TINY = [
    "--model", "vit_tiny_patch16_224", "--image-size", "28", "28", "--patch-size", "4", "--width", "24", "--depth", "4",
    "--heads", "2", "--decoder-width", "16", "--decoder-depth", "1", "--decoder-heads", "2", "--batch-size", "8",
    "--device", "cpu", "--log-every", "2",
]  # fmt: skip
NAMES = {"student_std", "student_rank", "target_std", "position_share"}
WITH_TEACHER = NAMES | {"teacher_std", "teacher_rank", "score_std", "teacher_student_cosine"}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> str:
    return few.labelled(tmp_path_factory.mktemp("few"))


def lines(out, start="health/"):
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if any(name.startswith(start) for name in line)]


def pretrain_sample(out, *words, steps="6"):
    main(["pretrain", "sample", "--out", str(out), *TINY, "--steps", steps, *words])


@pytest.mark.parametrize(("method", "names"), [("pcae", WITH_TEACHER), ("mae", NAMES)])
def test_the_numbers_stand_in_metrics_tensorboard_and_the_progress_line(tmp_path, capsys, method, names):
    out = tmp_path / "run"
    pretrain_sample(out, "--method", method, "--health-every", "2")
    found = lines(out)
    assert [line["step"] for line in found] == [0, 2, 4, 6]
    assert {name.removeprefix("health/") for name in found[0]} == names | {"step", "skipped"}
    said = capsys.readouterr().err
    assert "rank" in said and "of 24" in said and "gradient" in said
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(out / "tensorboard")).Reload()
    assert {f"health/{name}" for name in names} <= set(board.Tags()["scalars"])
    assert json.loads((out / "summary.json").read_text())["warnings"] == []


@pytest.mark.slow
def test_watching_changes_nothing_and_zero_never_looks(tmp_path, labelled):
    every = ["--health-every", "1", "--knn-data", labelled, "--knn-every", "0.001"]
    pretrain_sample(tmp_path / "watched", *every, "--checkpoint-every", "1", "--keep-checkpoints", "9")
    pretrain_sample(tmp_path / "alone", "--health-every", "0")
    one, two = (read(tmp_path / name / "encoder.safetensors")[0] for name in ("watched", "alone"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert not lines(tmp_path / "alone") and len(lines(tmp_path / "watched")) == 7
    probes = lines(tmp_path / "watched", "probe/")
    summary = json.loads((tmp_path / "watched" / "summary.json").read_text())
    assert [line["step"] for line in probes] == [0, 1, 2, 3, 4, 5, 6]
    assert summary["knn"] == probes[-1]["probe/knn"]
    best = max(probes[1:], key=lambda line: line["probe/knn"])["step"]
    state, _ = read(tmp_path / "watched" / "checkpoints" / f"step-{best:08d}.safetensors")
    kept = read(tmp_path / "watched" / "best-encoder.safetensors")[0]
    assert all(torch.equal(value, state[f"method.student.vit.{name}"]) for name, value in kept.items())


def test_no_look_stands_twice_after_a_resume(tmp_path):
    out = tmp_path / "run"
    pretrain_sample(out, "--health-every", "2", "--checkpoint-every", "2", "--keep-checkpoints", "9")
    for name in ("summary.json", "encoder.safetensors"):
        (out / name).unlink()
    (out / "checkpoints" / "step-00000006.safetensors").unlink()
    (out / "checkpoints" / "last").write_text("step-00000004.safetensors")
    pretrain_sample(out, "--health-every", "2")
    assert [line["step"] for line in lines(out)] == [0, 2, 4, 6]


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_checkpoint_looks_once_before_the_first_step(tmp_path, labelled):
    out = tmp_path / "run"
    pretrain_sample(out, "--health-every", "2", "--knn-data", labelled)
    for name in ("summary.json", "encoder.safetensors", "decoder.safetensors", "report.html"):
        (out / name).unlink()
    shutil.rmtree(out / "checkpoints")
    pretrain_sample(out, "--health-every", "2", "--knn-data", labelled)
    assert [line["step"] for line in lines(out)] == [0, 2, 4, 6]
    assert [line["step"] for line in lines(out, "probe/")] == [0, 6]


def test_warnings_are_written_down_and_stay_after_a_resume(tmp_path, capsys):
    out = copies(tmp_path, 3)
    words = ["pretrain", str(tmp_path / "copies"), "--out", str(out), *TINY, "--checkpoint-every", "2"]
    main([*words, "--steps", "4"])
    (warning,) = [line["says"] for line in read_metrics(out) if "warning" in line]
    (out / "summary.json").unlink()
    main([*words, "--steps", "4"])
    assert json.loads((out / "summary.json").read_text())["warnings"] == [warning]
    assert capsys.readouterr().err.count(warning) == 1


def test_a_run_that_blows_up_is_warned_of_and_goes_on(tmp_path):
    pretrain_sample(tmp_path / "run", "--health-every", "2", "--base-lr", "1e30", "--recipe", "sample")
    warnings = json.loads((tmp_path / "run" / "summary.json").read_text())["warnings"]
    assert len(warnings) == 2 and "features are not finite" in warnings[0] and "steps were skipped" in warnings[1]


@pytest.mark.slow
def test_a_run_stopped_before_its_summary_ends_with_its_last_probe(tmp_path, labelled):
    out = tmp_path / "run"
    for _ in range(2):
        pretrain_sample(out, "--knn-data", labelled)
        summary = json.loads((out / "summary.json").read_text())
        assert summary["knn"] == lines(out, "probe/")[-1]["probe/knn"]
        (out / "summary.json").unlink()


def test_images_of_the_probe_that_cannot_be_read_are_named_or_refused_at_the_start(tmp_path, capsys):
    for split, count in (("train", 6), ("val", 4)):
        for label, source in (("a", 0), ("b", 1)):
            folder = tmp_path / "labelled" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                photographs()[source].crop((0, 0, 60 + index, 60)).save(folder / f"{index}.png")
    (tmp_path / "labelled" / "val" / "a" / "torn.png").write_bytes(b"no picture")
    words = [
        "--knn-data",
        str(tmp_path / "labelled"),
        "--channels",
        "3",
        "--image-size",
        "32",
        "48",
        "--patch-size",
        "8",
    ]
    pretrain_sample(tmp_path / "run", *words, "--max-bad-files", "0.2")
    said = capsys.readouterr().err
    assert "torn.png" in said and said.count("left out of the probe") == 1
    with pytest.raises(SystemExit):
        pretrain_sample(tmp_path / "refused", *words, "--max-bad-files", "0.01")
    assert "torn.png" in capsys.readouterr().err and not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_pixels_are_held_against_the_features_at_the_start(tmp_path, labelled):
    from pcae.data.tables.labelled import open_labelled
    from pcae.evaluation.features import raw_pixels
    from pcae.evaluation.knn import knn_accuracies

    pretrain_sample(tmp_path / "run", "--knn-data", labelled, "--health-every", "0")
    first, *others = lines(tmp_path / "run", "probe/")
    splits = open_labelled(str(labelled), 1)
    size = tuple(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["image_size"])
    pixels, labels = ([of(images) for images in splits] for of in (lambda one: raw_pixels(one, size), labels_of))
    k = min(20, len(labels[0]))
    assert first["probe/knn_pixels"] == knn_accuracies(pixels[0], labels[0], pixels[1], labels[1], (k,))[k]
    assert all("probe/knn_pixels" not in line for line in others)


def labels_of(images):
    return torch.tensor(list(images.labels))


@pytest.mark.slow
def test_images_of_the_probe_that_go_missing_cost_a_probe_and_not_the_run(tmp_path, labelled, capsys, monkeypatch):
    from pcae.runs.online_probe import OnlineProbe

    encode, calls = OnlineProbe.encode, []

    def gone(self, *arguments):
        calls.append(1)
        if len(calls) == 5:  # the first of the second probe: at the start pixels are looked at, too
            raise ValueError("the disk is away")
        return encode(self, *arguments)

    monkeypatch.setattr(OnlineProbe, "encode", gone)
    pretrain_sample(tmp_path / "run", "--knn-data", labelled, "--knn-every", "0.0027", "--health-every", "0")
    assert "step 3: no nearest neighbours: the disk is away" in capsys.readouterr().err
    assert [line["step"] for line in lines(tmp_path / "run", "probe/")] == [0, 6]


def copies(tmp_path, count):
    """Images that are all the same, and a place for a run on them."""
    (tmp_path / "copies").mkdir()
    photograph = photographs()[0].resize((64, 64))
    for index in range(count):
        photograph.save(tmp_path / "copies" / f"{index}.png")
    return tmp_path / "run"


def test_the_usual_interval_costs_less_than_a_hundredth():
    def every(batch: int, images: int = 100_000, asked: int | None = None) -> int:
        return health_every(HealthConfig(health_every=asked), Plan(images, 1, 1, 1.0, batch, batch))

    assert (every(16), every(64), every(1024), every(16, images=32)) == (800, 200, 100, 200)
    assert (every(16, asked=7), every(16, asked=0)) == (7, 0)


def test_a_constant_data_set_is_named_before_the_first_step(tmp_path, capsys):
    out = copies(tmp_path, 20)
    main(["pretrain", str(tmp_path / "copies"), "--out", str(out), *TINY, "--steps", "2", "--health-every", "0"])
    assert "data set is constant" not in capsys.readouterr().err
    out = tmp_path / "watched"
    main(["pretrain", str(tmp_path / "copies"), "--out", str(out), *TINY, "--steps", "2"])
    said = capsys.readouterr().err
    assert said.index("the data set is constant") < said.index("step 2 of 2")
    assert "constant" in json.loads((out / "summary.json").read_text())["warnings"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--health-every", "-1"], "health_every must be"),
        (["--knn-every", "0", "--knn-data", "sample"], "knn_every must be positive"),
        (["--knn-data", "smaple"], "did you mean 'sample'"),
    ],
)
def test_wrong_values_are_refused_before_the_run_begins(tmp_path, capsys, words, said):
    with pytest.raises(SystemExit) as stop:
        pretrain_sample(tmp_path / "run", *words)
    assert stop.value.code == 2 and said in capsys.readouterr().err and not (tmp_path / "run").exists()


def run_of(tmp_path, name: str, **values):
    chosen = (
        read_recipe(PretrainConfig, "sample") | {"data": "sample", "out": tmp_path / name, "device": "cpu"} | values
    )
    return pretraining.train(build(PretrainConfig, chosen), World(0, 1, torch.device("cpu")))


def test_a_run_that_collapses_is_warned_of_and_says_what_to_try(tmp_path, capsys, monkeypatch):
    """All features are one and the same from the second look on."""
    measure, looks = Health.measure, []

    def planted(self, method):
        if looks:
            torch.nn.init.zeros_(method.student.vit.norm.weight)
        looks.append(method)
        return measure(self, method)

    monkeypatch.setattr(Health, "measure", planted)
    wrong = {"momentum": 0.0, "target_norm": "none", "batch_size": 8, "steps": 2, "health_every": 1}
    warning = run_of(tmp_path, "wrong", **wrong)["warnings"][0]
    assert "collapsed" in warning and "--momentum (now 0)" in warning and "--target-norm token" in warning
    assert " ".join(warning.split()) in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_two_processes_look_and_probe_as_one_does(tmp_path, labelled):
    """Each encodes its share of the labelled images; what is found stands once in the metrics, and is the same."""
    words = ["--steps", "4", "--health-every", "2", "--knn-data", labelled, "--knn-every", "0.002"]
    for processes in (1, 2):
        asked = ["pcae", "pretrain", "sample", "--out", str(tmp_path / str(processes)), *TINY, *words]
        succeed(*together(asked, processes))
    one, two = (lines(tmp_path / name, ("health/", "probe/")) for name in "12")
    assert [line["step"] for line in one] == [line["step"] for line in two] == [0, 0, 2, 2, 4, 4]
    for mine, other in zip(one, two, strict=True):
        assert mine == pytest.approx(other, abs=2e-3)
