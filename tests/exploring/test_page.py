"""The page of `pcae explore` in a browser: 2,000 images, searched, turned down and marked, by mouse and by keyboard."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page

from pcae.cli import main
from pcae.exploring.explore import ready
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.settings.trained import TrainedConfig
from pcae.settings.verbs.show import ExploreConfig
from pcae.weights.files import save_model
from tests.browser import DESKTOP, PHONE, visited
from tests.conftest import TINY
from tests.exploring.asking import ask, serving

pytestmark = pytest.mark.slow
COUNT, ODD = 2_000, "0000 <img src=x onerror=\"document.title='hurt'\">.png"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Small noise in 2,000 files, one of them with a name that wants to be a tag."""
    place, noise = tmp_path_factory.mktemp("page"), np.random.default_rng(0)
    (place / "images").mkdir()
    for index in range(COUNT):
        name = ODD if index == 0 else f"{index:04d}.png"
        Image.fromarray(noise.integers(0, 256, (8, 12, 3), dtype=np.uint8)).save(place / "images" / name)
    torch.manual_seed(0)
    facts = PretrainedFacts(encoder=TINY, mean=[0.5] * 3, std=[0.25] * 3)
    save_model(place / "encoder.safetensors", build_encoder(TINY).vit, facts)
    return place


@pytest.fixture(scope="module")
def server(place):
    model = TrainedConfig(weights=str(place / "encoder.safetensors"), device="cpu")
    answers, _ = ready(ExploreConfig(data=str(place / "images"), model=model, out=place / "marked.txt"))
    with serving(answers) as server:
        yield server


def overflow(page: Page) -> int:
    """Pixels that the page is wider than the screen."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def chosen(page: Page, index: int) -> str:
    """The name of the image that is chosen, when all of it is there. The page's policy has no evaluated strings."""
    page.wait_for_selector(f"body[data-looked^='{index}/']")
    return page.locator("#name").inner_text()


def test_a_search_among_2000_images_takes_less_than_a_second(server):
    start = time.perf_counter()
    near = [json.loads(ask(server, f"near/{index}")[1]) for index in range(0, COUNT, 200)]
    seconds = (time.perf_counter() - start) / len(near)
    print(f"{1000 * seconds:.1f} ms a search")
    assert seconds < 1 and all(len(one) == 24 for one in near)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_images_are_searched_turned_down_and_marked(server, place, screen):
    with visited(server.address, screen, forgiven=("willReadFrequently",)) as page:
        page.wait_for_selector("body[data-ready]")
        assert page.locator("#grid .tile").count() == 60 and overflow(page) <= 0
        assert page.locator("#grid .tile").first.inner_text().strip() == ODD and "hurt" not in page.title()
        page.locator("#grid .pick").nth(0).click()
        assert chosen(page, 0) == ODD and "hurt" not in page.title() and overflow(page) <= 0
        assert page.locator("#near .tile").count() == 24
        page.locator("#dial").fill("3")
        page.wait_for_selector("body[data-looked='0/3']")
        said = json.loads(ask(server, "look/0/3")[1])
        assert page.locator("#left").inner_text() == f"{' → '.join(map(str, said['left']))} patches"
        blank = page.evaluate(
            """([rows, columns]) => [...Array(rows * columns).keys()].map(place => {
              const canvas = document.querySelector("#picture"), row = Math.floor(place / columns) + .5;
              const [x, y] = [(place % columns + .5) * canvas.width / columns, row * canvas.height / rows];
              return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data.slice(0, 3)].join() === "214,220,230";
            })""",
            [4, 6],
        )
        assert blank == [fate < len(said["left"]) for fate in said["fates"]] and 0 < sum(blank) < 24
        page.locator("#mark").check()
        page.locator("#near input").nth(2).check()
        best = json.loads(ask(server, "near/0")[1])[2]["image"]
        page.locator("#page").fill("34")
        page.locator("#page").press("Enter")
        page.wait_for_selector("text=1981 to 2000 of 2000")
        page.locator("#grid input").last.check()
        assert page.locator("#state").inner_text() == "3 marked, not written yet"
        page.locator("#write").click()
        page.wait_for_selector("text=3 marked, written to")
    listed = (place / "marked.txt").read_text().splitlines()
    assert [Path(name).name for name in listed] == [ODD, f"{best:04d}.png", "1999.png"]
    words = ["embed", str(place / "marked.txt"), "--weights", str(place / "encoder.safetensors"), "--device", "cpu"]
    main([*words, "--out", str(place / "marked.npy")])
    assert np.load(place / "marked.npy").shape == (3, 24)
    ask(server, "marked", "POST", body="0")


def test_all_is_done_by_keyboard_and_every_control_has_a_name(server):
    with visited(server.address, color_scheme="dark") as page:
        page.wait_for_selector("body[data-ready]")
        unnamed = page.evaluate(
            """[...document.querySelectorAll("button, input")].filter(one => !one.getAttribute("aria-label")
               && !one.labels?.length && !one.textContent.trim()).length"""
        )
        assert unnamed == 0
        page.locator("#page").focus()
        for _ in range(2):  # Previous is disabled on the first page: Next, then the first image
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert chosen(page, 0) == ODD
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        assert page.locator("#grid input").first.is_checked() != page.evaluate("said.marked.includes(0)")
        page.locator("#dial").focus()
        before = page.locator("#dial-said").inner_text()
        page.keyboard.press("ArrowLeft")
        assert page.locator("#dial-said").inner_text() != before


def test_a_picture_of_ones_own_is_searched_and_what_is_none_is_told(server, place, tmp_path):
    (tmp_path / "none.png").write_bytes(b"no image")
    with visited(server.address, forgiven=("400 (Bad Request)",)) as page:
        page.wait_for_selector("body[data-ready]")
        page.set_input_files("#file", place / "images" / "0007.png")
        page.wait_for_selector("#near .tile")
        assert chosen(page, COUNT) == "your image: 0007.png" and not page.locator("#mark").is_visible()
        assert page.locator("#near .tile").first.inner_text().split() == ["0007.png", "1.000"]
        page.set_input_files("#file", tmp_path / "none.png")
        page.wait_for_selector("#fault:not([hidden])")
        assert "cannot be read" in page.locator("#fault").inner_text()


def test_another_page_of_this_machine_cannot_ask(server, tmp_path):
    """It knows no token, and even with it gets no answer that it could read."""
    (tmp_path / "other.html").write_text('<!doctype html><link rel="icon" href="data:,">')
    with visited((tmp_path / "other.html").resolve().as_uri(), forgiven=("127.0.0.1", "Failed to load")) as page:
        page.context.set_offline(False)
        ask_it = "address => fetch(address).then(reply => reply.status, () => 'no answer')"
        assert page.evaluate(ask_it, f"{server.address}near/0") == "no answer"
