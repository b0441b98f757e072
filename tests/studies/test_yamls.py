"""The four studies: what their reports did and gave, typed from the reports, and a schema that lets no slip through."""

import pytest
import yaml

from kdlib.data import Augmentation
from kdlib.errors import UserError
from kdlib.studies import schema
from kdlib.studies.parameters import parse, settle
from kdlib.studies.plan import plan

STUDIES = ("cifar_conv", "cnn_grid", "resnet_ladder", "tr_kd")


def paper(study: str):
    return settle(parse({"study": study, "profile": "paper"}))


def table(study: str, id: str) -> schema.Table:
    return next(t for t in schema.load(study).tables if t.id == id)


def reported(study: str, id: str, column: int = 0, **where) -> float | None:
    """The one number a table gives for ``where``."""
    rows = [row for row in table(study, id).rows if where.items() <= row.where.items()]
    assert len(rows) == 1
    return rows[0].reported[column]


def test_these_are_the_studies():
    assert set(STUDIES) <= set(schema.names())


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_loads_with_every_profile(name):
    study = schema.load(name)
    assert study.name == name
    assert set(study.profiles) == set(schema.PROFILES)
    for profile in schema.PROFILES:
        settings = settle(parse({"study": name, "profile": profile}))
        assert settings.recipes
        assert settings.points
    # embedded images where no data is asked for, the reports' images elsewhere
    sources = {profile: study.with_(profile).data.name for profile in schema.PROFILES}
    assert sources == {"smoke": "shapes10", "quick": "shapes10", "reduced": "cifar10", "paper": "cifar10"}


@pytest.mark.parametrize("name", STUDIES)
def test_paper_changes_nothing_of_the_report(name):
    study, profile = schema.load(name), schema.load(name).with_("paper")
    assert profile.recipe == {}
    # the grid's students learn without augmentation, as their reported accuracy tells; its ResNet18 cannot
    augmented = {"augmentation": {"pad": 4, "flip": True}}
    assert profile.teacher_recipe == ({**schema.load(name).recipes["sgd"], **augmented} if name == "cnn_grid" else None)
    assert (profile.columns, profile.students, profile.points) == (None, study.students, study.points)
    assert (profile.data.train_size, profile.data.test_size, profile.data.image_size) == (None, None, None)


@pytest.mark.parametrize("name", STUDIES)
def test_real_images_are_held_out_by_a_fifth(name):
    # "20% used as Validation set and rest 80% for training"
    study = schema.load(name)
    assert {study.with_(profile).data.val_fraction for profile in ("reduced", "paper")} == {0.2}


