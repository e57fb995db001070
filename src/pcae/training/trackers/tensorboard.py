"""Numbers and warnings of a run for TensorBoard, in its run folder."""

from pcae.training.append_files import Board
from pcae.training.callbacks import RunFacts, Tracker


class TensorBoard(Tracker):
    """Files in RUN/tensorboard; steps after the one that a run goes on from are void in older ones."""

    def on_start(self, run: RunFacts) -> None:
        """Begin a file."""
        self.board = Board(run.folder / "tensorboard", run.step)

    def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
        """Write the numbers."""
        for name, value in numbers.items():
            self.board.number(name, value, step)

    def on_warning(self, step: int, name: str, sentence: str) -> None:
        """Write the sentence."""
        self.board.words(f"warnings/{name}", sentence, step)
