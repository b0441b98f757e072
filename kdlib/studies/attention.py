"""Attention maps: on which parts of a test image a trained model's answer rests (Grad-CAM, Selvaraju et al. 2017)."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdlib.copies import copied
from kdlib.data import normalise
from kdlib.errors import UserError
from kdlib.hooks import hooked
from kdlib.studies import artifacts, records, runner
from kdlib.studies.call import Call
from kdlib.studies.run import Run
from kdlib.training import resolve_device

COUNT = 8  # images
SIDE = 4  # fewest positions a side of the feature map that is drawn
_BATCH = 4


def write(call: Call) -> Path | None:
    """Write the maps of the first seed's teacher, student alone and student with teacher to ``attention.npz``.

    The file holds, for M models and n images: ``images`` uint8 (n, C, H, W), ``maps`` float16 (M, n, H, W) in 0..1,
    ``probabilities`` float32 (M, n, K), ``labels`` and ``indices`` (n,) in the test part, ``classes`` (K,), ``seed``,
    and for each model ``roles``, ``models``, ``ids`` and ``layers``. Returns its path; None where the study draws no
    attention maps, where records lie there without weights, and where no model has a feature map of 4×4
    positions. A file of the same runs is left as it is. Raises ``UserError`` where the package grad-cam is missing.
    """
    if all(figure.kind != "attention" for figure in call.study.figures):
        return None
    chosen = _models(call)
    if not chosen:
        return None
    asked = [[run.id, records.contents(call.runs_folder, run.id)] for _, run, _ in chosen]
    return artifacts.keep(call.folder / artifacts.ATTENTION, json.dumps(asked), lambda: _content(call, chosen))


def _models(call: Call) -> list[tuple[str, Run, records.Record]]:
    """(role, run, record) of the student that validation chooses among the first seed's, of it alone, its teacher."""
    seed, plan = call.study.seeds[0], call.plan
    found = []
    for condition in plan.conditions:
        record = records.read(call.runs_folder, condition.id)
        if record and not record.diverged and (record.path / "model.safetensors").is_file():
            found.append((condition, record))
    mine = [(condition, record) for condition, record in found if condition.seed == seed]
    students = [pair for pair in mine if pair[0].role == "student"]
    if not students:
        return []
    chosen, record = max(students, key=lambda pair: pair[1].metrics["val_accuracy"])
    student, alone = plan.runs[chosen.id], ("baseline", chosen.model, chosen.recipe)
    teachers = [("teacher", student.teacher, own) for _, own in found if own.id == student.teacher.id]
    baselines = [("baseline", plan.runs[a.id], own) for a, own in mine if (a.role, a.model, a.recipe) == alone]
    return [*teachers[:1], *baselines[:1], ("student", student, record)]


def _content(call: Call, chosen: list[tuple[str, Run, records.Record]]) -> dict | None:
    dataset, device = call.dataset, resolve_device(call.parameters.device)
    logits = np.stack([record.predictions()[0] for _, _, record in chosen]).astype(np.float64)
    labels = chosen[0][2].predictions()[1]
    indices = choose(labels, logits.argmax(axis=2) == labels, chosen[0][2].groups())
    images = dataset.test.images[indices]
    probabilities = torch.from_numpy(logits[:, indices]).softmax(dim=2).float().numpy()
    drawn = []
    for (role, run, _), own in zip(chosen, probabilities, strict=True):
        inputs = normalise(images, dataset.mean, dataset.std).to(device)
        model = runner.trained(run, call.runs_folder).to(device)
        if found := grad_cam(model, inputs, own.argmax(axis=1).tolist()):
            drawn.append((role, run.model, run.id, own, *found))
    if not drawn:
        return None
    roles, models, ids, probabilities, layers, maps = zip(*drawn, strict=True)
    return {
        "images": images.numpy(),
        "maps": np.stack(maps).astype(np.float16),
        "probabilities": np.stack(probabilities),
        "labels": labels[indices],
        "indices": np.asarray(indices, dtype=np.int64),
        "classes": np.array(dataset.classes),
        "seed": np.int64(call.study.seeds[0]),
        "roles": np.array(roles),
        "models": np.array(models),
        "ids": np.array(ids),
        "layers": np.array(layers),
    }


