"""Numbers of a run as a table, metrics.csv, for spreadsheets and data frames."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from pcae.training.append_files import Records
from pcae.training.callbacks import RunFacts, Tracker
from pcae.training.logging import read_metrics
from pcae.writing import replace_text


class CsvFile(Tracker):
    """RUN/metrics.csv: a row for each line of numbers in metrics.jsonl, a column for each number there ever was.

    It is made anew from metrics.jsonl at each start, and when a number comes that has no column.
    """

    def on_start(self, run: RunFacts) -> None:
        """Write what the run has found before."""
        self.folder, self.path = run.folder, run.folder / "metrics.csv"
        self.write_all()

    def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
        """Append a row; metrics.jsonl has it already."""
        if numbers.keys() - self.columns:
            self.write_all()
        else:
            self.file.write(in_csv(self.columns, [{"step": step, **numbers}]).encode())

    def write_all(self) -> None:
        """Write the whole table, in one move."""
        rows = [line for line in read_metrics(self.folder) if "warning" not in line]
        self.columns = list(dict.fromkeys(["step", *(name for row in rows for name in row)]))
        header = dict(zip(self.columns, self.columns, strict=True))
        replace_text(self.path, in_csv(self.columns, [header, *rows]))
        self.file = Records(self.path)


def in_csv(columns: list[str], rows: Iterable[dict[str, Any]]) -> str:
    """Rows as csv; a number that a row lacks is empty."""
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
