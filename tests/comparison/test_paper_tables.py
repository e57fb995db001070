from functools import cache

import pytest
import torch

from pcae.comparison.paper_tables import PaperRow, paper_table
from pcae.methods.choice import Pretraining, build_method
from pcae.model.encoder import Encoder, build_encoder
from pcae.model.reduction import Reduction
from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.values import build, check_values
from pcae.settings.verbs.finetune import FinetuneConfig

NUMBERS = [1, *range(3, 16)]
ROWS = {1: 11, 3: 6, 4: 4, 5: 5, 6: 4, 7: 5, 8: 6, 9: 3, 10: 2, 11: 10, 12: 4, 13: 6, 14: 7, 15: 4}


def rows_of(number: int) -> dict[str, PaperRow]:
    return {row.name: row for row in paper_table(number).rows}


@cache
def an_encoder() -> Encoder:
    return build_encoder(EncoderConfig(model="vit_tiny_patch16_224"))


def build_row(row: PaperRow) -> Pretraining:
    """The method of a row at the paper's size, without memory: 196 tokens, 12 blocks."""
    knobs = {"random-targets": 18} if row.pretrain.get("random-targets") == "kept" else {}
    knobs = {name: value for name, value in (row.pretrain | knobs).items() if name != "teacher"}
    decoder = {name: value for name, value in knobs.items() if name.startswith("decoder-")}
    method = {name: value for name, value in knobs.items() if name not in decoder}
    with torch.device("meta"):
        return build_method(
            an_encoder(),
            build(MethodConfig, check_values(MethodConfig, method, row.name)),
            build(DecoderConfig, check_values(DecoderConfig, decoder, row.name)),
            an_encoder() if "teacher" in row.pretrain else None,
        )


@pytest.mark.parametrize("number", NUMBERS)
def test_every_table_is_there_and_every_row_can_be_built(number):
    table = paper_table(number)
    assert (len(table.rows), len({row.name for row in table.rows})) == (ROWS[number], ROWS[number])
    assert table.title and table.figures and table.measures
    for row in table.rows:
        assert row.paper.keys() <= table.figures.keys()
        assert (row.pretrain == {}) == (row.quoted or row.epochs == 0)
        assert [row.quoted, row.epochs is not None, row.batch_size is not None].count(True) == 1
        assert not (row.quoted and row.finetune)
        if row.pretrain:
            assert build_row(row).n_visible > 0
        check_values(FinetuneConfig, row.finetune, row.name)


@pytest.mark.parametrize(
    ("number", "name", "paper"),
    [
        (1, "Train from scratch", {"accuracy": 81.8}),
        (1, "DINO, 400 epochs", {"accuracy": 83.3, "gpu_days": 122.5}),
        (1, "PCAE, 800 epochs", {"accuracy": 83.9, "gpu_days": 26.9}),
        (3, "Exp 4: 3 stages, 87.5 % dropped", {"accuracy": 82.3, "gpu_days": 3.3}),
        (4, "PCAE, mask ratio 90 %", {"accuracy": 83.5, "coco": 47.4, "throughput": 876.1}),
        (4, "MAE, mask ratio 75 %", {"throughput": 328.4}),
        (8, "Exp 6: case 5", {"accuracy": 80.7, "gpu_days": 4.8}),
        (9, "Setting 2", {"accuracy": 79.9}),
        (11, "SimMIM, batch size 256", {}),
        (12, "PCAE-Pretrained", {"accuracy": 83.1}),
        (14, "PCAE, ViT-L, 300 epochs", {"accuracy": 85.1}),
        (15, "Decoder depth 4", {"accuracy": 83.6, "coco": 46.9}),
    ],
)
def test_figures_are_the_papers(number, name, paper):
    assert rows_of(number)[name].paper == paper