@pytest.mark.parametrize("name", STUDIES)
def test_every_text_is_there_in_both_languages(name):
    def texts(value):
        if isinstance(value, dict):
            if set(value) == set(schema.LANGUAGES):
                yield value
            for item in value.values():
                yield from texts(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from texts(item)

    found = list(texts(schema.load(name).model_dump()))
    assert len(found) > 5
    assert all(isinstance(word, str) and word.strip() for pair in found for word in pair.values())


# What the reports did


def test_tr_kd_as_reported():
    settings = paper("tr_kd")
    assert (settings.teacher, settings.students) == ("resnet18_kd", ["resnet18_kd", "resnet18_light"])
    columns = [(r.optimizer, r.batch_size, r.lr) for r in settings.by_column.values()]
    assert columns == [("adam", 128, 0.001), ("sgd", 128, 0.001), ("adam", 64, 0.001)]
    found = [triple for point in settings.points for triple in point.settings()]
    assert found == [
        (1.5, 0.5, 0.5),
        (2, 0.5, 0.5),
        (2.5, 0.5, 0.5),
        (3, 0.5, 0.5),
        (2, 0.7, 0.3),
        (2, 0.3, 0.7),
    ]
    assert settings.loss == "weighted_kl"


def test_tr_kd_plan(tiny):
    conditions = plan(paper("tr_kd"), tiny).conditions
    roles = [condition.role for condition in conditions]
    # in each of three columns: a teacher, two baselines, two students of six settings
    assert {role: roles.count(role) for role in set(roles)} == {"teacher": 3, "baseline": 6, "student": 36}
    # the ResNet18 baseline is a run of its own beside the teacher of its column, and starts elsewhere
    assert len(plan(paper("tr_kd"), tiny).runs) == 3 * (1 + 2 + 12)


def test_cnn_grid_as_reported():
    settings = paper("cnn_grid")
    assert (settings.teacher, settings.students) == ("resnet18_kd", ["cnn2", "resnet18_kd"])
    (recipe,) = settings.by_column.values()
    assert (recipe.optimizer, recipe.lr, recipe.schedule) == ("sgd", 0.1, "cosine")
    assert (recipe.epochs, recipe.batch_size) == (100, 128)
    assert not recipe.augmentation.active
    assert settings.taught_by.augmentation == Augmentation(pad=4, flip=True)
    assert settings.loss == "convex_soft_ce"


def test_cnn_grid_plan(tiny):
    conditions = [condition for condition in plan(paper("cnn_grid"), tiny).conditions if condition.role == "student"]
    grid = {(condition.T, condition.alpha) for condition in conditions if condition.model == "cnn2"}
    assert {T for T, _ in grid} == {1, 2.5, 5, 7.5, 10, 20, 30, 40, 50}
    assert {alpha for _, alpha in grid} == {0.1, 0.25, 0.5, 0.75, 0.9}
    assert len(grid) == 45
    assert {(one.T, one.alpha) for one in conditions if one.model == "resnet18_kd"} == {(10, 0.5), (5, 0.9)}
    assert len(conditions) == 47
    assert all(condition.lam == pytest.approx(1 - condition.alpha) for condition in conditions)


def test_resnet_ladder_as_reported(tiny):
    settings = paper("resnet_ladder")
    assert settings.teacher == "resnet10"
    assert settings.students == ["resnet3", "resnet4", "resnet5", "resnet6"]
    assert settings.loss == "convex_kl"
    roles = [condition.role for condition in plan(settings, tiny).conditions]
    assert {role: roles.count(role) for role in set(roles)} == {"teacher": 1, "baseline": 4, "student": 4}


def test_cifar_conv_as_reported(tiny):
    settings = paper("cifar_conv")
    assert (settings.teacher, settings.students) == ("conv10", ["conv3"])
    assert [condition.role for condition in plan(settings, tiny).conditions] == ["teacher", "baseline", "student"]


# What the reports gave


@pytest.mark.parametrize(
    ("model", "T", "row"),
    [
        ("resnet18_kd", 1.5, (89.67, 89.18, 90.98)),
        ("resnet18_kd", 2.5, (90.27, 89.81, 91.20)),
        ("resnet18_light", 2, (88.95, 88.13, 89.03)),
        ("resnet18_light", 3, (89.02, 88.21, 89.51)),
    ],
)
def test_table_3_of_tr_kd(model, T, row):
    assert tuple(reported("tr_kd", "table3", i, model=model, T=T) for i in range(3)) == row


@pytest.mark.parametrize(
    ("model", "alpha", "lam", "row"),
    [
        ("resnet18_kd", 0.7, 0.3, (89.65, 89.39, 91.15)),
        ("resnet18_kd", 0.3, 0.7, (52.47, 89.85, 90.99)),
        ("resnet18_light", 0.5, 0.5, (88.95, 88.13, 89.03)),
        ("resnet18_light", 0.3, 0.7, (89.10, 87.78, 89.12)),
    ],
)
def test_table_4_of_tr_kd(model, alpha, lam, row):
    where = {"model": model, "alpha": alpha, "lam": lam, "T": 2}
    assert tuple(reported("tr_kd", "table4", i, **where) for i in range(3)) == row


@pytest.mark.parametrize(
    ("role", "model", "row"),
    [
        ("baseline", "resnet18_kd", (89.01, 88.46, 90.43)),
        ("baseline", "resnet18_light", (77.53, 73.27, 78.10)),
        ("student", "resnet18_light", (88.95, 88.13, 89.03)),
        ("transfer", "resnet18_transfer", (86.36, 84.38, 86.30)),
    ],
)
def test_table_1_of_tr_kd(role, model, row):
    assert tuple(reported("tr_kd", "table1", i, role=role, model=model) for i in range(3)) == row


@pytest.mark.parametrize(
    ("alpha", "T", "value"),
    [(0.1, 1, 0.6113), (0.25, 2.5, 0.6086), (0.5, 10, 0.6255), (0.75, 30, 0.6228), (0.9, 5, 0.6257), (0.9, 50, 0.6136)],
)
def test_grid_of_cnn_grid(alpha, T, value):
    column = [c.where["T"] for c in table("cnn_grid", "grid").columns].index(T)
    assert reported("cnn_grid", "grid", column, alpha=alpha) == value


def test_the_other_numbers_of_cnn_grid():
    assert reported("cnn_grid", "performance", role="teacher") == 0.9154
    assert reported("cnn_grid", "performance", role="baseline") == 0.6128
    assert reported("cnn_grid", "resnet18_students", alpha=0.5, T=10) == 0.9021
    assert reported("cnn_grid", "resnet18_students", alpha=0.9, T=5) == 0.8812
    # a slip in any cell of the grid: its row sums in units of 0.0001, as added up from the report
    assert [len(row.reported) for row in table("cnn_grid", "grid").rows] == [9] * 5
    sums = [round(1e4 * sum(row.reported)) for row in table("cnn_grid", "grid").rows]
    assert sums == [54979, 55507, 55930, 55857, 55537]


def test_numbers_of_resnet_ladder():
    rows = {row.where["model"]: row.reported for row in table("resnet_ladder", "results").rows}
    assert rows == {
        "resnet10": [90, None],
        "resnet3": [64, 67],
        "resnet4": [70, 76],
        "resnet5": [82, 84],
        "resnet6": [87, 87],
    }


def test_number_of_cifar_conv():
    assert reported("cifar_conv", "results", role="student") == 73.42


def _matches(condition, where: dict) -> bool:
    return all(
        getattr(condition, key) in (value if isinstance(value, list) else [value]) for key, value in where.items()
    )


@pytest.mark.parametrize("name", STUDIES)
def test_every_cell_of_a_report_has_exactly_one_run_in_paper(name, tiny):
    conditions = plan(paper(name), tiny).conditions
    for t in schema.load(name).tables:
        for row in t.rows:
            for column, value in zip(t.columns, row.reported, strict=True):
                found = [condition for condition in conditions if _matches(condition, {**row.where, **column.where})]
                untrained = row.where.get("role") == "transfer" or value is None
                assert len(found) == 1 or (untrained and len(found) <= 1), (t.id, row.label, column.label)


@pytest.mark.parametrize("name", STUDIES)
def test_every_model_and_column_has_a_display_name(name):
    study = schema.load(name)
    assert {study.teacher, *study.students, *study.recipes} <= set(study.labels)


# Strict


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """Load a copy of cnn_grid after changing its parsed YAML."""

    def load(change):
        content = yaml.safe_load(schema._files()["cnn_grid"].read_text(encoding="utf-8"))
        change(content)
        path = tmp_path / "cnn_grid.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        monkeypatch.setattr(schema, "_files", lambda: {"cnn_grid": path})
        schema.load.cache_clear()
        return schema.load("cnn_grid")

    yield load
    monkeypatch.undo()
    schema.load.cache_clear()


def test_the_copy_itself_loads(changed):
    assert changed(lambda content: None).name == "cnn_grid"


@pytest.mark.parametrize(
    ("where", "key"),
    [
        (("profiles", "quick", "data"), "trainsize"),
        (("points", 0), "aplha"),
        (("tables", 0), "colums"),
        (("tables", 0, "rows", 0), "report"),
        (("tables", 0, "columns", 0), "were"),
        (("figures", 0), "modell"),
    ],
)
def test_a_misspelled_key_is_refused(changed, where, key):
    def change(content):
        for step in where:
            content = content[step]
        content[key] = 1

    with pytest.raises(UserError, match=rf"study cnn_grid: .*{key}: Extra inputs"):
        changed(change)


@pytest.mark.parametrize(
    ("where", "key", "says"),
    [
        ((), "techer", "a distillation study has no techer; did you mean 'teacher'?"),
        (("profiles", "quick"), "epochs", "a distillation study has no epochs; known: kind, name"),
        ((), "variants", "a distillation study has no variants; known: kind, name"),
    ],
)
def test_what_a_kind_of_study_has_not_is_refused(changed, where, key, says):
    def change(content):
        for step in where:
            content = content[step]
        content[key] = 1

    with pytest.raises(UserError) as caught:
        changed(change)
    assert str(caught.value).startswith(f"study cnn_grid: {says}")


def test_a_study_is_of_a_kind(changed):
    with pytest.raises(UserError, match=r"study cnn_grid: unknown kind 'destillation'; did you mean 'distillation'\?"):
        changed(lambda content: content.update(kind="destillation"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["profiles"].update(fast=c["profiles"]["quick"]), "profiles.fast"),
        (lambda c: c["title"].pop("tr"), "title"),
        (lambda c: c["tables"][1]["rows"][0]["reported"].pop(), "needs 9 reported values"),
        (lambda c: c["tables"][1]["rows"][0]["label"].append("x"), "needs 1 labels"),
        (lambda c: c["figures"][0].update(kind="pie"), "figures.0.kind"),
        (lambda c: c["tables"][0].update(best="diagonal"), "tables.0.best"),
        (lambda c: c.pop("teacher"), "teacher: Field required"),
        (lambda c: c["points"][0].update(T="hot"), "points.0.T"),
        (lambda c: c["points"][0].update(seeds=0), "points.0.seeds"),
    ],
)
def test_a_yaml_that_does_not_fit_is_refused(changed, change, says):
    with pytest.raises(UserError, match=says) as caught:
        changed(change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["recipes", "profiles"])
def test_a_misspelled_recipe_entry_is_refused_before_any_run(changed, place):
    def change(content):
        recipe = content["recipes"]["sgd"] if place == "recipes" else content["profiles"]["quick"]["recipe"]
        recipe["weight_decat"] = 0.1

    changed(change)
    with pytest.raises(UserError, match=r"unknown recipe entry 'weight_decat'; did you mean 'weight_decay'\?"):
        settle(parse({"study": "cnn_grid"}))


def test_an_unknown_study_suggests():
    with pytest.raises(UserError, match=r"unknown study 'tr_kdd'; did you mean 'tr_kd'\?"):
        schema.load("tr_kdd")
