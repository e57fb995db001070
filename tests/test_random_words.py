"""No random command line and no random YAML file gives a traceback or a half-written run folder."""

import contextlib
import io
import json
import math
import os
import random
import tarfile
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pcae.cli import main
from pcae.settings.values import kind, leaves
from pcae.settings.verbs import VERBS, config_of
from tests import shapes
from tests.processes import start

KNOBS = {verb: leaves(config_of(verb)) for verb in VERBS}
SMALL = [
    "--recipe", "sample", "--width", "24", "--depth", "3", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "4", "--steps", "1", "--device", "cpu",
]  # fmt: skip
SMALL_FINETUNE = ["--recipe", "finetune-small", "--batch-size", "4", "--steps", "1", "--device", "cpu"]
QUICK = [
    "--model", "vit_tiny_patch16_224", "--image-size", "32", "32", "--patch-size", "8", "--width", "24", "--depth", "2",
    "--heads", "2", "--batch-size", "2", "--rounds", "1", "--rows", "mae", "pcae-75",
]  # fmt: skip
SMALL_DETECTOR = [
    "--from-scratch", "--model", "vit_tiny_patch16_224", "--width", "24", "--depth", "4", "--heads", "2",
    "--pyramid-channels", "8", "--head-width", "16", "--mask-channels", "8", "--mask-convs", "1", "--shortest-sides",
    "48", "--longest-side", "64", "--sampled-proposals", "8", "--detections-per-image", "4", "--batch-size", "2",
    "--steps", "1", "--device", "cpu",
]  # fmt: skip
NEEDED = {
    "pretrain": ["{photos}", "--out", "{out}", *SMALL],
    "finetune": ["{photos}", "--weights", "{weights}", "--out", "{out}", *SMALL_FINETUNE],
    "evaluate": ["{photos}", "--weights", "{classifier}", "--rounds", "0"],
    "predict": ["{photos}", "--weights", "{classifier}"],
    "probe": ["{photos}", "--weights", "{weights}", "--k", "2", "--epochs", "1"],
    "benchmark": QUICK,
    "compare": ["{photos}", "--rows", "{rows}", "--out", "{out}"],
    "embed": ["{photos}", "--weights", "{weights}", "--out", "{out}.npy"],
    "export": ["--weights", "{weights}", "--to", "safetensors", "--out", "{out}.safetensors"],
    "report": ["{weights}", "--out", "{out}.html"],
    "check-data": ["{photos}", "--workers", "0"],
    "show": ["{photos}", "--weights", "{classifier}", "--out", "{out}", "--most-images", "1"],
    "diversity": ["{photos}", "--weights", "{weights}"],
    "pack": ["{photos}", "{out}", "--side", "8", "--workers", "0"],
    "index": ["{shards}", "{out}.json"],
    "detect train": ["{coco}", "--out", "{out}", *SMALL_DETECTOR],
    "detect evaluate": ["{coco}", "--weights", "{detector}"],
    "detect predict": ["{coco}/images", "--weights", "{detector}", "--out", "{out}"],
}
"""What a verb must be told, and what keeps it quick."""
VALUES = [
    "0", "1", "2", "3", "-1", "0.5", "1.5", "-0.5", "1e-3", "nan", "inf", "-inf", "1e400", "None", "True", "half",
    "mean", "cls", "none", "token", "fp32", "28", "32", "auto", "never", "ünï", "a b", "[1, 2]", "{", "=", "-", "@x",
    "{classifier}", "timm:vit_tiny_patch16_224x", "0:0.4",
    "sample", "vit_tiny_patch16_224", "resnet18", "vit_tin", "{photos}", "{gone}", "{file}", "{weights}", "{torn}",
    "{photos}/train/one/0.png",
    "~nobody/x", "1e308", "99999999999999999999", "/proc/x", "meta", "{empty}", "a.npy", "a.html",
]  # fmt: skip
LONG = {
    "epochs": ["0", "-1", "nan", "inf", "1e308", "x", "0.001"],
    "steps": ["0", "1", "2", "-1", "x", "1.5"],
    "seconds": ["0", "-1", "nan", "inf", "x", "0.001"],
    "rounds": ["0", "1", "2", "-1", "x"],
    "table": ["0", "2", "16", "-1", "x"],
    "compile": ["auto", "never", "x"],
    "shortest_side": ["0", "8", "32", "-1", "x"],
}
"""Knobs with which a random value would run for hours."""
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """What random words may point at."""
    root = tmp_path_factory.mktemp("places")
    (root / "empty").mkdir()
    for index in range(12):
        path = root / "photos" / ("train", "val")[index % 2] / ("one", "two")[index % 3 % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 36), 60).save(path)
    (root / "shards").mkdir()
    with tarfile.open(root / "shards" / "0.tar", "w") as tar:
        tar.add(root / "photos" / "train" / "one" / "0.png", "0.png")
    (root / "file").write_text("seed: 1\n")
    (root / "torn").write_bytes(b"no weights")
    knobs = {"recipe": "sample", "width": 24, "depth": 3, "heads": 2, "batch-size": 4, "steps": 1}
    file = {"pretrain": knobs, "probe": {"k": [2], "epochs": 1}, "measures": ["knn"], "rows": [{"name": "A"}]}
    (root / "rows").write_text(
        json.dumps(file | {"finetune": {"recipe": "finetune-small", "steps": 1, "batch-size": 4}})
    )
    main(["pretrain", "sample", "--out", str(root / "run"), *SMALL])
    words = ["--weights", str(root / "run"), "--out", str(root / "classifier"), *SMALL_FINETUNE]
    main(["finetune", str(root / "photos"), *words])
    for name in ("train", "val"):
        shapes.make(root / "coco", shapes.content(2), name)
    main(["detect", "train", str(root / "coco"), "--out", str(root / "detector"), *SMALL_DETECTOR])
    made = {name: str(root / name) for name in ("classifier", "coco", "detector")} | {"weights": str(root / "run")}
    return {name: str(root / name) for name in ("photos", "shards", "empty", "file", "torn", "gone", "rows")} | made


