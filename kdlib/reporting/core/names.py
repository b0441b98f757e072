"""How a study's things are called in a text: models and recipes, settings, and where the numbers come from."""

from __future__ import annotations

import re

from kdlib.reporting.core import numbers
from kdlib.reporting.core.i18n import N_, Message, say, text, translations

PLAIN = "kd"  # how a study's labels name plain distillation, which has no name in the records

METHODS: dict[str, str | dict[str, str]] = {
    PLAIN: "KD (Hinton)",
    "kd_std": N_("KD + z-score"),
    "dkd": "DKD",
    "dist": "DIST",
    "fitnets": "FitNets",
    "at": N_("AT (attention transfer)"),
    "sp": N_("SP (similarities)"),
    "rkd": N_("RKD (relations)"),
}

TRANSFER = {
    "head": N_("classifier only"),
    "all": N_("all layers"),
    "scratch": N_("from scratch"),
    "source": N_("source task"),
    "transfer": N_("transfer"),
}

SHARED = ("teacher", "original")  # roles of which all seeds may have one network
REPORTED = "2-3-4"  # the layers that the Turkish report leaves open in its transfer row
SCRATCH = "scratch"

ROLES = {
    "teacher": N_("teacher"),
    "baseline": N_("alone"),
    "student": N_("distilled"),
    "source": N_("source task"),
    "transfer": N_("transfer"),
    "original": N_("not pruned"),
    "pruned": N_("pruned, not trained since"),
    "finetuned": N_("fine-tuned"),
    "distilled": N_("distilled"),
}
"""What a table of runs calls each."""

PRUNING = {
    "original": N_("original"),
    "pruned": N_("pruned"),
    "finetuned": N_("fine-tuned"),
    "distilled": N_("distilled"),
}


def counted_with(packages: dict[str, str]) -> dict[str, str]:
    """The packages that counted, with their versions."""
    listed = ", ".join(f"{name} {number}" for name, number in packages.items())
    return translations("Counted with {packages}.", packages=listed)


def label(study, key: str, lang: str) -> str:
    """The display name of a model or recipe; its own name when the study gives none."""
    return text(study.labels.get(key, key), lang)


def capital(said: str, lang: str) -> str:
    """A text with a capital letter at its head; the Turkish one of i has a dot."""
    return ("İ" if lang == "tr" and said[:1] == "i" else said[:1].upper()) + said[1:]


def method(study, key: str | None, lang: str) -> str:
    """How a way of distilling is called; None is plain distillation, by softened logits."""
    key = key or PLAIN
    return text(study.labels.get(key) or METHODS.get(key) or key, lang)


def recipe(study, key: str, lang: str) -> str:
    """The display name of a recipe; one that all columns share is called by the role it trains."""
    own = key in ("teacher", "source", "original") and key not in study.labels
    return say(ROLES[key], lang) if own else label(study, key, lang)


def layers(study, variant: str | None, lang: str) -> str:
    """Which layers a variant leaves open, in words: head, all or scratch, or by the study's labels."""
    return say(TRANSFER[variant], lang) if variant in TRANSFER else label(study, variant or "", lang)


def setting(results, where: dict, lang: str) -> str:
    """A distilled student's T, α and λ, as far as they are set: `T = 2, α = 0.5, λ = 0.5`.

    λ goes unsaid in a study with a convex loss: there it is 1 - α. The method comes first where some run has one and
    `where` names it: `SP, α = 1, λ = 1`.
    """
    symbols = [("T", "T"), ("α", "alpha")] + ([] if results.convex else [("λ", "lam")])
    # A comma between numbers with a decimal comma would be misread; Turkish separates them by a semicolon.
    separator = ", " if lang == "en" else "; "
    said = [f"{symbol} = {numbers.short(where[key], lang)}" for symbol, key in symbols if where.get(key) is not None]
    if results.has_methods and "method" in where:
        said.insert(0, method(results.study, where["method"], lang))
    return separator.join(said)


