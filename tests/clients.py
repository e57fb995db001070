"""Stand-ins for the clients of trackers: modules that write down how they are called, and fail on demand."""

import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Calls(list[tuple[str, Any]]):
    """What a client was told, in order. fail_at: the call whose number is this one and all later ones raise."""

    fail_at: int | None = None

    def __call__(self, name: str, told: Any = None) -> None:
        if self.fail_at is not None and len(self) >= self.fail_at:
            raise ConnectionError("the service\nis gone")
        self.append((name, told))

    def of(self, name: str) -> list[Any]:
        return [told for call, told in self if call == name]


def install(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    """Have `import NAME` give a module with this content."""
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="a stand-in")
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def wandb(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A stand-in for wandb."""
    calls = Calls()

    def recorded(name: str) -> Callable[..., None]:
        return lambda *told, **more: calls(name, [*told, *([more] if more else [])])

    class Summary(dict[str, Any]):
        def update(self, values: dict[str, Any]) -> None:
            calls("summary", values)

        def __setitem__(self, name: str, value: Any) -> None:
            calls("summary", {name: value})

    def init(**settings: Any) -> SimpleNamespace:
        calls("init", settings)
        return SimpleNamespace(
            log=lambda numbers: calls("log", numbers),
            finish=lambda exit_code: calls("finish", exit_code),
            summary=Summary(),
            alert=recorded("alert"),
            define_metric=recorded("define_metric"),
        )

    install(monkeypatch, "wandb", init=init, Image=lambda path: f"picture {path}")
    return calls


def mlflow(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A stand-in for mlflow; the run that it makes is number 7."""
    calls = Calls()

    class Client:
        def get_experiment_by_name(self, name: str) -> None:
            calls("get_experiment", name)

        def create_experiment(self, name: str) -> str:
            calls("create_experiment", name)
            return "3"

        def create_run(self, experiment: str, run_name: str) -> SimpleNamespace:
            calls("create_run", (experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="7"))

        def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
            calls("metrics", [*metrics]) if metrics else calls("params", dict(params))

        def update_run(self, run: str, status: str) -> None:
            calls("status", (run, status))

        def log_artifact(self, run: str, path: str) -> None:
            calls("artifact", path)

        def set_tag(self, run: str, name: str, value: str) -> None:
            calls("tag", (name, value))

        def set_terminated(self, run: str, status: str) -> None:
            calls("status", (run, status))

    install(monkeypatch, "mlflow")
    install(monkeypatch, "mlflow.tracking", MlflowClient=Client)
    entities = {
        "Metric": lambda name, value, when, step: (name, value, step),
        "Param": lambda name, value: (name, value),
    }
    install(monkeypatch, "mlflow.entities", **entities)
    return calls
