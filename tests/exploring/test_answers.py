"""What the page is told, against pcae's own verbs and arithmetic; what it writes, and what it cannot."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pcae.cli import main
from pcae.data.files.bounds import MOST_PIXELS
from pcae.data.images import open_images
from pcae.exploring.explore import has_display, ready
from pcae.exploring.explored import NEIGHBOURS, UPLOADS
from pcae.exploring.server import LocalServer
from pcae.inference.predict import predictions
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.settings.trained import Rule, ShownConfig, TrainedConfig
from pcae.settings.verbs.predict import PredictConfig
from pcae.settings.verbs.show import ExploreConfig
from pcae.weights.files import save_model
from tests.conftest import TINY
from tests.exploring.asking import ask, serving

ODD = ["<img src=x onerror=alert(1)>.png", "a b'\"&.png", "end\u202egnp.png", os.fsdecode(b"\xff.png")]
"""Names of files that a page must not take for its own."""
COUNT = 40


def config_of(place: Path, weights: str, **options) -> ExploreConfig:
    model = TrainedConfig(weights=str(place / weights), device="cpu")
    shown = ShownConfig(split="train", max_bad_files=0.5)
    values = {"data": str(place / "images"), "out": place / "marked.txt", "browser": False, "shown": shown}
    return ExploreConfig(model=model, **(values | options))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Small noise, an empty file and one that is no image; an encoder and a classifier."""
    place, noise = tmp_path_factory.mktemp("explore"), np.random.default_rng(0)
    (place / "images").mkdir()
    for name in [*(f"{index:03d}.png" for index in range(COUNT - len(ODD))), *ODD]:
        Image.fromarray(noise.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(place / "images" / name)
    (place / "images" / "empty.png").write_bytes(b"")
    (place / "images" / "none.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photograph")
    torch.manual_seed(0)
    facts = PretrainedFacts(encoder=TINY, mean=[0.5] * 3, std=[0.25] * 3)
    save_model(place / "encoder.safetensors", build_encoder(TINY).vit, facts)
    fine = replace(facts, classes=[*"abcdefg"], global_pool="avg", drop_ratios=(0.0, 0.3), rule=Rule())
    save_model(place / "classifier.safetensors", build_model(fine).encoder.vit, fine)
    return place


@pytest.fixture(scope="module")
def pages(place) -> dict[str, SimpleNamespace]:
    """Servers of both weights, their names of images, and features as `pcae embed` writes them."""
    found = {}
    with ExitStack() as stack:
        for kind in ("encoder", "classifier"):
            answers, bad_files = ready(config_of(place, f"{kind}.safetensors"))
            server, out = stack.enter_context(serving(answers)), place / f"{kind}.npy"
            words = ["--weights", str(place / f"{kind}.safetensors"), "--device", "cpu", "--max-bad-files", "0.5"]
            main(["embed", str(place / "images"), "--out", str(out), *words])
            names = json.loads((place / f"{kind}.files.json").read_text())
            found[kind] = SimpleNamespace(server=server, bad_files=bad_files, names=names, features=np.load(out))
        yield found


def asked(page: SimpleNamespace, path: str, **options):
    reply, content = ask(page.server, path, **options)
    assert reply.status == 200, content
    return json.loads(content)


def refused(page: SimpleNamespace, path: str, method: str = "GET", **options) -> str:
    reply, content = ask(page.server, path, method, **options)
    assert reply.status in {400, 404} and "Traceback" not in content.decode()
    return json.loads(content)["error"]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def cosines(one: np.ndarray, all: np.ndarray) -> np.ndarray:
    return all @ one / np.linalg.norm(all, axis=1) / np.linalg.norm(one)


def test_what_cannot_be_read_is_named_and_left_out(pages, place):
    page = pages["encoder"]
    assert {Path(name).name for name in page.bad_files.by_name()} == {"empty.png", "none.jpg"}
    told = asked(page, "images/0")
    assert len(told) == COUNT == len(page.names)
    plain = [Path(name).name for name in page.names if name.isprintable()]
    assert [name for name in told if "\\" not in name] == plain and ODD[0] in plain
    assert "end\\u202egnp.png" in told and "\u202e" not in "".join(told)  # spelled out, or it would turn the line
    assert asked(page, f"images/{COUNT}") == []


def test_the_page_escapes_names(place):
    data = place / "images" / ODD[0]
    answers, _ = ready(config_of(place, "encoder.safetensors", data=str(data), out=place / "<b>out</b>.txt"))
    with serving(answers) as server:
        reply, content = ask(server)
        page = content.decode()
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<img" not in page and "&lt;img src=x onerror=alert(1)&gt;.png" in page and "<b>" not in page
        assert page.count("<script") == 2 and f"nonce-{answers.page().nonce}" not in page


@pytest.mark.parametrize("kind", ["encoder", "classifier"])
def test_the_nearest_are_those_of_the_features(pages, kind):
    page = pages[kind]
    for index in range(0, COUNT, 7):
        similar = cosines(page.features[index], page.features)
        similar[index] = -2
        best = np.argsort(-similar, kind="stable")[:NEIGHBOURS]
        near = asked(page, f"near/{index}")
        assert [one["similarity"] for one in near] == pytest.approx(similar[best], abs=1e-4)
        assert {one["image"] for one in near[:-2]} <= set(best.tolist()) and index not in {one["image"] for one in near}
        assert all(similar[one["image"]] == pytest.approx(one["similarity"], abs=1e-4) for one in near)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mode"), [("encoder", "whole"), ("classifier", "classifier")])
def test_what_is_kept_is_what_pcae_show_says(pages, place, capsys, tmp_path, kind, mode):
    """At a ratio that is not the one that both have without a word."""
    page = pages[kind]
    ratios = json.loads(ask(page.server)[1].decode().split('type="application/json">')[1].split("<")[0])["ratios"]
    words = ["show", str(place / "images"), "--weights", str(place / f"{kind}.safetensors"), "--modes", mode, "--json"]
    flag = {"whole": ["--keep-ratio", "0.8"], "classifier": ["--drop-ratio", "0.2"]}[mode]
    words += ["--out", str(tmp_path / "out"), "--most-images", "2", "--max-bad-files", "0.5", "--device", "cpu"]
    main([*words, *flag])
    for image in json.loads(capsys.readouterr().out)["images"]:
        kept = image["kept"][mode]
        index = [Path(name).name for name in page.names].index(image["name"])
        said = asked(page, f"look/{index}/{ratios.index(kept['drop_ratio'])}")
        stages = [set(kept["shown_ids"]), *(set(stage["kept_ids"]) for stage in kept["stages"])]
        assert kept["drop_ratio"] == 0.2 and said["left"] == [len(ids) for ids in stages]
        assert said["fates"] == [sum(place in ids for ids in stages) for place in range(24)]


def test_a_classifier_says_what_pcae_predict_says_and_costs_less_as_the_dial_is_turned(pages, place):
    page, model = pages["classifier"], TrainedConfig(weights=str(place / "classifier.safetensors"), device="cpu")
    shown, costs = ShownConfig(split="train", max_bad_files=0.5), []
    for at, ratio in enumerate((0.0, 0.1, 0.2, 0.3)):
        config = PredictConfig(data=str(place / "images"), model=model, drop_ratio=ratio, shown=shown)
        lines = [line for line in predictions(config) if "top" in line]
        for index in (0, 5):
            said = asked(page, f"look/{index}/{at}")
            assert [best["class"] for best in said["top"]] == [best["class"] for best in lines[index]["top"]]
            chances = [best["probability"] for best in lines[index]["top"]]
            assert [best["probability"] for best in said["top"]] == pytest.approx(chances, abs=1e-5)
        costs.append(said["gmacs"])
    assert costs == sorted(costs, reverse=True) and costs[3] < 0.8 * costs[0]
    assert "top" not in asked(pages["encoder"], "look/0/1")


def test_pictures_are_the_image_as_it_is_and_as_the_model_sees_it(pages):
    page = pages["encoder"]
    reply, content = ask(page.server, "thumbnail/3")
    assert reply.headers["Content-Type"] == "image/jpeg" and Image.open(io.BytesIO(content)).size == (50, 40)
    reply, content = ask(page.server, "picture/3")
    assert reply.headers["Content-Type"] == "image/png" and Image.open(io.BytesIO(content)).size == (48, 32)


def test_a_picture_of_ones_own_finds_its_copy(pages, place):
    page = pages["encoder"]
    index = asked(page, "upload", method="POST", body=Path(page.names[4]).read_bytes())
    assert index >= COUNT
    near = asked(page, f"near/{index}")
    assert near[0]["image"] == 4 and near[0]["similarity"] == pytest.approx(1, abs=1e-4) and len(near) == NEIGHBOURS
    assert asked(page, f"look/{index}/1") == asked(page, "look/4/1")
    assert ask(page.server, f"picture/{index}")[1] == ask(page.server, "picture/4")[1]
    assert "no image" in refused(page, f"thumbnail/{index}")  # what is no image of the folder cannot be marked either
    assert f"no image {index}" in refused(page, "marked", "POST", body=str(index))


def test_only_so_many_pictures_of_ones_own_are_remembered(pages):
    page, content = pages["encoder"], png(np.zeros((8, 8, 3), np.uint8))
    first, *_, last = [asked(page, "upload", method="POST", body=content) for _ in range(UPLOADS + 1)]
    assert f"no image {first}" in refused(page, f"picture/{first}") and asked(page, f"near/{last}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
        png(np.zeros((8, 8, 3), np.uint8))[:45],
        b"P6 %d 9 255\n" % MOST_PIXELS,
    ],
)
def test_an_upload_that_is_no_image_is_told_in_one_line(pages, content):
    assert "\n" not in (said := refused(pages["encoder"], "upload", "POST", body=content)) and "your image" in said


