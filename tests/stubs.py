"""The stubs that type checkers and editors read, as the settings have them: `make completion` writes them."""

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pcae
from pcae.functions import FUNCTIONS, RESULTS, function
from pcae.settings.signatures import NAMES

PLACE = Path(pcae.__file__).parent
HEAD = '"""{title} Written by `make completion` from the settings."""\n\n'
TYPES = """
class Indexed(Protocol):
    \"\"\"A list, an array, a data set of Hugging Face's: what has a length and items.\"\"\"

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...

Data: TypeAlias = str | PathLike[str] | Dataset[Any] | Mapping[str, Any] | Indexed
\"\"\"Images: a path, a list, `hf:NAME` or a built-in word; a data set, an array or a list of them.\"\"\"
Weights: TypeAlias = str | PathLike[str] | nn.Module
\"\"\"A trained model: a run folder, a file or folder of weights, `timm:NAME`; or a model itself.\"\"\"
"""


def stubs() -> dict[str, str]:
    """The text of every stub, by the name of its file."""
    return {"__init__.pyi": package(), "detect.pyi": detection()}


def package() -> str:
    """All public names: classes as they are, verbs with the arguments that their settings make."""
    classes = [f"from pcae.{module} import {name} as {name}" for name, module in sorted(pcae._PUBLIC.items())]
    modules = [f"from pcae import {name} as {name}" for name in pcae._MODULES]
    names = [f'    "{name}",' for name in pcae.__all__]
    verbs = [body for name in pcae._VERBS for body in definitions(name)]
    return "\n".join(
        [
            HEAD.format(title="The public names of pcae, with their types.") + "\n".join(needed(pcae._VERBS)),
            *sorted({*classes, *modules, *results(pcae._VERBS), *OLD}, key=place_of),
            "",
            TYPES,
            "__version__: str",
            "\n".join(["__all__ = [", *names, "]"]),
            "",
            *verbs,
        ]
    )


OLD = {
    "from pcae.data.images import Images",
    "from pcae.model.pretrained import Pretrained as Pretrained",
    "from torch import Tensor, nn",
    "from torch.utils.data import Dataset",
}
EMBED = '''@overload
def embed(
    model: Pretrained,
    images: Images,
    how: Literal["mean", "cls"] = "mean",
    workers: int = 0,
) -> Tensor:
    """Pooled features of open images, a row each, in order. Raises ValueError for what does not go together."""

@overload
'''


def detection() -> str:
    """The verbs of detection."""
    verbs = [name for name in FUNCTIONS if name.startswith("detect.")]
    return "\n".join(
        [
            HEAD.format(title="The verbs of detection, with their types.") + "\n".join(needed(verbs)),
            *sorted(
                f"from pcae import {name} as {name}" for name in {*pcae.__all__, *NAMES.values()} & words_in(verbs)
            ),
            *sorted(results(verbs)),
            "",
            *(body for name in verbs for body in definitions(name)),
        ]
    )


def words_in(verbs: Iterable[str]) -> set[str]:
    """All names in the signatures of these verbs."""
    return {word for name in verbs for word in re.findall(r"\w+", str(inspect.signature(function(name))))}


def needed(verbs: Iterable[str]) -> list[str]:
    """What of the standard library stands in a stub with these verbs."""
    whole, words = "embed" in verbs, words_in(verbs)
    abstract = ["Callable", "Mapping", "Sequence"]
    typing = ["Any", "Literal", "Protocol", "TypeAlias", "overload"]
    return [
        f"from collections.abc import {', '.join(word for word in abstract if word in words or whole)}",
        "from os import PathLike",
        f"from typing import {', '.join(word for word in typing if word in words or whole)}",
        "",
    ]


def results(verbs: Iterable[str]) -> set[str]:
    """The imports of what these verbs return."""
    names = {FUNCTIONS[name].returns for name in verbs}
    return {f"from pcae.{RESULTS[name]} import {name}" for name in names}


def place_of(line: str) -> tuple[str, ...]:
    """What imports are ordered by."""
    return tuple(line.split()[1::2])


def definitions(name: str) -> Iterator[str]:
    """A verb as a stub has it."""
    made = function(name)
    if name == "embed":
        yield EMBED.rstrip("\n")
    yield "\n".join([f"def {made.__name__}(", *arguments(name), f") -> {FUNCTIONS[name].returns}:", said(name), ""])


def arguments(name: str) -> Iterator[str]:
    """A line for each argument."""
    named = False
    for one in inspect.signature(function(name)).parameters.values():
        if one.kind is one.KEYWORD_ONLY and not named:
            named = True
            yield "    *,"
        default = "" if one.default is one.empty else f" = {written(one.default)}"
        yield f"    {one.name}: {one.annotation}{default},"


def written(value: object) -> str:
    """A default as Python writes it, with double quotes; a path as text."""
    return repr(str(value) if isinstance(value, Path) else value).replace("'", '"')


def said(name: str) -> str:
    """The docstring of a verb."""
    return textwrap.indent(f'"""{inspect.getdoc(function(name))}\n"""', "    ", lambda line: bool(line.strip()))


def write() -> None:
    """Write the stubs into the package."""
    for name, text in stubs().items():
        (PLACE / name).write_text(text, "utf-8")


if __name__ == "__main__":
    write()
