"""Verbs as functions of Python: what they take and say is what their settings are."""

import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import pcae
from pcae import functions
from pcae.functions import FUNCTIONS, RESULTS, function
from pcae.settings.given import Given
from pcae.settings.help import explanations
from pcae.settings.signatures import doc_of, signature_of
from pcae.settings.values import build, flatten, leaves
from tests.stubs import PLACE, stubs


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_defaults_and_help_are_those_of_the_settings(name):
    told, made = FUNCTIONS[name], function(name)
    parameters, cls = inspect.signature(made).parameters, told.config
    assert set(parameters) == (leaves(cls).keys() - {"json"}) | told.more.keys()
    defaults = flatten(build(cls, {}))
    own = {key: one.default for key, one in parameters.items() if one.default is not one.empty and key not in told.more}
    assert own == {key: defaults[key] for key in own} and made.__name__ == name.rpartition(".")[2]
    needed = {key for key, one in parameters.items() if one.default is one.empty}
    assert needed == {key for key, value in flatten(build(cls, {}, missing=...)).items() if value is ...} - set(
        told.optional
    )
    said = " ".join((made.__doc__ or "").split())
    assert all(f" {key}: " in said for key in parameters) and "--" not in said.replace("---", "")
    assert explanations(cls)["device" if "device" in parameters else next(iter(parameters))] in said


def test_public_names_are_listed_once_and_have_help():
    assert dir(pcae) == pcae.__all__ == sorted(set(pcae.__all__))
    assert {name for name in FUNCTIONS if "." not in name} < set(pcae.__all__)
    assert all(getattr(pcae, name).__doc__ for name in pcae.__all__)
    assert {told.returns for told in FUNCTIONS.values()} == RESULTS.keys()
    for name, module in RESULTS.items():
        assert functions.work_of((module, name)).__doc__


@pytest.mark.parametrize("name", stubs())
def test_the_stubs_are_what_the_settings_say(name):
    assert (PLACE / name).read_text("utf-8") == stubs()[name], "run `make completion`"
    assert (PLACE / "py.typed").is_file()


def test_neither_import_nor_help_waits_for_torch():
    program = (
        "import sys, pcae; assert 'pydantic' not in sys.modules; pcae.detect.train.__doc__, pcae.pretrain.__doc__; "
        "import inspect; inspect.signature(pcae.embed); dir(pcae); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture
def asked(monkeypatch):
    """The settings that reach the work of a verb; that of training verbs by name."""
    found = []

    def work(config=None, **settings):
        found.append(settings or config)

    monkeypatch.setattr(functions, "work_of", lambda place: work)
    return found


def test_values_become_what_settings_have(asked):
    model = nn.Linear(1, 1)
    pcae.probe([Path("a"), "b"], weights=model, k=np.int64(5), probes="knn", image_size=64, pool=["mean"])
    config = asked.pop()
    assert (config.data, config.k, config.probes, config.pool) == (("a", "b"), (5,), ("knn",), ("mean",))
    assert config.model.image_size == (64, 64)
    assert isinstance(config.model.weights, Given) and config.model.weights.value is model
    assert config.model.weights == "<Linear>"
    pcae.finetune("a", Path("b"), weights=model, drop_ratio=(0, 0.4), betas=[np.float32(0.5), 1], stream=True)
    settings = asked.pop()
    assert settings["weights"].value is model and settings["drop_ratio"] == "0:0.4" and settings["betas"] == [0.5, 1]
    pcae.evaluate("a", weights="w", drop_ratio=np.float64(0.5), out="~/x.png")
    assert asked.pop().drop_ratio == (0.5,)
    pcae.evaluate("a", weights="w", drop_ratio=(0.1, 0.2))
    assert asked.pop().drop_ratio == (0.1, 0.2)
    pcae.compare(rows="rows.yaml", out="out", seeds=range(3))
    assert asked.pop().seeds == (0, 1, 2)
    pcae.embed("a", weights="w")
    assert asked.pop().out is None
    pcae.export("w", to="onnx", out="x")
    assert asked.pop().model.weights == "w"


def test_what_is_not_given_is_left_to_recipes(asked):
    pcae.pretrain("a", "b", recipe="sample", steps=3)
    assert asked.pop() == {"data": "a", "out": "b", "recipe": "sample", "steps": 3}


def test_arguments_that_are_no_settings_go_along(asked):
    more = {"callbacks": ("Sequence[str]", "Who is told.")}
    told = replace(FUNCTIONS["pretrain"], more=more)
    functions.run(told, "pretrain", {"data": "a", "out": "b", "steps": 1, "callbacks": asked})
    assert asked.pop() == {"data": "a", "out": "b", "steps": 1, "callbacks": asked}
    signature = signature_of(told.config, "pretrain", told.first, told.types(), (), told.returns)
    assert str(signature).endswith("callbacks: Sequence[str] | None = None) -> RunSummary")
    assert "\ncallbacks: Who is told.\n" in doc_of(told.config, signature.parameters, told.sentences(), told.says)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: pcae.evaluate("a"), r"evaluate: missing: weights; see help\(pcae.evaluate\)"),
        (lambda: pcae.pretrain("a"), "pretrain: missing: out"),
        (lambda: pcae.embed("a"), "embed: missing: weights"),
        (lambda: pcae.detect.predict("a", "b"), "detect.predict takes data without a name, got 2 values"),
        (lambda: pcae.pretrain("a", "b", data="c"), "pretrain was given data twice"),
        (lambda: pcae.probe("a", weights="w", epohcs=3), "probe: unknown key 'epohcs'; did you mean 'epochs'?"),
        (lambda: pcae.probe("a", weights="w", json=True), "json is for the command line alone; leave it out"),
        (lambda: pcae.probe("a", weights="w", k=0), "k must be at least 1, got 0"),
        (lambda: pcae.probe("a", weights="w", k="many"), "k takes some whole numbers, got"),
        (lambda: pcae.probe("a", weights="w", probes="knm"), "probes takes some of knn, linear, attentive, got"),
        (lambda: pcae.evaluate("a", weights="w", image_size=(1, 2, 3)), "image_size takes 2 whole numbers, got"),
        (lambda: pcae.finetune("a", "b", drop_ratio=(0, 0.1, 0.2)), "drop_ratio takes a number or a range A:B, got"),
        (lambda: pcae.pretrain("a", "b", step=3), "pretrain: unknown key 'step'; did you mean 'steps'?"),
        (lambda: pcae.detect.train("a", "b", weigths="c"), "detect.train: unknown key 'weigths'; did you mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_with_the_value(call, reason):
    with pytest.raises(ValueError, match=reason) as error:
        call()
    assert "\n" not in str(error.value)
