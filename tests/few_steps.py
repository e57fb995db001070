"""Commands of the pages at their smallest: few images that are made up, one step, the least network."""

import itertools
import shutil
import tarfile
from pathlib import Path

import numpy as np
import tifffile
import timm
import yaml
from PIL import Image

import pcae
from pcae.cli import main
from pcae.functions import function
from tests import shapes
from tests.documentation import ROOT, fences

NET = {"--model": ["vit_tiny_patch16_224"], "--width": ["24"], "--depth": ["4"], "--heads": ["2"]}
SIZE = {"--image-size": ["32", "32"], "--patch-size": ["8"]}
DECODER = {"--decoder-width": ["16"], "--decoder-depth": ["1"], "--decoder-heads": ["2"]}
STEP = {"--steps": ["1"], "--epochs": None, "--batch-size": ["4"], "--device": ["cpu"]}
DETECTOR = {
    "--pyramid-channels": ["16"], "--head-width": ["32"], "--mask-channels": ["16"], "--mask-convs": ["1"],
    "--sampled-proposals": ["16"], "--shortest-sides": ["64"], "--longest-side": ["100"],
}  # fmt: skip
SMALL = {
    "pretrain": {**STEP, **NET, **SIZE, **DECODER},
    "finetune": STEP,
    "detect train": {**STEP, **DETECTOR, "--batch-size": ["2"]},
    "probe": {"--epochs": ["1"], "--most-images": ["50"]},
    "evaluate": {"--batch-size": ["200"], "--rounds": ["1"]},
    "tune": {
        **{"--faster": None, "--ms": None, "--at-most-lost": ["99"]},  # no speed is promised here
        **{"--criteria": ["bipartite"], "--rounds": ["1"], "--most-images": ["8"]},
    },
    "diversity": {"--most-images": ["1"], "--seeds": ["1"]},
    "show": {"--most-images": ["1"]},
    "pack": {"--workers": ["0"]},
    "check-data": {"--workers": ["0"]},
    "benchmark": {**STEP, **NET, **SIZE, **DECODER, "--rounds": ["1"]},
    "compare": {"--seeds": ["0"], "--seconds": None, "--measures": ["knn"]},
    "worth": {"--seeds": ["0"], "--minutes": ["0.5"], "--image-size": ["32", "32"], "--device": ["cpu"]},
}
"""By verb, the flags that make it small: values in place of those shown; None leaves them out."""
SCRIPTS = {
    "check_data.py": ["--images", "4", "--rounds", "1"],
    "criteria_cost.py": ["--model", "vit_tiny_patch16_224", "--batch", "2", "--rounds", "1"],
    "fixed_teacher.py": ["--teacher", "vit_small_patch16_dinov3", "--batch", "2", "--rounds", "1"],
    "health_cost.py": ["--model", "vit_tiny_patch16_224", "--batch", "2", "--rounds", "1"],
    "runtimes.py": [
        *("--model", "vit_tiny_patch16_224", "--batch", "1", "--drop-ratio", "0.3", "--rounds", "1"),
        *("--runtimes", "eager", "onnxruntime"),
    ],
    "neighbours.py": ["--data", "sample", "--rows", "2000", "--queries", "10"],
    "scale_data.py": ["--images", "100", "--samples", "1000", "--shards", "10", "--ranks", "2"],
}
"""Scripts of benchmarks/ that can be made small. The others train for hours, or have tests of their own."""
GRAPHS = {"onnx": "photos.onnx", "torch-export": "photos.pt2"}
"""What pages call exported graphs, by their format."""
LABELLED = {"probe", "evaluate", "finetune", "compare", "tune", "worth"}
IMAGES = {
    "fashion-mnist": "sample", "coco/": "coco", "small": "coco", "small/images/00000.png": "coco/images/0.png",
    "labelled/": "labelled", "new/": "new", "packed/": "packed", "FOLDER/500x375": "photos",
    "s3://bucket/train-{000000..009999}.tar": "shards/train-{000..001}.tar", "more.csv": "labelled", "tiles/": "tiles",
    "shards/train-{000000..000099}.tar": "shards/train-{000..001}.tar", "photos.parquet": "photos.parquet",
    "photos/cat.jpg": "photos/0.png", "photos/dogs/7.jpg": "photos/7.png", "features/": "photos.parquet",
}  # fmt: skip
"""What stands here for images that pages name; photos, or labelled ones, for all other names."""
MADE = {"packed/", "small/", "PACKED", "index.json"}
"""Second words of `pack` and `index`: what is written."""


def left_out(words: tuple[str, ...]) -> bool:
    """Whether a command needs the network or a client that is not here, or has a test of its own at this size."""
    away = {"--table", "wandb", "mlflow", "openvino"}
    return words[1] in {"demo", "explore"} or any(word.startswith(("hf:", "hf-hub:")) or word in away for word in words)