NUMBERS = {
    "whole number": ["0", "1", "2", "3", "4", "6", "8", "28", "-1"],
    "number": ["0", "0.25", "0.5", "1", "1.5", "-0.5", "1e-3", "nan", "inf"],
}


def values(verb: str, name: str) -> st.SearchStrategy[list[str]]:
    """Values of the kind that a knob takes, in the right number, three times in four; else anything."""
    anything = st.lists(st.sampled_from(VALUES), max_size=3)
    if name in LONG:
        return st.sampled_from(LONG[name]).map(lambda value: [value])
    wanted = kind(KNOBS[verb].get(name, str))
    if wanted.startswith("one of "):
        right = st.sampled_from(wanted.removeprefix("one of ").split(", ")).map(lambda value: [value])
    elif wanted == "true or false":
        right = st.just([])
    elif wanted.startswith("the word "):
        word, _, of = wanted.removeprefix("the word ").partition(" or a ")
        right = st.sampled_from([word, *NUMBERS[of]]).map(lambda value: [value])
    elif wanted.endswith(("number", "numbers")):
        count, _, of = wanted.removesuffix("s").partition(" ")
        least, most = {"a": (1, 1), "some": (1, 3), "2": (2, 2)}[count]
        right = st.lists(st.sampled_from(NUMBERS[of]), min_size=least, max_size=most)
    else:
        right = st.sampled_from(VALUES).map(lambda value: [value])
    return st.one_of(right, right, right, anything)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A verb, what it needs more often than not, and random flags with random values."""
    verb = draw(st.sampled_from([verb for verb in VERBS if verb != "demo"]))
    knobs = KNOBS[verb]
    words = verb.split()
    if draw(st.integers(0, 9)) or verb == "benchmark":  # whose own sizes take minutes
        words += NEEDED.get(verb, [])
    for _ in range(draw(st.integers(0, 2))):
        name = draw(
            st.sampled_from([*sorted(knobs.keys() - {"workers", "data", "out", "dry_run"}), "no_such_knob", "seeed"])
        )
        flag = f"--{name}" if draw(st.booleans()) else f"--{name.replace('_', '-')}"
        found = draw(values(verb, name))
        if name == "epochs" and "--steps" in words:  # they exclude each other
            del words[words.index("--steps") : words.index("--steps") + 2]
        words += [f"{flag}={found[0]}"] if len(found) == 1 and draw(st.booleans()) else [flag, *found]
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(1, len(words)))
        words[place:place] = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=1))
    if draw(st.integers(0, 9)) == 0:  # another value for what is always there: DATA, --out, ...
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(VALUES))
    return words


@st.composite
def files(draw: st.DrawFn) -> str:
    """A configuration file with a few random lines, or none that is one."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(max_size=40))
    knobs = sorted(KNOBS["pretrain"].keys() - {"epochs", "steps", "workers", "out", "json", "dry_run"})
    atoms = st.one_of(
        st.none(), st.booleans(), st.integers(-2, 40), st.floats(-2, 2), st.sampled_from(VALUES), st.text(max_size=5)
    )
    tree = st.one_of(atoms, st.lists(atoms, max_size=3), st.dictionaries(st.text(max_size=3), atoms, max_size=2))
    chosen = draw(st.lists(st.sampled_from([*knobs, "nothing", "mask-ratio"]), max_size=3, unique=True))
    return yaml.safe_dump({name: draw(as_yaml(name) | tree) for name in chosen}, allow_unicode=True)


