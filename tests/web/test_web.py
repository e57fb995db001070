"""The page that `pcae export --to web` writes, in a browser, against `pcae predict` and the network in PyTorch."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page

import pcae
from pcae.cli import main
from pcae.inference.predict import predictions
from pcae.settings.trained import Rule, TrainedConfig
from pcae.settings.verbs.predict import PredictConfig
from pcae.weights.export.parity import TIE, decided, exchanged
from pcae.weights.files import load, save_model
from tests.browser import CAMERA, DESKTOP, PHONE, visited
from tests.photographs import photographs
from tests.servers import http_without_ranges
from tests.web.package import PACKAGE
from tests.weights.exported import model_of

pytestmark = pytest.mark.slow
CLASSES = [f"class {letter}" for letter in "abcdefg"]
RATIOS = [0.0, 0.1, 0.2, 0.3, 0.4]
NEXT = """() => {
  window.next = new Promise((done, failed) => {
    setTimeout(() => failed(new Error("no answer")), 30000);
    const taken = ({ detail }) => done({ ...detail, pixels: detail.pixels && [...detail.pixels] });
    document.addEventListener("answer", taken, { once: true });
  });
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[str, Path]:
    """A classifier of colour, one of gray that names several classes at once, one that merges; the folder of each."""
    root = tmp_path_factory.mktemp("web")
    merging = Rule(criterion="bipartite", fold="merge", before_mlp=True)
    kinds = {
        "colour": {"crop_pct": 0.9, "drop_ratios": (0.0, 0.4)},
        "gray": {"channels": 1, "multi_label": True},
        "merging": {"rule": merging},
    }
    for name, options in kinds.items():
        torch.manual_seed(3)
        model = model_of(classes=CLASSES, **options)
        with torch.no_grad():
            model.encoder.vit.get_parameter("head.weight").mul_(4.0)  # clearer answers
        weights = root / f"{name}.safetensors"
        save_model(weights, model.encoder.vit, model.facts)
        words = ["--weights", str(weights), "--to", "web", "--out", str(root / name), "--drop-ratio", "0.2"]
        main(["export", *words, "--onnxruntime-web", str(PACKAGE)])
    return {"root": root} | {name: root / name for name in kinds}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Twenty photographs larger than the model, half of them JPEGs."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(20):
        image = photographs()[index % 8]
        part = image.crop((index * 9, index * 5, image.width - index * 4, image.height - index * 3))
        part.save(folder / f"{index:02d}.{'png' if index % 2 else 'jpg'}")
    return folder


@contextmanager
def at(folder: Path, screen: tuple[int, int] = DESKTOP, **options) -> Iterator[Page]:
    """The page of a folder that a plain server of files has."""
    with http_without_ranges(folder) as address, visited(f"{address}/index.html", screen, **options) as page:
        yield page


def ready(page: Page) -> Page:
    """The page, when it can be asked."""
    page.wait_for_selector("#main", timeout=60_000)
    return page


def answer(page: Page, act: Callable[[], object]) -> dict:
    """What the page answers to what is done to it."""
    page.evaluate(NEXT)
    act()
    return page.evaluate("window.next")


def turn(page: Page, place: int) -> None:
    """Turn the dial to one of its places, as a hand does."""
    page.locator("#dial").fill(str(place))


def predicted(weights: Path, photos: Path, ratio: float) -> dict[str, list[dict]]:
    config = PredictConfig(data=str(photos), model=TrainedConfig(weights=str(weights), device="cpu"), drop_ratio=ratio)
    return {Path(row["path"]).name: row["top"] for row in predictions(config)}


@pytest.mark.parametrize("kind", ["colour", "gray"])
def test_classes_are_those_of_pcae_predict(site, photos, kind):
    """All five in their order, to a thousandth where the browser reads the file as pcae does, and it does so of PNGs to
    the bit; of JPEGs the first, and chances to a few hundredths."""
    expected = {ratio: predicted(site["root"] / f"{kind}.safetensors", photos, ratio) for ratio in (0.2, 0.4)}
    with at(site[kind]) as page:
        ready(page)
        for path in sorted(photos.iterdir()):
            found = {0.2: answer(page, lambda path=path: page.set_input_files("#file", path))}
            found[0.4] = answer(page, lambda: turn(page, 4))
            for ratio, said in found.items():
                top, exact = expected[ratio][path.name], path.suffix == ".png"
                assert said["ratio"] == ratio
                assert said["chances"][0]["name"] == top[0]["class"], (path, ratio, said["chances"], top)
                ours = {one["class"]: one["probability"] for one in top}
                theirs = {one["name"]: one["chance"] for one in said["chances"]}
                assert not exact or [*theirs] == [*ours]
                for name in theirs.keys() & ours.keys():
                    assert theirs[name] == pytest.approx(ours[name], abs=1e-4 if exact else 0.03), (path, ratio)
            answer(page, lambda: turn(page, 2))
            shown = page.locator("#classes li").all_inner_texts()
            assert len(shown) == 5 and expected[0.2][path.name][0]["class"] in shown[0]


def test_the_same_patches_are_kept_at_every_ratio(site, tmp_path):
    """On PNGs of the model's own size, whose pixels are the file's; a tie of scores may fall either way."""
    model, generator = load(site["root"] / "gray.safetensors"), np.random.default_rng(0)
    with at(site["gray"]) as page:
        ready(page)
        for index in range(4):
            pixels = np.asarray(photographs()[index].convert("L").resize((48, 32))) if index else None
            pixels = generator.integers(0, 256, (32, 48), dtype=np.uint8) if pixels is None else pixels
            Image.fromarray(pixels).save(tmp_path / f"{index}.png")
            images = model.normalise(torch.from_numpy(pixels.copy())[None, None])
            found = answer(page, lambda index=index: page.set_input_files("#file", tmp_path / f"{index}.png"))
            assert found["pixels"] == pixels.flatten().tolist()
            for place, ratio in enumerate(RATIOS):
                if found["ratio"] != ratio:
                    found = answer(page, lambda place=place: turn(page, place))
                with torch.no_grad():
                    reduced = pcae.reduce(model.encoder.vit, ratio)
                    stages, logits = reduced.encode(images).stages, reduced(images)
                assert len(found["kept"]) == len(stages) == (3 if ratio else 0)
                gap = exchanged(stages, [torch.tensor([ids]) for ids in found["kept"]], decided(stages, 1), 0)
                assert gap is None or gap < TIE
                if gap is None:
                    assert found["logits"] == pytest.approx(logits[0].tolist(), abs=1e-4)
            answer(page, lambda: turn(page, 2))


def test_dropped_patches_are_dark_and_kept_ones_are_not(site, tmp_path):
    """A white picture, of which the canvas shows at each patch white or dark."""
    Image.new("RGB", (48, 32), "white").save(tmp_path / "white.png")
    middle = "({ x, y }) => document.querySelector('#picture').getContext('2d').getImageData(x, y, 1, 1).data[0]"
    with at(site["colour"], forgiven=("willReadFrequently",)) as page:
        found = answer(ready(page), lambda: page.set_input_files("#file", tmp_path / "white.png"))
        side = page.evaluate("document.querySelector('#picture').width") // 6
        for stage, kept in enumerate(found["kept"]):
            page.get_by_label(f"after block {stage}", exact=True).check()
            spots = [{"x": place % 6 * side + side // 2, "y": place // 6 * side + side // 2} for place in range(24)]
            light = {place for place, spot in enumerate(spots) if page.evaluate(middle, spot) > 200}
            assert light == set(kept)
        page.get_by_label("all", exact=True).check()
        assert all(page.evaluate(middle, spot) == 255 for spot in spots)


def test_a_rule_of_merging_runs_too_and_the_page_says_so(site, tmp_path):
    """Kept sets are PyTorch's."""
    model = load(site["root"] / "merging.safetensors")
    pixels = np.asarray(photographs()[1].resize((48, 32)))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with at(site["merging"]) as page:
        found = answer(ready(page), lambda: page.set_input_files("#file", tmp_path / "a.png"))
        assert "look most like another one are merged into others" in page.locator("#about").inner_text()
        assert page.get_by_label("in block 2").is_visible()
    with torch.no_grad():
        images = model.normalise(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
        reduced = pcae.reduce(model.encoder.vit, 0.2, **vars(model.facts.rule))
        stages, logits = reduced.encode(images).stages, reduced(images)
    gap = exchanged(stages, [torch.tensor([ids]) for ids in found["kept"]], decided(stages, 1), 0)
    assert gap is None or gap < TIE
    if gap is None:
        assert found["logits"] == pytest.approx(logits[0].tolist(), abs=1e-4)


@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_screen_and_is_used_by_keys_alone(site, photos, screen, scheme, tmp_path):
    """Controls have names, the dial moves by arrows, and what is found is said aloud."""
    with at(site["colour"], screen, color_scheme=scheme) as page:
        answer(ready(page), lambda: page.set_input_files("#file", photos / "01.png"))
        dial = page.get_by_role("slider", name="Each stage drops")
        dial.focus()
        assert answer(page, lambda: page.keyboard.press("ArrowRight"))["ratio"] == 0.3
        assert dial.get_attribute("aria-valuetext") == "30 %"
        for name in ("Choose a picture", "Use the camera"):
            page.get_by_role("button", name=name).focus()
            assert page.evaluate("document.activeElement.tagName") == "BUTTON"
        page.get_by_label("after block 2").focus()
        page.keyboard.press("ArrowLeft")
        assert page.get_by_label("after block 1").is_checked()
        assert page.locator("#heard").inner_text().startswith("Most likely: class ")
        assert page.get_by_role("img", name="patches").is_visible()
        page.locator("#times tr", has_text="30 %").get_by_text("5", exact=True).wait_for()
        assert "one thread" in page.locator("footer").inner_text().lower()
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= screen[0]
        light = np.asarray(Image.open(tmp_path / "page.png").convert("L"))[3, 3] > 128
        assert light == (scheme == "light")


def test_pictures_come_by_dropping_and_pasting_too(site, photos):
    give = """([kind, bytes, name]) => {
      const data = new DataTransfer();
      if (name) data.items.add(new File([Uint8Array.from(bytes)], name, { type: "image/png" }));
      const made = kind === "drop" ? new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent(kind, { clipboardData: data, bubbles: true });
      document.body.dispatchEvent(made);
    }"""
    content = [*(photos / "01.png").read_bytes()]
    with at(site["colour"]) as page:
        chosen = answer(ready(page), lambda: page.set_input_files("#file", photos / "01.png"))
        for kind in ("drop", "paste"):
            assert (
                answer(page, lambda kind=kind: page.evaluate(give, [kind, content, "a.png"]))["logits"]
                == chosen["logits"]
            )
        page.evaluate(give, ["drop", [], ""])
        assert "no file" in page.get_by_role("alert").inner_text()


def test_the_camera_is_looked_at_until_it_is_stopped(site):
    options = {"flags": CAMERA, "permissions": ["camera"]}
    with at(site["colour"], **options) as page:
        first = answer(ready(page), page.locator("#camera").click)
        later = answer(page, lambda: None)
        assert later["id"] > first["id"] and len(first["pixels"]) == 32 * 48 * 3
        stop = page.get_by_role("button", name="Stop the camera")
        assert stop.get_attribute("aria-pressed") == "true"
        stop.click()
        assert page.evaluate("document.querySelector('video').srcObject") is None
        assert page.get_by_role("button", name="Use the camera").is_visible()


def fault(page: Page) -> str:
    """What the page complains of."""
    alert = page.get_by_role("alert")
    alert.wait_for(timeout=60_000)
    return alert.inner_text()


def test_a_picture_that_cannot_be_read_and_a_camera_that_is_not_there_are_a_line(site, photos, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"torn")
    with at(site["colour"]) as page:
        ready(page).set_input_files("#file", tmp_path / "torn.png")
        assert fault(page).startswith("torn.png cannot be read as a picture")
        answer(page, lambda: page.set_input_files("#file", photos / "00.jpg"))
        assert page.get_by_role("alert").count() == 0
        page.locator("#camera").click()
        assert fault(page).startswith("The camera cannot be used: ")


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.wasm is missing: the server answers 404"),
        ("ort.wasm.bundle.min.mjs", "ort.wasm.bundle.min.mjs"),
        ("worker.mjs", "worker.mjs cannot be started"),
        ("weights.bin", "weights.bin is missing"),
        ("drop-0.2.onnx", "drop-0.2.onnx is missing"),
        ("model.json", "model.json is missing"),
    ],
)
def test_a_file_that_is_missing_is_a_line(site, tmp_path, lost, said):
    shutil.copytree(site["colour"], tmp_path / "page")
    (tmp_path / "page" / lost).unlink()
    with at(tmp_path / "page", forgiven=("404",)) as page:
        line = fault(page)
        assert line.startswith("The model cannot be run here: ") and said in line
        assert page.locator("#state").is_hidden()


def test_a_graph_that_is_missing_later_leaves_the_page_usable(site, photos, tmp_path):
    shutil.copytree(site["colour"], tmp_path / "page")
    (tmp_path / "page" / "drop-0.4.onnx").unlink()
    with at(tmp_path / "page", forgiven=("404",)) as page:
        answer(ready(page), lambda: page.set_input_files("#file", photos / "01.png"))
        turn(page, 4)
        assert "drop-0.4.onnx is missing" in fault(page)
        assert answer(page, lambda: turn(page, 3))["ratio"] == 0.3


def test_damaged_weights_and_a_browser_without_webassembly_are_a_line(site, tmp_path):
    with at(site["colour"], flags=("--js-flags=--jitless",)) as page:
        assert "this browser has no WebAssembly" in fault(page)
    shutil.copytree(site["colour"], tmp_path / "page")
    content = (tmp_path / "page" / "weights.bin").read_bytes()
    (tmp_path / "page" / "weights.bin").write_bytes(content[:-7])
    with at(tmp_path / "page") as page:
        assert f"weights.bin has {len(content) - 7} bytes, not {len(content)}" in fault(page)


def test_opened_as_a_file_it_says_what_to_do(site):
    with visited((site["colour"] / "index.html").as_uri(), forgiven=("CORS", "ERR_FAILED", "origin")) as page:
        assert "python -m http.server" in page.get_by_role("status").inner_text()


def test_an_image_is_an_answer_of_chances(site):
    """Of gray, whose classes stand for themselves, chances are sigmoids."""
    with at(site["gray"]) as page:
        Image.new("L", (48, 32), 90).save(site["root"] / "gray.png")
        found = answer(ready(page), lambda: page.set_input_files("#file", site["root"] / "gray.png"))
        best = sorted((1 / (1 + math.exp(-logit)) for logit in found["logits"]), reverse=True)[:5]
        assert [one["chance"] for one in found["chances"]] == pytest.approx(best)
        assert json.loads((site["gray"] / "model.json").read_text())["multi_label"]