def described(results, where: dict, lang: str) -> str:
    """One setting in full: model, recipe where the study has several, and its role, weights or open layers."""
    study, role = results.study, where["role"]
    parts = [label(study, where["model"], lang) if role == "source" else network(results, where, lang)]
    if role == "student":
        parts.append(setting(results, where, lang))
    elif role in ("source", "transfer"):
        said = [say(TRANSFER[role], lang), layers(study, where.get("variant"), lang)]
        parts.append(": ".join(part for part in said if part))
    elif role in PRUNING:
        parts.append(say(PRUNING[role], lang))
        parts += [label(study, where["criterion"], lang), amount(where, lang)] if where["criterion"] else []
        parts += [method(study, where["method"], lang)] if where.get("method") else []
    else:
        parts.append(say(N_("Teacher") if role == "teacher" else N_("alone"), lang))
    return ", ".join(part for part in parts if part)


def amount(where: dict, lang: str) -> str:
    """How much a pruning takes or leaves: a share of channels, or of MACs."""
    if where["macs"] is None:
        return say("{ratio} of channels", lang, ratio=numbers.share(where["ratio"], lang))
    return say("{macs} of its MACs kept", lang, macs=numbers.share(where["macs"], lang))


def diverged(run, lang: str) -> str:
    """The seed of a run that diverged, at which epoch and why."""
    epoch = numbers.DASH if run.epoch is None else run.epoch
    reason = text(Message(run.reason), lang)
    return say("seed {seed}, epoch {epoch} ({reason})", lang, seed=run.seed, epoch=epoch, reason=reason)


def recipes(results) -> list[str]:
    """The recipes of the study's columns, in its order; those of a teacher or a source task do not count."""
    found = dict.fromkeys(
        condition.recipe for condition, _ in results.select() if condition.role not in ("teacher", "source", "original")
    )
    return list(found) or list(dict.fromkeys(condition.recipe for condition, _ in results.select()))


def students(results, filters: dict[str, str]) -> list[str]:
    """Models that appear as students (alone or distilled) among the filtered runs, in the study's order."""
    conditions = [condition for condition, _ in results.select(**filters)]
    return list(dict.fromkeys(condition.model for condition in conditions if condition.role in ("baseline", "student")))


def each_recipe(results, filters: dict[str, str]) -> list[str]:
    """The students' recipes among the filtered runs."""
    wanted = filters.get("recipe")
    return [recipe for recipe in recipes(results) if wanted in (None, recipe)]


def trained(results, filters: dict[str, str]) -> list[dict[str, str]]:
    """The (model, recipe) pairs of students among the filtered runs, in the study's order."""
    return [
        {"model": model, "recipe": recipe}
        for recipe in each_recipe(results, filters)
        for model in students(results, {**filters, "recipe": recipe})
    ]


def network(results, here: dict, lang: str) -> str:
    """A model, and its recipe where the study has several."""
    several = len(recipes(results)) > 1
    return ", ".join(label(results.study, here[key], lang) for key in ("model", "recipe")[: 1 + several])


def stem(results, kind: str, filters: dict[str, str], **extra: str) -> str:
    """A file stem: the kind, the model and recipe the study names, and those it has several of."""
    parts = [kind]
    for key, have in (("model", students(results, {})), ("recipe", recipes(results))):
        if value := filters.get(key) or (extra.get(key) if len(have) > 1 else None):
            parts.append(value)
    return "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", part) for part in parts)


