"""A compression study: every network on the way from the teacher to a small one, and which to take."""

from __future__ import annotations

from functools import cached_property

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.evidence import Difference, compare, ids, wilson
from kdlib.reporting.core.i18n import N_, both, say, translations
from kdlib.reporting.core.results import Results, same
from kdlib.reporting.core.table import Cell, Row, Table, difference_cell
from kdlib.studies import artifacts
from kdlib.studies.compression import Compression

TEACHER = {"role": "teacher"}
MEGA = 1e6
MAIN = (0, 1, 4, 6, 7)  # the columns a narrow place has room for: accuracy, difference, size, MACs, latency
LOOKS = {  # marker and whether it is filled
    "teacher": ("*", True),
    "baseline": ("s", False),
    "student": ("s", True),
    "pruned": ("o", False),
    "distilled": ("o", True),
}
CALLED = {**names.ROLES, "distilled": N_("pruned, fine-tuned with the teacher")}


class CompressionStudy:
    """A compression study: its networks as ``where``, from the teacher to the smallest, and what was measured."""

    def __init__(self, results: Results):
        self.results, self.networks = results, results.settings()

    @cached_property
    def chosen(self) -> dict | None:
        """The network to take: that of fewest MACs among those that lost at most ``max_drop`` points of the teacher's
        validation accuracy; where each lost more, the one that lost least. None where nothing small was made."""
        tuned = [where for where in self.networks if where["role"] in ("student", "distilled")]
        kept = [(self.results.cell(where, "val_accuracy").mean, where) for where in tuned]
        kept = [(accuracy, where) for accuracy, where in kept if accuracy is not None]
        teacher = self.results.cell(TEACHER, "val_accuracy").mean if kept else None
        if teacher is None:
            return None
        least = teacher - self.results.study.shares.max_drop / 100
        good = [where for accuracy, where in kept if accuracy >= least - 1e-9]
        return min(good, key=self.macs) if good else max(kept, key=lambda pair: pair[0])[1]

    @property
    def run(self) -> str | None:
        """The id of the run of the network to take, of its first seed that converged."""
        return ids(self.results, self.chosen)[0] if self.chosen else None

    @cached_property
    def lost(self) -> Difference | None:
        """Test accuracy of the network to take minus the teacher's."""
        return compare(self.results, self.chosen, self.results, TEACHER)

    @cached_property
    def _models(self) -> list[dict]:
        folder = self.results.folder
        found = artifacts.read(folder / artifacts.PRUNED) if folder else None
        return found["models"] if found else []

    def measured(self, where: dict) -> dict:
        """What was measured of a network's shape, which training does not change; empty where nothing was."""
        role = {"baseline": "student", "distilled": "pruned"}.get(where["role"], where["role"])
        alike = (one for one in self._models if one["role"] == role and same(one["macs"], where.get("macs")))
        return next(alike, {})

    def macs(self, where: dict) -> float:
        """The multiply-accumulates of one image, 0 where they were not counted."""
        return self.measured(where).get("macs_thop") or 0.0

    def accuracy(self, where: dict) -> tuple[float | None, float | None, float | None]:
        """Test accuracy in per cent and its interval: over seeds, or Wilson's over the test images of a single one."""
        cell = self.results.cell(where)
        ends = cell.interval
        if ends is None and cell.n == 1:
            ends = wilson(cell.mean, self.results.select(**where)[0][1].run["dataset"]["sizes"]["test"])
        return tuple(None if value is None else 100 * value for value in (cell.mean, *(ends or (None, None))))


def read(results: Results) -> CompressionStudy | None:
    """A study's networks; None for a study of another kind, or one of which nothing was run."""
    return CompressionStudy(results) if isinstance(results.study, Compression) and results.used else None


