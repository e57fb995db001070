"""Two builds side by side: a revision of this repository and the working tree take turns at a command.

    python benchmarks/two_builds.py --figure user 045e364 pcae pretrain --help
    python benchmarks/two_builds.py HEAD~1 pcae pretrain sample --recipe sample --steps 60 --out {out} --json

The revision is unpacked into a temporary folder, and each build gets an environment of its own there: by uv where it
is, else by venv and pip (`--extras export,detection` for these). That takes minutes, and twice an installation's room.
`--environment .venv` takes one that is there for both, with the sources before it: at once, and fair while both need
the same packages. In a round each build runs the command once, in the folder of its sources; the order changes every
round, and one round before them is not counted. {out} is a new place for what the command writes.
The figure is the last number of the output; or, with --figure, the command's seconds or its user time.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
OUT = "{out}"


@dataclass(frozen=True)
class Build:
    """Sources, and the environment that they run in."""

    name: str
    sources: Path
    environment: Path

    def run(self, command: list[str], out: Path) -> subprocess.CompletedProcess[str]:
        """Run a command with this build's programs first; what it writes goes to `out`."""
        bin = self.environment / "bin"
        paths = {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(self.sources / "src")}
        words = [word.replace(OUT, str(out)) for word in command]
        words[0] = shutil.which(words[0], path=paths["PATH"]) or words[0]
        return subprocess.run(
            words, check=False, cwd=self.sources, env=os.environ | paths, capture_output=True, text=True
        )


def unpack(revision: str, folder: Path) -> Path:
    """The files of a revision in a folder."""
    folder.mkdir()
    done = subprocess.run(["git", "archive", revision], check=False, cwd=ROOT, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{revision} is no revision of {ROOT}: {done.stderr.decode().strip()}")
    subprocess.run(["tar", "x", "-C", folder], input=done.stdout, check=True)
    return folder


def install(sources: Path, extras: str, place: Path) -> Path:
    """A new environment with a build and its packages, at the versions that its constraints.txt names."""
    python, limits = str(place / "bin" / "python"), sources / "constraints.txt"
    if shutil.which("uv"):
        make, fill = ["uv", "venv", "-q", "-p", sys.executable], ["uv", "pip", "install", "-q", "-p", python]
    else:
        make, fill = [sys.executable, "-m", "venv"], [python, "-m", "pip", "install", "-q"]
    subprocess.run([*make, str(place)], check=True)
    at = ["-c", str(limits)] if limits.is_file() else []
    subprocess.run([*fill, *at, "-e", f"{sources}[{extras}]" if extras else str(sources)], check=True)
    return place


def figure_of(build: Build, command: list[str], figure: str, status: int) -> float:
    """One turn of a build at the command."""
    with tempfile.TemporaryDirectory() as folder:
        began, user = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = build.run(command, Path(folder) / "out")
        seconds, user = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - user
    if done.returncode != status:
        raise SystemExit(f"{build.name}: exit status {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    if figure != "output":
        return seconds if figure == "seconds" else user
    numbers = NUMBER.findall(done.stdout)
    if not numbers:
        raise SystemExit(f"{build.name}: the command prints no number; take --figure seconds or user")
    return float(numbers[-1])


def take_turns(builds: list[Build], command: list[str], rounds: int, figure: str, status: int) -> list[list[float]]:
    """The figure of each build in each round, printed as they come; the first round is not counted."""
    print("round  " + "  ".join(f"{build.name:>14}" for build in builds) + "   ratio")
    found = []
    for number in range(rounds + 1):
        order = builds if number % 2 else builds[::-1]
        turn = {build.name: figure_of(build, command, figure, status) for build in order}
        figures = [turn[build.name] for build in builds]
        if number:
            found.append(figures)
            print(
                f"{number:>5}  " + "  ".join(f"{one:>14.6g}" for one in figures) + f"  {figures[1] / figures[0]:6.3f}"
            )
    return found


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--figure", choices=("output", "seconds", "user"), default="output")
    parser.add_argument("--status", type=int, default=0, help="exit status that the command is to have")
    parser.add_argument("--extras", default="", help="the package's extras to install, such as export,detection")
    parser.add_argument("--environment", type=Path, help="an environment for both builds, instead of one for each")
    parser.add_argument("revision")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> float:
    """Print the rounds and the median of their ratios, the working tree's figure over the revision's; returns it."""
    asked = options(argv)
    shared = asked.environment and asked.environment.absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {asked.revision: unpack(asked.revision, folder / "sources"), "working tree": ROOT}
        builds = [
            Build(name, place, shared or install(place, asked.extras, folder / f"environment-{number}"))
            for number, (name, place) in enumerate(sources.items())
        ]
        found = take_turns(builds, asked.command, asked.rounds, asked.figure, asked.status)
    ratios = [new / old for old, new in found]
    print(
        f"median ratio {median(ratios):.4g} ({min(ratios):.4g} to {max(ratios):.4g}), working tree / {asked.revision}"
    )
    return median(ratios)


if __name__ == "__main__":
    main()