def test_figures_agree_with_what_the_papers_text_says_of_them():
    first, masks = rows_of(1), rows_of(4)
    pcae, mae = first["PCAE, 300 epochs"].paper, first["MAE, 1600 epochs"].paper
    assert pcae["accuracy"] == mae["accuracy"] and pcae["gpu_days"] / mae["gpu_days"] == pytest.approx(1 / 8, abs=0.003)
    speeds = [masks[name].paper["throughput"] for name in ("PCAE, mask ratio 85 %", "MAE, mask ratio 75 %")]
    assert speeds[0] / speeds[1] == pytest.approx(2.25, abs=0.005)
    dial = [row.paper for row in paper_table(5).rows]
    assert [round(100 * (row["throughput"] / dial[0]["throughput"] - 1)) for row in dial] == [0, 15, 35, 57, 88]
    assert [round(dial[0]["accuracy"] - row["accuracy"], 1) for row in dial] == [0, 0.1, 0.3, 0.6, 1.2]
    assert [round(100 * (1 - row["gmacs"] / dial[0]["gmacs"])) for row in dial] == [0, 13, 25, 36, 46]
    days = [row.paper["gpu_days"] for row in paper_table(10).rows]
    assert days == [pytest.approx(hours * 8 / 24, abs=0.05) for hours in (20.3, 11.1)]


def test_the_speedups_of_table_11_are_those_of_its_throughputs():
    rows = [row for row in paper_table(11).rows if row.paper]
    slow = {row.batch_size: row.paper["throughput"] for row in rows if row.pretrain["method"] == "simmim"}
    assert sorted(slow) == [64, 128, 164] and len(rows) == 8
    for row in rows:
        base = slow.get(row.batch_size or 0, max(slow.values()))
        assert row.paper["speedup"] == pytest.approx(row.paper["throughput"] / base, abs=0.006), row.name


@pytest.mark.parametrize(
    ("number", "totals", "left"),
    [
        (3, [0, 50, 75, 87.5, 93.75], [147, 73, 36, 18, 9, 18]),
        (6, [87.5] * 4, [18, 18, 17, 16]),
        (7, [75, 80, 85, 87.5, 90], [35, 28, 21, 18, 14]),
    ],
)
def test_stages_and_keep_ratios_come_to_the_papers_totals(number, totals, left):
    rows = paper_table(number).rows
    dropped = [
        100 * (1 - row.pretrain.get("keep-ratio", 0.5) ** row.pretrain.get("stages", 3))
        for row in rows
        if not row.control
    ]
    assert dropped == [pytest.approx(total, abs=0.4) for total in totals]
    assert [build_row(row).counts[-1] for row in rows] == left


def test_table_1_quotes_what_is_not_built_here_and_nothing_else():
    rows = paper_table(1).rows
    assert {row.name.partition(",")[0] for row in rows if row.quoted} == {"MoCo v3", "DINO", "BEiT", "CAE"}
    assert {row.pretrain.get("method") for row in rows if not row.quoted} == {None, "simmim", "mae", "pcae"}
    assert [row.name for row in rows if row.epochs == 0] == ["Train from scratch"]


def test_the_rows_are_those_that_the_paper_varies():
    assert [row.finetune["drop-ratio"] for row in paper_table(5).rows] == [0, 0.1, 0.2, 0.3, 0.4]
    assert len({str(row.pretrain) for row in paper_table(5).rows}) == 1
    after = [Reduction.for_pretraining(12, placement=row.pretrain["placement"]).after for row in paper_table(8).rows]
    assert after == [(0, 4, 8), (0, 4, 8), (3, 7, 11), (0, 5, 11), (0, 1, 2), (9, 10, 11)]
    assert [row.pretrain.get("criterion") for row in paper_table(13).rows] == [None, *["random"] * 5]
    assert [row.architecture for row in paper_table(14).rows] == ["ViT-S"] * 4 + ["ViT-L"] * 3
    assert [row.pretrain["decoder-depth"] for row in paper_table(15).rows] == [2, 4, 6, 8]


def test_controls_are_where_the_paper_lacks_them():
    controls = {number: [row.name for row in paper_table(number).rows if row.control] for number in NUMBERS}
    assert {number: names for number, names in controls.items() if names} == {
        1: ["MAE-lite, 300 epochs"],
        3: ["Full teacher, random targets"],
        4: ["MAE, mask ratio 75 %"],
    }


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (2, "Table 2 is detection on COCO, for `pcae detect train`"),
        (0, "Tables 1 to 15, got 0"),
        (16, "got 16; choose 1 or 3 to 15"),
    ],
)
def test_tables_that_are_not_there_are_refused(number, message):
    with pytest.raises(ValueError, match=message):
        paper_table(number)