def provenance(results, lang: str) -> str:
    """One line that says which profile, data, epochs and seeds the numbers come from, all read from the records."""
    parts = [_profile(results, lang)]
    parts += _datasets(results, lang)
    if epochs := _epochs(results, lang):
        parts.append(say("epochs: {epochs}", lang, epochs=epochs))
    if seeds := sorted({condition.seed for condition, _ in results.select()}):
        many = N_("seeds: {seeds}") if len(seeds) > 1 else N_("seed: {seeds}")
        compared = [results.cell(where).runs for where in results.settings() if where["role"] not in SHARED]
        many = N_("seeds: {seeds}, of some settings fewer") if len(set(compared)) > 1 else many
        parts.append(say(many, lang, seeds=", ".join(map(str, seeds))))
    if missing := results.missing:
        every = missing + len(results.used)
        parts.append(say("{missing} of {all} runs have not been made yet", lang, missing=missing, all=every))
    return "; ".join(parts) + "."


def not_run(results, study: str) -> dict[str, str]:
    """That a study beside these results has no runs, and how to make them."""
    message = N_("Study {study} is not shown: it has not been run in profile {profile}. To run it: {command}")
    command = f"kdlib run {study} --profile {results.profile}"
    return translations(message, study=study, profile=results.profile, command=command)


def _profile(results, lang: str) -> str:
    if not results.study.report:
        return say("Profile: {profile}", lang, profile=results.profile)
    if results.profile != "paper":
        return say("Profile: {profile} (not the report's own settings)", lang, profile=results.profile)
    if results.changed:
        return say(
            "Profile: paper (not the report's own settings; changed: {keys})", lang, keys=", ".join(results.changed)
        )
    return say("Profile: paper (the report's own settings)", lang)


def _datasets(results, lang: str) -> list[str]:
    """Each dataset once; one that only a source task was trained on is called so."""
    seen, targets = {}, set()
    for condition, record in results.select():
        data = record.run["dataset"]
        seen.setdefault(data["fingerprint"], data)
        if condition.role != "source":
            targets.add(data["fingerprint"])
    out = []
    for fingerprint, data in seen.items():
        said = {part: numbers.integer(count, lang) for part, count in data["sizes"].items()}
        said["size"] = "×".join(str(side) for side in data["shape"][1:]) + " px"
        said["name"] = label(results.study, data["name"], lang)
        message = N_("source task: {name} ({train} training, {val} validation, {test} test images, {size})")
        if fingerprint in targets:
            message = N_("data: {name} ({train} training, {val} validation, {test} test images, {size})")
        out.append(say(message, lang, **said))
    return out


def _epochs(results, lang: str) -> str:
    """Epochs asked for: one number when all agree; else the range of each role apart."""
    found: dict[str, set[int]] = {}
    for condition, record in results.select():
        epochs = (record.run["config"].get("recipe") or {}).get("epochs")
        if epochs is not None:
            role = {"baseline": "student", "distilled": "finetuned"}.get(condition.role, condition.role)
            found.setdefault(role, set()).add(int(epochs))
    spans = {role: _span(values) for role, values in found.items()}
    if len(set(spans.values())) == 1:
        return next(iter(spans.values()))
    called = {"source": N_("source task"), "teacher": N_("Teacher"), "student": N_("Student")}
    called |= {"transfer": N_("transfer"), "original": N_("original"), "finetuned": N_("fine-tuning")}
    return ", ".join(f"{say(name, lang).lower()} {spans[role]}" for role, name in called.items() if role in spans)


def _span(values: set[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def compact(results, wheres: list[dict], lang: str) -> tuple[str, list[str]]:
    """What settings share, and a short label for each by what tells it from the others.

    A single setting shares nothing: its label says it in full. Methods that have one setting each are called by their
    name alone.
    """
    keys = [key for key in ("method", "T", "alpha", "lam") if any(w.get(key) is not None for w in wheres)]
    if 1 < len(wheres) == len({w.get("method") for w in wheres}):
        return "", [method(results.study, w["method"], lang) for w in wheres]
    varying = [key for key in keys if len({w.get(key) for w in wheres}) > 1] or keys
    shared = {} if varying == keys else {key: wheres[0][key] for key in keys if key not in varying}
    labels = [setting(results, {key: w[key] for key in varying}, lang) for w in wheres]
    return setting(results, shared, lang), labels