@pytest.mark.parametrize(
    "path",
    [
        *("images/-1", "images/x", "images/", "images", "thumbnail/40", "thumbnail/9999999999999", "picture/1e3"),
        *(
            "look/0",
            "look/0/99",
            "look/40/0",
            "near/\u0663".encode().decode("latin-1"),
            "near/0/0",
            "nothing",
            "upload",
        ),
        *("thumbnail/..%2f..%2fetc%2fpasswd", "../../etc/passwd", "picture//etc/passwd", "marked", "?image=1"),
    ],
)
def test_what_is_not_there_is_told(pages, path):
    assert refused(pages["encoder"], path.encode("ascii", "replace").decode())


def test_the_marked_list_is_data_and_is_gone_on_with(pages, place, tmp_path):
    page, out = pages["encoder"], place / "marked.txt"
    odd = [index for index, name in enumerate(page.names) if Path(name).name in ODD]
    wanted = [*odd, 7, 3]
    body = " ".join(map(str, wanted))
    assert asked(page, "marked", method="POST", body=body) == {"images": 6, "out": str(out)}
    assert list(open_images(str(out)).names) == [page.names[index] for index in sorted(wanted)]
    main(["embed", str(out), "--weights", str(place / "encoder.safetensors"), "--out", str(tmp_path / "of.npy")])
    assert np.load(tmp_path / "of.npy") == pytest.approx(page.features[sorted(wanted)], abs=1e-5)
    again, _ = ready(config_of(place, "encoder.safetensors"))
    assert again.marked == sorted(wanted)
    for body, why in (("", "no image is marked"), ("40", "no image 40"), ("1 -2", "'-2'"), ("[1]", "'[1]'")):
        before = out.read_bytes()
        assert why in refused(page, "marked", "POST", body=body) and out.read_bytes() == before
    assert sorted(path.name for path in place.iterdir() if "marked" in path.name) == ["marked.txt"]
    out.unlink()


