"""Compression studies: from a teacher to a small network, by distillation, pruning and fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kdlib.errors import UserError
from kdlib.studies.distillation import IN_POINTS, Distilling
from kdlib.studies.pruning import IN_SCORING, Scoring
from kdlib.studies.study import Compared, taken

if TYPE_CHECKING:
    from kdlib.data import Dataset
    from kdlib.studies.run import Run


class Shares(Scoring):
    """The shares of the teacher's MACs to which the last network is pruned, and what may be lost.

    To take is the smallest network that lost at most ``max_drop`` points of the teacher's validation accuracy.
    """

    macs: list[float]
    max_drop: float


class Compression(Distilling):
    """For each seed a teacher; a student alone and with the teacher, where one is named; the last of them pruned to
    each of the ``shares``, and fine-tuned with the teacher.

    The student learns by the teacher's recipe. ``weights``: what the networks start from, ``scratch`` for none, or the
    file of a trained teacher's, which is taken as it is; its student then starts from none.
    """

    kind: Literal["compression"]
    teacher: str
    students: list[str] = []
    shares: Shares
    weights: str = "imagenet"
    pruning: ClassVar[None] = None
    of_kind: ClassVar = ("teacher", "students", "macs", "max_drop", *IN_SCORING, *IN_POINTS)

    def _asked(self, values: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        if "macs" in call:
            call["macs"] = [call["macs"]]
        changed = {**values["shares"], **taken(call, ("macs", "max_drop", *IN_SCORING))}
        return super()._asked({**values, "shares": changed}, call)

    def summary(self) -> dict[str, str]:
        shares = ", ".join(f"{share:g}" for share in self.shares.macs)
        return {"teacher": self.teacher, "students": ", ".join(self.students) or "none", "MACs to keep": shares}

    @property
    def timed(self) -> Shares:
        return self.shares

    def check(self) -> None:
        from kdlib import models, pruning

        if len(self.students) > 1:
            raise UserError(f"study {self.name} makes one small network; name one student, not {len(self.students)}")
        if len(self.losses[0][1]) > 1:
            raise UserError(f"study {self.name} makes one small network; give one value each of T, alpha and lam")
        for model in (self.teacher, *self.students):
            models.check(model)
        for criterion in self.shares.criteria:
            pruning.Spec(criterion, macs=0.5)
        self.check_weights()
        super().check()

    def runs(self, dataset: Dataset, source: Dataset | None = None) -> Iterator[Compared]:
        from kdlib.studies.run import Run

        common = self.common(dataset)
        ((column, recipe),) = self.by_column.items()
        loss = self.losses[0][1][0]
        for seed in self.seeds:
            teacher = last = self.unpruned(self.teacher, seed, common)
            yield Compared("teacher", "original", teacher)
            for student in self.students:
                alone = Run(student, self.taught_by, seed, **common, **self.from_imagenet(student))
                yield Compared("baseline", "original", alone)
                last = replace(alone, loss=loss, teacher=teacher)
                yield Compared("student", "original", last)
            for pruned in self._pruned(last, last.macs() / teacher.macs()):
                yield Compared("pruned", column, pruned)
                taught = {"weights": pruned, "loss": loss, "teacher": teacher}
                yield Compared("distilled", column, Run(last.model, recipe, seed, **common, **taught))

    def _pruned(self, last: Run, share: float) -> Iterator[Run]:
        """The last network at each share of the teacher's MACs, but for those that it is below by itself."""
        for macs in self.shares.macs:
            for criterion in self.shares.criteria if macs < share else ():
                spec = self.shares.spec(criterion, last.seed, macs=round(macs / share, 4))
                yield replace(last, recipe=None, loss=None, teacher=None, weights=last, head="", prune=spec)