def kind_of(words: tuple[str, ...]) -> set[str]:
    """What makes a command another than one of the same verb: its flags, and the values of some of them."""
    pairs = itertools.pairwise(words)
    telling = {
        f"{flag} {value}" for flag, value in pairs if flag in {"--method", "--to", "--table", "--form", "--recipe"}
    }
    return telling | {word for word in words if word.startswith("--")} | {word for word in words if word == "sample"}


def few(words: list[str], verb: str, place: Path) -> list[str]:
    """A command at its smallest, on the images and runs of `place`; what it writes is new."""
    heads = [index for index, word in enumerate(words) if word.startswith("--")]
    named = words[: heads[0]] if heads else words
    flags = {words[start]: words[start + 1 : end] for start, end in itertools.pairwise([*heads, len(words)])}
    data = [data_of(word, verb, place, first=not index) for index, word in enumerate(named)]
    flags = {name: values for name, values in (flags | small(verb, flags)).items() if values is not None}
    for name in flags.keys() & {"--weights", "--init", "--teacher"}:
        flags[name] = runs_of(flags[name], verb, flags, gray=data[:1] == ["sample"])
    for name in flags.keys() & {"--out", "--predictions"}:
        flags[name] = [new(place, flags[name][0])]
    if "--by" in flags:
        flags["--by"] = ["runs/photos"]
    if "--knn-data" in flags:
        flags["--knn-data"] = ["sample" if data == ["sample"] else "labelled"]
    if "--validation" in flags:
        flags["--validation"] = ["coco/val.json"]
    if "--data" in flags:
        flags["--data"] = ["photos"]
    if "--reduction" in flags:
        (place / "reduction.yaml").write_text("drop_ratio: 0.2\ncriterion: bipartite\nfold: merge\nbefore_mlp: true\n")
        flags["--reduction"] = [str(place / "reduction.yaml")]
    if "--check" in flags:
        flags["--check"] = [graph("onnx")]
    if "--rows" in flags and verb == "compare":
        flags["--rows"] = [few_rows(place, flags["--rows"][0])]
    return [*data, *itertools.chain(*([name, *values] for name, values in flags.items()))]


def small(verb: str, flags: dict[str, list[str]]) -> dict[str, list[str] | None]:
    """The flags that make a command small, less those that do not go with the ones that it has."""
    chosen = dict(SMALL.get(verb, {}))
    if flags.get("--method", [""])[0].endswith("simmim"):
        chosen = {name: values for name, values in chosen.items() if name not in DECODER}
    if "--init" in flags:
        chosen = {name: values for name, values in chosen.items() if name not in NET | SIZE}
    return chosen


def data_of(word: str, verb: str, place: Path, first: bool) -> str:
    """What stands here for a word that is no flag."""
    if verb == "completion":
        return word
    if not first and verb in {"pack", "index"}:
        return new(place, word)
    if word == "sample":
        return word
    if word == "index.json":
        return "index.json"
    return IMAGES.get(word, "labelled" if verb in LABELLED else "photos")


def runs_of(names: list[str], verb: str, flags: dict[str, list[str]], gray: bool) -> list[str]:
    """Finished runs of the kind that a verb takes, a name each."""
    kind = {
        "evaluate": "classifier",
        "tune": "classifier",
        "predict": "classifier",
        "detect evaluate": "detector",
        "detect predict": "detector",
    }
    asked = "classifier" if "classifier" in " ".join([*names, *flags.get("--modes", [])]) else kind.get(verb, "photos")
    if gray:
        asked = {"photos": "gray", "classifier": "gray-classifier"}[asked]
    return [name if name == "random" else f"runs/{asked}" + "-again" * index for index, name in enumerate(names)]


def new(place: Path, name: str) -> str:
    """A place that is not there yet, with the suffix of `name`."""
    folder = place / "made"
    folder.mkdir(exist_ok=True)
    return str(folder / f"{len(list(folder.iterdir()))}{Path(name).suffix}")


def few_rows(place: Path, name: str) -> str:
    """Two rows of a file, or of the one in docs/compare.md, on the smallest network."""
    written = next(block for _, kind, block in fences((ROOT / "docs" / "compare.md").read_text()) if kind == "yaml")
    rows = yaml.safe_load((ROOT / name).read_text() if name.startswith("benchmarks") else written)
    flat = {
        flag[2:]: [int(one) if one.isdigit() else one for one in values]
        for flag, values in SMALL["pretrain"].items()
        if values
    }
    alone = {key: value[0] if len(value) == 1 else value for key, value in flat.items()}
    rows |= {
        "pretrain": {key: value for key, value in alone.items() if key != "device"},
        "measures": ["knn"],
        "rows": rows["rows"][:2],
    }
    path = Path(new(place, "rows.yaml"))
    path.write_text(yaml.safe_dump(rows))
    return str(path)


