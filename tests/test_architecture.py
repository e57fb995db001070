"""docs/architecture.md says what is so: picture and tree are drawn from the code, and what it names is there."""

import re

import pytest
from docs import draw_architecture

WORDS = draw_architecture.PAGE.read_text()


def test_the_picture_is_that_of_the_imports():
    assert draw_architecture.PICTURE.read_text() == draw_architecture.picture(), "run `make format`"


def test_the_tree_is_that_of_the_files():
    assert draw_architecture.page(WORDS) == WORDS, "run `make format`"
    assert draw_architecture.tree().count("\n") > 150


def test_every_dot_of_the_picture_lies_below_its_room():
    place = {room: number for number, floor in enumerate(draw_architecture.floors()) for room in floor}
    edges = draw_architecture.room_edges()
    assert edges[("methods", "model")] and all(place[one] < place[other] for one, other in edges)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_/]+(?:\.py|/))`", WORDS))))
def test_the_files_that_it_names_are_there(name):
    assert any(
        (folder / name).exists()
        for folder in (draw_architecture.SOURCE, draw_architecture.ROOT, draw_architecture.DOCS)
    )


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Za-z_]+)`", WORDS))))
def test_the_names_that_it_names_are_in_the_code(name):
    assert any(re.search(rf"\b{name}\b", path.read_text()) for path in draw_architecture.modules().values())


def test_imports_inside_functions_and_of_rooms_are_seen(tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        "from pcae.commands import pretrain\ndef f():\n    import pcae.model.tokens\n    from torch import nn\n"
    )
    known = dict.fromkeys(("commands", "commands.pretrain", "model", "model.tokens"), file)
    assert draw_architecture.imported(file, known) == {"commands.pretrain", "model.tokens"}
