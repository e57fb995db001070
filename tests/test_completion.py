"""The completion scripts, and what bash and fish make of them."""

import shutil
import subprocess

import pytest

from pcae.cli import SHELLS, main
from pcae.settings.verbs import VERBS
from tests.completion import scripts


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_shipped_is_what_the_settings_say(capsys, shell):
    main(["completion", shell])
    script = capsys.readouterr().out
    assert script == scripts()[shell], "run `make completion`"
    assert all(word in script for verb in VERBS for word in verb.split()) and "mask-ratio" in script
    assert len(script) < 60_000


LINES = [
    ("che", ["check-data"]),
    ("completion z", ["zsh"]),
    ("detect pr", ["predict"]),
    ("pretrain --mask", ["--mask-ratio"]),
    ("detect train --pyr", ["--pyramid", "--pyramid-channels"]),
    ("pretrain --recipe sam", ["sample"]),
    ("detect train data --recipe ", ["auto", "detect-coco-vit-b", "detect-small"]),
    ("pretrain --method simm", ["simmim"]),
    ("finetune x --drop-ramp ", ["cosine", "linear"]),
    ("pretrain --method pcae --out pho", ["photos"]),
    ("embed pho", ["photos"]),
    ("pretrain --no-f", ["--no-flip"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the scripts, and something to complete."""
    root = tmp_path_factory.mktemp("completion")
    (root / "photos").mkdir()
    for shell, script in scripts().items():
        (root / f"pcae.{shell}").write_text(script)
    return root


@pytest.mark.parametrize(
    ("line", "expected"),
    [*LINES, ("probe x --probes knn lin", ["linear"]), *([("pretrain --method = simm", ["simmim"])])],
)
def test_bash_completes(folder, line, expected):
    words = line.split(" ")
    program = (
        f"source pcae.bash; COMP_WORDS=(pcae {' '.join(word or repr('') for word in words)}); "
        f"COMP_CWORD={len(words)}; _pcae; printf '%s\\n' \"${{COMPREPLY[@]:-$(compgen -f -- '{words[-1]}')}}\""
    )
    done = subprocess.run(["bash", "-c", program], cwd=folder, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (expected, "")


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
@pytest.mark.parametrize(("line", "expected"), LINES)
def test_fish_completes(folder, line, expected):
    program = f"source pcae.fish; complete -C 'pcae {line}'"
    done = subprocess.run(["fish", "--no-config", "-c", program], cwd=folder, capture_output=True, text=True)
    found = [row.split("\t")[0].rstrip("/") for row in done.stdout.splitlines()]
    assert (found, done.stderr) == (expected, "")
