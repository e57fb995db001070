"""The card of an export: what the Hub reads of it, what it says of a run, and that it names nobody's images."""

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pcae.cli import main
from pcae.pages.model_card import model_card
from tests import few
from tests.weights.exported import model_of

pytestmark = pytest.mark.trains

NET = ["--width", "24", "--depth", "4", "--heads", "2", "--image-size", "28", "28", "--patch-size", "7"]
STEPS = ["--batch-size", "8", "--steps", "2", "--device", "cpu"]
SECRET = "patients-of-ward-7"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Pre-training and fine-tuning on images in a folder whose name is nobody's business."""
    place = tmp_path_factory.mktemp("card") / SECRET
    data, first, second = few.labelled(place / "images"), str(place / "run"), str(place / "tuned")
    small = ["--decoder-width", "16", "--decoder-heads", "2", "--health-every", "0", "--knn-data", data]
    main(["pretrain", data, "--model", "vit_tiny_patch16_224", *NET, *small, *STEPS, "--out", first])
    dial = ["--drop-ratio", "0:0.4", "--global-pool", "token"]
    main(["finetune", data, "--weights", first, *STEPS, *dial, "--out", second])
    return {"pretrain": first, "finetune": second}


def card_of(run, to, tmp_path):
    main(["export", "--weights", run, "--to", to, "--out", str(tmp_path / "my-model")])
    return (tmp_path / "my-model" / "README.md").read_text()


@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
@pytest.mark.parametrize("to", ["timm", "hf"])
def test_the_hub_reads_it_and_it_says_what_the_run_came_to(runs, tmp_path, verb, to):
    text, summary = card_of(runs[verb], to, tmp_path), json.loads(summary_of(runs[verb]).read_text())
    card = ModelCard(text, ignore_metadata_errors=False)
    task = {"pretrain": "image-feature-extraction", "finetune": "image-classification"}[verb]
    library = {"timm": "timm", "hf": "transformers"}[to]
    assert card.data.to_dict() == {
        "library_name": library,
        "pipeline_tag": task,
        "tags": [task, library, "pcae", "vision-transformer"],
    }
    assert "# license: yours to choose" in text and card.text.strip().startswith("# my-model")
    assert "120 images" in text and "2 steps of 8 images" in text
    name = {"pretrain": "knn", "finetune": "top1"}[verb]
    assert re.search(rf"\| accuracy .*held-out images \| {summary[name]:.1%} \|", text)
    assert "{" not in text.split("```bibtex")[0] and "None" not in text
    if verb == "finetune":
        assert "fine-tuned from pre-trained weights" in text and "of 10 classes" in text
        assert "trained to drop a share of 0 to 0.4" in text


def summary_of(run):
    return Path(run) / "summary.json"


@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
def test_it_names_no_place_no_file_and_no_class(runs, tmp_path, verb):
    text = card_of(runs[verb], "timm", tmp_path)
    for word in (SECRET, "/", "class-", ".png"):
        assert word not in re.sub(r"https://\S+|hf-hub:OWNER/NAME|image/|1/\d+", "", text), word


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("timm:vit_tiny_patch16_224", "converted from timm:vit_tiny_patch16_224."),
        ("hf-hub:me/model@v1", "converted from hf-hub:me/model@v1."),
        ("/home/me/weights.pth", "of weights that do not say how they were trained."),
        ("timm:local-dir:/home/me", "of weights that do not say how they were trained."),
    ],
)
def test_weights_of_no_run_have_a_card_without_figures(weights, says):
    (text,) = model_card(model_of(), "timm", "a", weights).values()
    assert says in text and "Figures" not in text and "/home" not in text
    assert model_card(model_of(), "onnx", "a.onnx", weights) == {}


def test_the_code_on_it_is_the_one_that_loads_the_folder(runs, tmp_path):
    text = card_of(runs["finetune"], "hf", tmp_path)
    code = text.split("```python\n")[1].split("```")[0].replace("OWNER/NAME", str(tmp_path / "my-model"))
    found = {}
    exec(code, found)
    assert found["model"].config.num_labels == 10 and found["processor"].size["height"] == 28