def choose(labels: np.ndarray, right: np.ndarray, groups: np.ndarray | None = None, count: int = COUNT) -> list[int]:
    """Return which test images are drawn: half of them that all models call right, half that at least one does not.

    ``labels`` (N,); ``right`` bool (M, N) says which of M models is right; at most one image of each of ``groups``
    (N,). Each half goes through the classes in turn, in the order of the test part; where a half falls short the
    other fills up, and where there are fewer images all are returned.
    """
    all_right = right.all(axis=0)
    groups = np.arange(len(labels)) if groups is None else groups
    taken: set[int] = set()
    halves = {kind: _in_turn(labels, groups, np.flatnonzero(all_right == kind)) for kind in (True, False)}
    picked: dict[bool, list[int]] = {True: [], False: []}
    # First each half's share, then what the other left over.
    for most in (count // 2, count):
        for kind in (False, True):  # those called wrong are rarer: they have first pick of the patients
            for i in halves[kind]:
                full = len(picked[kind]) >= most or len(picked[True]) + len(picked[False]) >= count
                if not full and groups[i] not in taken:
                    taken.add(groups[i])
                    picked[kind].append(int(i))
    by_class = {kind: sorted(found, key=lambda i: (labels[i], i)) for kind, found in picked.items()}
    return by_class[True] + by_class[False]


def _in_turn(labels: np.ndarray, groups: np.ndarray, candidates: np.ndarray) -> list[int]:
    """The first candidate of each group, one of each class in turn; within a class in their own order."""
    seen: Counter = Counter()
    turns = []
    for i in candidates[np.sort(np.unique(groups[candidates], return_index=True)[1])]:
        turns.append((seen[labels[i]], labels[i], i))
        seen[labels[i]] += 1
    return [i for _, _, i in sorted(turns)]


def grad_cam(model: nn.Module, images: torch.Tensor, targets: Sequence[int]) -> tuple[str, np.ndarray] | None:
    """Return the layer's name and Grad-CAM maps, float32 (B, H, W) scaled to 0..1, at the size of the images.

    ``images``: normalised (B, C, H, W) on the model's device; ``targets``: the class that each map explains. Works on
    a copy: the model keeps its mode, its gradients and hooks as they were. None for a model without a feature map of
    4×4 positions. Raises ``UserError`` where the package grad-cam is missing.
    """
    own = _copy(model)
    with torch.random.fork_rng(), torch.enable_grad():
        name = deepest_layer(own, images[:1])
        if name is None:
            return None
        try:
            from pytorch_grad_cam import GradCAM
            from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
        except ImportError:
            raise UserError(
                "attention maps need the package grad-cam; install kdlib with its extra: pip install 'kdlib[study]'"
            ) from None
        wanted = [ClassifierOutputTarget(k) for k in targets]
        with GradCAM(own, [own.get_submodule(name)]) as cam:
            starts = range(0, len(images), _BATCH)
            parts = [cam(images[i : i + _BATCH], wanted[i : i + _BATCH]) for i in starts]
    return name, np.concatenate(parts).astype(np.float32)


def _copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode, all of it differentiable, that overwrites no feature map in place."""
    own = copied(model).eval().requires_grad_(True)
    for module in own.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False
    return own


def deepest_layer(model: nn.Module, images: torch.Tensor) -> str | None:
    """Return the name of the module that ran last and once and gave a feature map (B, C, H, W) of H, W >= 4.

    Deep maps are the most telling and the coarsest; at 32 pixels the deepest may have a single position.
    """
    ran: list[str] = []
    mapped: set[str] = set()

    def note(name: str, _module, _inputs, output) -> None:
        ran.append(name)
        if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) >= SIDE:
            mapped.add(name)

    with hooked([pair for pair in model.named_modules() if pair[0]], note), torch.no_grad():
        model(images)
    times = Counter(ran)
    return next((name for name in reversed(ran) if name in mapped and times[name] == 1), None)
