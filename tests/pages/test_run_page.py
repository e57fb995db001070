"""A run on one page: finished or not, of this version or another, with its images or without."""

import base64
import io
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from PIL import Image

from pcae.cli import main
from pcae.pages import run_page
from pcae.pages.run_data import cost_of, read_run
from pcae.pages.run_page import write_report
from tests.browser import DESKTOP, PHONE, opened
from tests.runs.test_finetuning import FINETUNE, make_shapes
from tests.runs.test_pretraining import TINY

SECTIONS = ["verdict", "numbers", "map", "curves", "health", "probes", "kept", "cost", "files", "settings"]
HEALTH = {
    "student_std": 0.4, "student_rank": 9.0, "teacher_std": 0.3, "teacher_rank": 8.0, "target_std": 0.5,
    "position_share": 0.25, "score_std": 0.1, "teacher_student_cosine": 0.75,
}  # fmt: skip


class Page(HTMLParser):
    """What a browser would see: text by section, pictures, marked settings; tags are closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open, self.pictures, self.sections, self.tags, self.own = [], [], {}, set(), []
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.add(tag)
        if tag == "img":
            self.pictures.append(named["src"])
        elif tag not in {"meta", "br"}:
            self.open.append((tag, named.get("id"), named.get("class")))

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        section = next((name for tag, name, _ in self.open if tag == "section" and name), "top")
        self.sections[section] = self.sections.get(section, "") + data
        if ("tr", None, "own") in self.open and data.strip():
            self.own.append(data.strip())

    def __getitem__(self, section: str) -> str:
        return " ".join(self.sections[section].split())


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """Thirty steps, a line each, without looks at its health."""
    out = tmp_path_factory.mktemp("report") / "run"
    main(["pretrain", "sample", "--out", str(out), *TINY, "--steps", "30", "--log-every", "1", "--health-every", "0"])
    return out


@pytest.fixture
def run(pretrained, tmp_path) -> Path:
    """A copy to write into, without a page."""
    return shutil.copytree(pretrained, tmp_path / "run", ignore=shutil.ignore_patterns("report.html"))


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Without the picture of kept tokens and the map, which take most of the time."""

    def refuse(*_) -> None:
        raise ValueError("nothing is drawn")

    monkeypatch.setattr(run_page, "draw_run", refuse)
    monkeypatch.setattr(run_page, "feature_map", refuse)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory, pretrained) -> Path:
    root = tmp_path_factory.mktemp("finetuned")
    shapes = make_shapes(root / "shapes", 8)
    words = ["--weights", str(pretrained), "--out", str(root / "run"), *FINETUNE, "--log-every", "1"]
    main(["finetune", str(shapes), *words])
    return root / "run"


def watched(run: Path, steps: int = 30, **last: float) -> None:
    """Write down looks at the health of a run and a probe, `last` being what the last look found."""
    with (run / "metrics.jsonl").open("a") as file:
        for step in (0, steps // 2, steps):
            numbers = HEALTH | (last if step == steps else {})
            file.write(json.dumps({"step": step} | {f"health/{name}": value for name, value in numbers.items()}) + "\n")
        file.write(json.dumps({"step": steps, "probe/knn": 0.625}) + "\n")


def cut(run: Path, lines: int) -> None:
    """Leave of a run what is there while it is under way, before its first checkpoint."""
    for name in ("summary.json", "encoder.safetensors", "decoder.safetensors"):
        (run / name).unlink()
    shutil.rmtree(run / "checkpoints")
    metrics = run / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:lines]) + '{"step": 13, "lo')


def reset(run: Path, **values) -> None:
    """Change settings in a run's config.yaml."""
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values, sort_keys=False))


