"""What `pcae doctor` says of extras: those of the package's own metadata, and what one that lacks is needed for."""

import tomllib
from importlib.metadata import PackageNotFoundError

import pytest

from pcae.training import machine
from tests.documentation import ROOT

DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_every_extra_of_a_user_is_looked_at():
    assert set(machine.EXTRAS) == set(DECLARED) - {"dev", "docs", "hf"}


@pytest.mark.parametrize("extra", machine.EXTRAS)
def test_an_extra_is_there_when_all_its_packages_are(monkeypatch, extra):
    lines = [f"{line}; extra == '{name}'" for name, needed in DECLARED.items() for line in needed]
    monkeypatch.setattr(machine, "requires", lambda _: ["numpy>=2", *lines])
    monkeypatch.setattr(machine, "version_of", lambda _: "1.0")
    assert machine.state_of(extra) == "installed"
    last = DECLARED[extra][-1].partition(">")[0]
    monkeypatch.setattr(machine, "version_of", lambda name: machine.NOT_HERE if name == last else "1.0")
    assert machine.state_of(extra) == (
        f"without {last} there is no {machine.EXTRAS[extra]}; pip install 'pcae[{extra}]'"
    )


def test_without_metadata_nothing_is_claimed(monkeypatch):
    def missing(_: str) -> None:
        raise PackageNotFoundError

    monkeypatch.setattr(machine, "requires", missing)
    assert machine.state_of("scale") == "not known to this installation; install pcae anew"
