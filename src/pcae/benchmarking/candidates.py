"""Reductions that a classifier may be given."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pcae.model.pretrained import Pretrained
from pcae.settings.choices import CriterionName, FoldName
from pcae.settings.trained import Rule

CRITERIA: tuple[CriterionName, ...] = ("mean-similarity", "bipartite", "token-importance")
"""Those that are tried where nobody says which."""


@dataclass(frozen=True)
class Candidate:
    """A rule at a drop ratio."""

    rule: Rule
    drop_ratio: float

    def said(self) -> dict[str, Any]:
        """Its settings by name."""
        return {"drop_ratio": self.drop_ratio, **asdict(self.rule)}


WHOLE = Candidate(Rule(), 0.0)
"""The whole model."""


def rules_for(model: Pretrained, criteria: Sequence[CriterionName] | None) -> list[Rule]:
    """The weights' own, and every criterion with what may become of dropped tokens, at usual places, there before the
    MLP, at places spread evenly, and in all blocks but the last."""
    pooled: FoldName = "pool" if model.facts.global_pool == "avg" else "append"
    own = model.facts.rule
    found = [
        Rule(criterion=criterion, fold=fold, after=after, before_mlp=before_mlp)
        for criterion in criteria or CRITERIA
        for fold in folds_for(criterion, pooled)
        for after, before_mlp in places_for(model.encoder.depth)
    ]
    return found if own in found or (criteria and own.criterion not in criteria) else [own, *found]


def folds_for(criterion: CriterionName, pooled: FoldName) -> list[FoldName]:
    """What may become of the tokens that a criterion drops: matched ones are merged."""
    return ["merge"] if criterion == "bipartite" else [pooled, "merge"]


def places_for(depth: int) -> list[tuple[tuple[int, ...] | None, bool]]:
    """Blocks in which a stage stands, and whether before their MLP."""
    spread = tuple(sorted({depth // 4, depth // 2, 3 * depth // 4}))
    return [(None, False), (None, True), (spread, True), (tuple(range(depth - 1)), True)]