def as_yaml(name: str) -> st.SearchStrategy:
    """A value of the kind that a knob takes, as YAML has it."""
    found = values("pretrain", name).map(lambda words: [number(word) for word in words])
    return found.map(lambda words: words[0] if len(words) == 1 else words or True)


def number(word: str) -> int | float | str:
    for kind_of_number in (int, float):
        with contextlib.suppress(ValueError):
            return kind_of_number(word)
    return word


def check(status: int, folder: Path, err: str, words: list[str], made: set[str]) -> None:
    """One line and nothing left behind in the folder where the words were said, or the whole result."""
    assert status in ({0, 1, 2} if words[0] == "compare" else {0, 2}), (words, err)
    assert "Traceback" not in err
    if status == 2:
        assert err.splitlines()[-1].startswith("pcae: ") and err.count("pcae: ") == 1, (words, err)
        assert not made, (words, made)
    elif words[0] == "compare" and "--help" not in words:
        out = folder / words[words.index("--out") + 1]
        assert (out / "rows.json").is_file() and ("failed:" in err) is (status == 1), (words, err)
    elif words[0] in {"pretrain", "finetune"} and "--help" not in words:
        out = folder / words[words.index("--out") + 1]
        made_of = {"pretrain": "encoder.safetensors", "finetune": "classifier.safetensors"}
        assert (out / made_of[words[0]]).is_file(), words
        assert math.isfinite(json.loads((out / "summary.json").read_text())["loss"]), words
    elif words[:2] in (["detect", "train"], ["detect", "predict"]) and "--help" not in words:
        made_of = {"train": "detector.safetensors", "predict": "results.json"}
        assert (Path(folder) / words[words.index("--out") + 1] / made_of[words[1]]).is_file(), words


def in_process(words: list[str], places: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", io.StringIO()
        filled = [fill(word, places | {"out": str(out)}) for word in words]
        before = Path.cwd()
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
                main(filled)
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            os.chdir(before)
        check(
            status, Path(folder), err.getvalue(), filled, {path.name for path in Path(folder).iterdir()} - {"mine.yaml"}
        )


def fill(word: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        word = word.replace("{" + name + "}", place)
    return word


def with_file(text: str, places: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_bytes(fill(text, places).encode("utf-8", "surrogatepass"))
        words = ["pretrain", "{photos}", "--out", "{out}", "--config", str(path), *SMALL[-4:], "--recipe", "sample"]
        in_process([*words, "--depth", "3", "--batch-size", "4"], places)


@settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
@given(words=lines())
def test_random_command_lines(words, places):
    in_process(words, places)


@settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
@given(text=files())
def test_random_configuration_files(text, places):
    with_file(text, places)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=QUIET)
@given(words=lines())
def test_more_random_command_lines(words, places):
    in_process(words, places)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(text=files())
def test_more_random_configuration_files(text, places):
    with_file(text, places)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(50))
def test_random_command_lines_as_processes(number, places, tmp_path):
    """Fifty lines that a generator with this seed writes; what a shell would see."""
    chance = random.Random(number)
    verb = chance.choice([verb for verb in VERBS if verb not in {"demo", "doctor", "recipes"}])
    knobs = sorted(KNOBS[verb].keys() - {"workers", "data", "out", "dry_run", *LONG})
    words = verb.split()
    words += NEEDED.get(verb, [])
    for _ in range(chance.randint(0, 2)):
        words += [f"--{chance.choice(knobs)}", *chance.choices(VALUES, k=chance.randint(0, 2))]
    filled = [fill(word, places | {"out": str(tmp_path / "out")}) for word in words]
    process = start(["pcae", *filled], folder=tmp_path)
    _, said = process.communicate()
    check(process.returncode, tmp_path, said, filled, {path.name for path in tmp_path.iterdir()})