def as_json(capsys, *words: str) -> dict:
    capsys.readouterr()
    main(["report", *words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_the_page_stands_alone_and_says_everything(run):
    watched(run)
    before = {path.name for path in run.iterdir()}
    assert write_report(run) == run / "report.html"
    page = Page(run / "report.html")
    assert [name for name in page.sections if name in SECTIONS] == SECTIONS
    assert {path.name for path in run.iterdir()} == before | {"report.html"}
    assert not {"link", "a", "iframe"} & page.tags and " src=" not in page.source.replace(' src="data:', "")
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.source)
    (picture,) = page.pictures
    with Image.open(io.BytesIO(base64.b64decode(picture.removeprefix("data:image/png;base64,")))) as shown:
        assert min(shown.size) > 500
    assert page.source.count("<svg") == 5 + 7 + 1, "curves, health, probes; no step was skipped"
    assert "Pre-training by pcae: vit_tiny_patch16_224 at 28 x 28, on sample" in page["top"]
    assert "Finished, 30 steps" in page["top"] and "62.5%right by nearest neighbours" in page["numbers"]
    assert "of at most 24." in page["health"], "the width of a token"
    for file in ("config.yaml", "encoder.safetensors", "checkpoints", "tensorboard"):
        assert file in page["files"]


@pytest.mark.usefixtures("undrawn")
def test_json_has_what_the_run_says_of_itself(run, tmp_path, capsys):
    watched(run)
    found = as_json(capsys, str(run), "--out", str(tmp_path / "page.html"))
    summary = json.loads((run / "summary.json").read_text())
    assert found["state"] == {"finished": True, "step": 30, "steps": 30} and found["page"] == str(
        tmp_path / "page.html"
    )
    assert found["numbers"] == {name: value for name, value in summary.items() if name not in {"weights", "warnings"}}
    assert found["health"] == HEALTH and found["probes"] == {"knn": 0.625} and found["warnings"] == []
    assert (tmp_path / "page.html").is_file() and not (run / "report.html").exists()


@pytest.mark.usefixtures("undrawn")
def test_cost_is_what_pcae_cost_says(run, capsys):
    cost = as_json(capsys, str(run))["cost"]
    described = [
        "--model", "vit_tiny_patch16_224", "--image-size", "28", "28", "--patch-size", "4", "--channels", "1",
        "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16", "--decoder-heads", "2",
        "--decoder-depth", "1",
    ]  # fmt: skip
    main(["cost", "--pretrain", *described, "--json"])
    assert cost == json.loads(capsys.readouterr().out) | {"run_petamacs": cost["run_petamacs"]}
    assert cost["run_petamacs"] == pytest.approx(cost["training_gmacs"] * 30 * 16 / 1e6)


@pytest.mark.usefixtures("undrawn")
def test_settings_other_than_the_defaults_are_marked(run):
    write_report(run)
    own = Page(run / "report.html").own
    assert own[own.index("batch-size") :][:3] == ["batch-size", "16", "(1024)"]
    assert {"steps", "width", "patch-scale"} <= set(own) and not {"seed", "weight-decay", "data"} & set(own)


@pytest.mark.parametrize(("epochs", "steps"), [(None, 30), (0.01, 6)])
def test_a_run_under_way_says_how_far_it_is(run, capsys, epochs, steps):
    """9,000 images in batches of 16: a hundredth of an epoch is 5.6 steps."""
    cut(run, 4)
    if epochs:
        reset(run, epochs=epochs, steps=None)
    found = as_json(capsys, str(run))
    assert found["state"] == {"finished": False, "step": 4, "steps": steps}
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[3])
    assert found["numbers"]["loss"] == last["loss"] and found["numbers"]["bad_files"] == 0
    page = Page(run / "report.html")
    assert f"Not finished: step 4 of {steps}, last numbers written 20" in page["top"]
    assert "No picture: it is drawn once the run is finished" in page["kept"]


@pytest.mark.usefixtures("undrawn")
def test_an_interrupted_run_counts_from_its_checkpoint_too(run, capsys):
    (run / "summary.json").unlink()
    (run / "metrics.jsonl").write_text("")
    found = as_json(capsys, str(run))
    assert found["state"] == {"finished": False, "step": 30, "steps": 30} and found["numbers"]["seconds"] > 0
    page = Page(run / "report.html")
    assert "No numbers were written yet." in page["curves"] and "torch, of the run" in page["files"]


@pytest.mark.usefixtures("undrawn")
def test_the_collapse_watch_stands_on_top_finished_or_not(run, capsys):
    said = {"step": 9, "warning": "collapse", "says": "step 9: all <i>alike</i>"}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(said) + "\n")
    assert as_json(capsys, str(run))["warnings"] == ["step 9: all <i>alike</i>"]
    page = Page(run / "report.html")
    assert "The collapse watch warns step 9: all <i>alike</i>" in page["warnings"] and "i" not in page.tags
    assert page.source.index('id="warnings"') < page.source.index('id="numbers"')
    (run / "summary.json").unlink()
    assert list(read_run(run).metrics.warnings.values()) == ["step 9: all <i>alike</i>"]


@pytest.mark.usefixtures("undrawn")
def test_a_config_of_another_version_is_shown_as_far_as_it_is_known(run):
    reset(run, batch_size="many", colour_of_noise="<b>pink</b>", **{"7": 7})
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "8: 9\n")
    write_report(run)
    page = Page(run / "report.html")
    assert "not known to this one" in page["settings"] and "colour_of_noise<b>pink</b>" in page["settings"]
    assert (
        "batch_sizemany" in page["settings"]
        and "8 9" in page.source.replace("</td><td>", " ")
        and "b" in page.tags
        and "<b>pink" not in page.source
    )