def sheets(results: Results) -> list[Table]:
    """The table of all networks; none for a study of another kind."""
    study = read(results)
    if study is None:
        return []
    rows = [Row([_called(study, where)], _cells(study, where), where["role"]) for where in study.networks]
    legend = N_("Brackets: 95% interval; of an accuracy over the test images of one seed; of latency its quartiles")
    rule = N_(
        "→ to take: of the networks that lost at most {drop} points of the teacher's validation accuracy that with the "
        "fewest MACs; where each lost more, the one that lost least. The test images chose nothing."
    )
    notes = [
        translations(rule, drop=lambda lang: numbers.short(results.study.shares.max_drop, lang)),
        N_("MACs as thop counts them for one image; latency of one image, the networks timed in turns."),
        both(names.provenance, results),
    ]
    title, head = N_("From the teacher to a small network"), [N_("Network")]
    columns = [N_("Test accuracy (%)"), N_("Against the teacher (points)"), N_("Validation (%)"), N_("Parameters")]
    columns += [N_("Size (MiB)"), N_("MACs (M)"), N_("MACs (%)"), N_("Latency (ms)")]
    return [Table("compressed", title, head, columns, rows, legend, notes, results.study.name)]


def _called(study: CompressionStudy, where: dict) -> dict[str, str]:
    arrow = "→ " if where == study.chosen else ""
    return both(lambda lang: arrow + names.described(study.results, where, lang))


def _cells(study: CompressionStudy, where: dict) -> list[Cell]:
    results = study.results
    validation = results.cell(where, "val_accuracy").mean
    gap = None if where["role"] == "teacher" else compare(results, where, results, TEACHER)
    size, (mean, low, high) = study.measured(where), study.accuracy(where)
    timed, macs, whole = size.get("latency", {}).get("1", {}), study.macs(where), study.macs(TEACHER)
    return [
        Cell(mean, 2, interval=(low, high), n=results.cell(where).n),
        difference_cell(gap),
        Cell(None if validation is None else 100 * validation, 2),
        Cell(size.get("params"), kind="count"),
        Cell(size.get("size_mib"), 2),
        Cell(macs / MEGA if macs else None, 2),
        Cell(100 * macs / whole if macs and whole else None, 1),
        Cell(timed.get("median_ms"), 2, interval=(timed.get("q1_ms"), timed.get("q3_ms"))),
    ]


def figure(results: Results, lang: str, filters: dict):
    """Yield (stem, parts): test accuracy of every network against its MACs."""
    study = read(results)
    if study is None or study.chosen is None or not study.macs(TEACHER):
        return
    found = [where for where in study.networks if results.cell(where).mean is not None and study.macs(where)]
    drawn, ((ax,),) = canvas.panels(1, 1, (canvas.PAGE, 3.6))
    for where in found:
        role = where["role"]
        marker, filled = LOOKS[role]
        x, (mean, low, high) = study.macs(where) / MEGA, study.accuracy(where)
        colour = canvas.BLACK if role == "teacher" else canvas.colours()[0]
        if low is not None:
            ax.plot([x, x], [low, high], color=colour, linewidth=1, zorder=2)
        look = {"color": colour, "markerfacecolor": colour if filled else "white", "linestyle": "none"}
        ax.plot(x, mean, marker=marker, **look, markersize=7, zorder=3, label=say(CALLED[role], lang))
        if where == study.chosen:
            ax.annotate(say("to take", lang), (x, mean), xytext=(8, -12), textcoords="offset points", fontsize=8)
    ax.axhline(study.accuracy(TEACHER)[0], color=canvas.BLACK, linestyle=(0, (5, 2)), linewidth=0.8, zorder=1)
    ax.set_xscale("log")
    ax.set_xlabel(say("MACs of one image (millions)", lang))
    ax.set_ylabel(say("Test accuracy (%)", lang))
    ticks = sorted({float(f"{study.macs(where) / MEGA:.2g}") for where in found})
    ax.set_xticks(ticks)
    ax.minorticks_off()
    canvas.ticks(ax.xaxis, lang)
    canvas.ticks(ax.yaxis, lang)
    legend = canvas.labelled([ax])
    ax.legend(legend.values(), legend.keys(), loc="lower right")
    share = numbers.percent(study.macs(study.chosen) / study.macs(TEACHER), 0, lang)
    gap = difference_cell(study.lost).ours(lang)
    title = say("{macs} of the teacher's MACs: {gap} points", lang, macs=share, gap=gap)
    caption = say("Test accuracy of each network against its MACs; the teacher's accuracy is dashed.", lang)
    yield "compressed", canvas.finished(results, drawn, title, caption, lang, say("Lines: 95% interval", lang))
