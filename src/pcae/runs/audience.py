"""Who hears of a run: the caller's callbacks and the trackers in its settings; what they are shown at its end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pcae.pages.kept_tokens import draw_run
from pcae.runs.run import TrainingRun
from pcae.training.callbacks import Callback
from pcae.training.trackers.choice import open_trackers
from pcae.training.trackers.remembered import KEPT


@contextmanager
def told_of(run: TrainingRun, callbacks: Sequence[Callback]) -> Iterator[None]:
    """Callbacks and trackers hear of a run meanwhile, in its main process; the trackers end with it."""
    audience = run.audience
    if run.world.is_main:
        audience.callbacks, audience.trackers = list(callbacks), open_trackers(run.config.run.log_to)
    try:
        yield
    except BaseException:
        audience.close(failed=True)
        raise
    audience.close(failed=False)


def tell_of_end(run: TrainingRun, summary: dict[str, Any]) -> None:
    """Tell the audience what a run came to, with a picture of what its model keeps where a tracker takes one; in the
    main process."""
    audience = run.audience
    if any(tracker.pictures for tracker in audience.trackers.values()):
        draw_kept(run)
    audience.tell(lambda one: one.on_end(dict(summary)))
    audience.raise_failure()


def draw_kept(run: TrainingRun) -> None:
    """Draw what the model keeps of some images, unless it drops nothing or none can be shown."""
    with suppress(ValueError, OSError):
        draw_run(run.config.out, run.images, run.config.out / KEPT)