@pytest.mark.usefixtures("undrawn")
def test_numbers_that_are_not_finite_and_lines_that_are_none_are_told(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 31, "loss": NaN, "grad_norm": Infinity, "skipped": 1}\nno line\n')
    write_report(run)
    page = Page(run / "report.html")
    assert page["curves"].count("1 of 31 values are not finite") == 2 and "Skipped steps" in page["curves"]
    assert "left out: 1." in page["curves"]


@pytest.mark.usefixtures("undrawn")
def test_a_number_without_words_is_drawn_all_the_same(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "new/<number>": 5}\n')
    write_report(run)
    assert "new/<number> last: 5" in Page(run / "report.html")["curves"]


def test_images_that_are_gone_are_a_sentence(run):
    reset(run, data=str(run / "gone"))
    write_report(run)
    page = Page(run / "report.html")
    assert "No picture: " in page["kept"] and "neither a folder" in page["kept"] and not page.pictures


@pytest.mark.usefixtures("undrawn")
def test_bad_files_are_named(run):
    (run / "bad-files.jsonl").write_text(json.dumps({"file": "<a>\udcff.jpg", "reason": "torn"}) + "\n")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"bad_files": 40}))
    write_report(run)
    assert "<a>\\udcff.jpg (torn) and 39 more" in Page(run / "report.html")["numbers"]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_long_run_is_a_small_page(run):
    """20,000 lines: the page is no larger than a picture and 500 points make it."""
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(1, 20_001):
            file.write(json.dumps({"step": step, "loss": 1 + math.sin(step), "grad_norm": math.cos(step)}) + "\n")
    write_report(run)
    assert (run / "report.html").stat().st_size < 1e6
    assert "Line: mean of 64 values each" in Page(run / "report.html")["curves"]


@pytest.mark.slow
def test_a_classifier_by_drop_ratio(finetuned, tmp_path, capsys):
    found = as_json(capsys, str(finetuned), "--out", str(tmp_path / "page.html"))
    costs = found["cost"]["by_drop_ratio"]
    assert [one["drop_ratio"] for one in costs] == [0, 0.1, 0.2, 0.3, 0.4]
    assert costs[0]["tokens"] == [50] * 4 and costs[0]["gmacs"] > costs[-1]["gmacs"]
    summary = json.loads((finetuned / "summary.json").read_text())
    assert found["numbers"]["best_top1"] == summary["best_top1"] and found["state"]["steps"] == 12
    page = Page(tmp_path / "page.html")
    assert "Fine-tuning: a classifier of 3 classes" in page["top"] and "health" not in page.sections
    assert "Share of the held-out images" in page["probes"] and "Drop ratio" in page["curves"]
    assert len(page.pictures) == 2, "the confusion matrix, and what is kept"


@pytest.mark.usefixtures("undrawn")
def test_a_classifier_under_way(finetuned, tmp_path, capsys):
    """Its network is known from the weights that were best so far, and before there are any not at all."""
    run = shutil.copytree(finetuned, tmp_path / "run")
    for name in ("summary.json", "classifier.safetensors", "confusion.png"):
        (run / name).unlink()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = max(row["top1"] for row in rows if "top1" in row)
    found = as_json(capsys, str(run))
    assert found["numbers"]["best_top1"] == best and len(found["cost"]["by_drop_ratio"]) == 5
    (run / "best.safetensors").unlink()
    with pytest.raises(ValueError, match="once weights are written"):
        cost_of(read_run(run))


@pytest.mark.parametrize(
    ("name", "message"),
    [("page.txt", "must end in .html"), ("gone/page.html", "cannot be written"), ("folder.html", "is a folder")],
)
def test_a_place_for_the_page_that_cannot_be_is_refused(run, tmp_path, capsys, name, message):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(["report", str(run), "--out", str(tmp_path / name)])
    assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "", "[" * 50, "a: b\n", "- 1\n"])
def test_a_folder_that_is_no_run_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="is no run folder"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("screen", [DESKTOP, PHONE])
def test_it_opens_without_network_at_every_width(run, finetuned, tmp_path, screen):
    watched(run)
    write_report(run)
    pages = {write_report(run): SECTIONS, write_report(finetuned, tmp_path / "fine.html"): ["probes", "kept", "cost"]}
    for path, sections in pages.items():
        with opened(path, screen) as page:
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert all(page.locator(f"section#{name} h2").is_visible() for name in sections)
            widths = page.evaluate(
                "[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().width)"
            )
            assert widths and all(300 < width <= screen[0] for width in widths)
            letters = page.evaluate(
                "[...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect().height)"
            )
            assert min(letters) > 9, "text can be read"
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