def test_a_list_of_other_files_is_not_lost(place, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "other.png")
    (tmp_path / "list.txt").write_text("other.png\n")
    with pytest.raises(ValueError, match=r"names 1 files that are no images here, the first is .*other.png.*--out"):
        ready(config_of(place, "encoder.safetensors", out=tmp_path / "list.txt"))
    assert (tmp_path / "list.txt").read_text() == "other.png\n"


def test_a_name_with_a_line_break_cannot_be_listed(place, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "a\nb.png")
    config = config_of(place, "encoder.safetensors", data=str(tmp_path / "images"), out=tmp_path / "list.txt")
    answers, _ = ready(config)
    with pytest.raises(ValueError, match="line break in its name"):
        answers.write(b"0")
    assert not (tmp_path / "list.txt").exists()


def test_images_that_are_no_files_are_explored_but_not_marked(place, tmp_path):
    torch.manual_seed(0)
    gray = replace(TINY, channels=1, image_size=(28, 28), patch_size=7)
    facts = PretrainedFacts(encoder=gray, mean=[0.5], std=[0.25])
    save_model(place / "gray.safetensors", build_encoder(gray).vit, facts)
    config = config_of(place, "gray.safetensors", data="sample", shown=ShownConfig(split="test"), batch_size=500)
    answers, _ = ready(config)
    assert b'id="write"' not in answers.page().content and b"no files of their own" in answers.page().content
    with serving(answers) as server:
        page = SimpleNamespace(server=server)
        assert len(asked(page, "near/0")) == NEIGHBOURS and ask(server, "thumbnail/0")[0].status == 200
        assert asked(page, "upload", method="POST", body=png(np.zeros((30, 20, 3), np.uint8))) == 1000
        assert "no file of its own" in refused(page, "marked", "POST", body="3") and not config.out.exists()