def furnish(place: Path) -> None:
    """Make the images and the runs."""
    noise = np.random.default_rng(0)
    folders = ["photos", "new", *(f"labelled/{split}/{name}" for split in ("train", "val") for name in "ab")]
    for folder in folders:
        (place / folder).mkdir(parents=True)
        for index in range(12):
            Image.fromarray(noise.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(place / folder / f"{index}.png")
    (place / "tiles").mkdir()
    for index in range(4):
        bands = noise.integers(0, 10_001, (40, 60, 8), dtype=np.uint16)
        tifffile.imwrite(place / "tiles" / f"{index}.tif", bands, photometric="minisblack", planarconfig="contig")
    (place / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(place / "shards" / f"train-{shard:03d}.tar", "w") as tar:
            for path in sorted((place / "photos").iterdir())[shard::2]:
                tar.add(path, path.name)
    for name in ("train", "val"):
        shapes.make(place / "coco", shapes.content(), name)
    (place / "benchmarks").symlink_to(ROOT / "benchmarks")
    train()


def train() -> None:
    """Runs of one step in the folder that is the current one, and what is made of images and runs."""
    net = list(itertools.chain(*([name, *values] for name, values in (NET | DECODER).items())))
    step = ["--steps", "1", "--batch-size", "4", "--device", "cpu"]
    detector = list(itertools.chain(*([name, *values] for name, values in DETECTOR.items())))
    main(["pretrain", "photos", *net, *step, "--out", "runs/photos"])
    main(["pretrain", "photos", *net, *step, "--method", "mae", "--out", "runs/mae"])
    main(["pretrain", "sample", *net, *step, "--image-size", "28", "28", "--patch-size", "7", "--out", "runs/gray"])
    main(
        ["finetune", "labelled", *step, "--weights", "runs/photos", "--drop-ratio", "0:0.4", "--out", "runs/classifier"]
    )
    main(
        [
            "finetune",
            "sample",
            *step,
            "--weights",
            "runs/gray",
            "--drop-ratio",
            "0:0.4",
            "--out",
            "runs/gray-classifier",
        ]
    )
    main(["finetune", "labelled", *step, "--weights", "runs/photos", "--global-pool", "token", "--out", "runs/cls"])
    main(["detect", "train", "coco", *step, *detector, "--weights", "runs/photos", "--out", "runs/detector"])
    for run in ("photos", "gray"):
        for index in range(1, 4):
            shutil.copytree(f"runs/{run}", f"runs/{run}{'-again' * index}")
    main(["embed", "photos", "--weights", "runs/photos", "--out", "photos.parquet", "--device", "cpu"])
    main(["pack", "photos", "packed", "--workers", "0"])
    main(["index", "shards/train-{000..001}.tar", "index.json"])


def patch(monkeypatch, place: Path) -> None:
    """Python's pre-training and fine-tuning take one step and write elsewhere; timm downloads nothing."""
    step = {"steps": 1, "batch_size": 4, "device": "cpu"}
    net = {
        "model": "vit_tiny_patch16_224",
        "width": 24,
        "depth": 4,
        "heads": 2,
        "image_size": (32, 32),
        "patch_size": 8,
    }
    create = timm.create_model

    def pretrain(data, out, **knobs):
        return function("pretrain")(data, new(place, ""), **{**knobs, **step, **net})

    def finetune(data, out, **knobs):
        return function("finetune")(data, new(place, ""), **{**knobs, **step})

    def created(name, pretrained=False, **knobs):
        return create(name, pretrained=pretrained and name.startswith("local-dir:"), **knobs)

    monkeypatch.setattr(pcae, "pretrain", pretrain, raising=False)
    monkeypatch.setattr(pcae, "finetune", finetune, raising=False)
    monkeypatch.setattr(timm, "create_model", created)


def graph(to: str) -> str:
    """The classifier's graph in a format, made where it is not there."""
    if not Path(GRAPHS[to]).exists():
        main(["export", "--weights", "runs/classifier", "--to", to, "--out", GRAPHS[to]])
    return GRAPHS[to]


def named(block: str) -> str:
    """A block with the export that it loads in place of FOLDER, made where it is not there."""
    kind = "timm" if "local-dir" in block else "vitmae" if "ViTMAE" in block else "hf"
    runs = {"timm": "classifier", "vitmae": "mae", "hf": "cls"}
    if "FOLDER" in block and not Path(f"exports/{kind}").exists():
        Path("exports").mkdir(exist_ok=True)
        main(["export", "--weights", f"runs/{runs[kind]}", "--to", kind, "--out", f"exports/{kind}"])
    for to, name in GRAPHS.items():
        if name in block:
            graph(to)
    return block.replace("FOLDER", f"exports/{kind}")