def test_many_requests_at_once_are_answered_as_one_by_one(pages):
    page = pages["classifier"]
    paths = [f"{what}/{index}{more}" for index in range(4) for what, more in (("near", ""), ("look", "/3"))]
    alone = [asked(page, path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda path: asked(page, path), paths * 2)) == alone * 2


def test_a_browser_is_opened_for_somebody_before_this_machine_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert not has_display()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--out", "list.csv"], "out 'list.csv' must end in .txt"),
        (["--out", "nowhere/list.txt"], "there is no folder 'nowhere'; make it"),
        (["--port", "70000"], "port must lie in [0, 65535], got 70000"),
    ],
)
def test_what_cannot_be_is_one_line(place, capsys, monkeypatch, tmp_path, words, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["explore", str(place / "images"), "--weights", str(place / "encoder.safetensors"), *words])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and why in said and said.count("\n") == 1


def test_a_used_port_is_refused_before_any_work(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with LocalServer(0) as server, pytest.raises(SystemExit) as stop:
        main(["explore", "nowhere", "--weights", "nothing", "--port", str(server.server_port)])
    assert stop.value.code == 2 and "is used by another program" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_says_where_it_is_and_ends_by_an_interrupt(place, tmp_path):
    command = [sys.executable, "-m", "pcae", "explore", str(place / "images"), "--max-bad-files", "0.5"]
    command += ["--weights", str(place / "encoder.safetensors"), "--device", "cpu", "--json"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what is started in the background ignores it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=heard, **pipes) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = iter(process.stdout.readline, "")
        said = json.loads("".join(line for line in iter(lambda: next(lines), "}\n")) + "}")
        assert (
            said["address"].startswith("http://127.0.0.1:") and said["images"] == COUNT and len(said["bad_files"]) == 2
        )
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
        assert process.returncode == 0 and "Traceback" not in process.stderr.read()
    assert not list(tmp_path.iterdir())
