"""Parameters: how they may be written, what is refused, and notebooks that cannot slip one through."""

import pytest
from pydantic import ValidationError

from kdlib.errors import UserError
from kdlib.studies.parameters import Parameters, from_notebook, parse, settle


def refused(says: str | None):
    return pytest.raises(UserError, match=says)


@pytest.mark.parametrize(
    "value",
    [
        "0,1,2",
        "0, 1, 2",
        "[0, 1, 2]",
        "(0,1,2)",
        [0, 1, 2],
        (0, 1, 2),
        ["0", "1", "2"],
        '["0", "1", "2"]',
        "0 1 2",
        "0;1;2",
        "- 0\n- 1\n- 2",
        "0-2",
        "0..2",
        "0 - 2",
        "[0-1, 2]",
        ["0-2"],
    ],
)
def test_lists_may_be_written_in_many_ways(value):
    assert parse({"seeds": value}).seeds == [0, 1, 2]


def test_names_in_lists_may_be_quoted():
    for value in ('["mypkg:small", "cnn2"]', "['mypkg:small','cnn2']", "mypkg:small, cnn2", "“mypkg:small”, “cnn2”"):
        assert parse({"students": value}).students == ["mypkg:small", "cnn2"]
    assert parse({"T": "[]"}).T is None


def test_ranges_of_seeds():
    assert parse({"seeds": "1-2"}).seeds == [1, 2]
    assert parse({"seeds": "0,4-6,9"}).seeds == [0, 4, 5, 6, 9]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seeds": "3-1"}, "the range 3-1 goes down; write 1-3"),
        ({"seeds": "-1"}, "write such as 0,1,2 or 0-2"),
        ({"seeds": "range(3)"}, "write such as 0,1,2 or 0-2"),
        ({"T": "1..3"}, "write the values, such as 1,2,3"),
        ({"ratio": "10%"}, "write a fraction, such as 0.1 for 10 %"),
        ({"alpha": "0,5"}, "write 0.5"),
        ({"alpha": "[0,5]"}, "write 0.5"),
        ({"alpha": "0,5,0,9"}, "write 0.5,0.9"),
        ({"alpha": "- 0,5\n- 0,9"}, "write 0.5,0.9"),
        ({"alpha": "0,05"}, "write 0.05"),
        ({"T": "0,5"}, "write 0.5"),
        ({"T": "1,5;2,5"}, "write 1.5,2.5"),
        ({"T": "1,5 4"}, "write 1.5,4"),
        ({"T": ["1,5", 4]}, "write 1.5"),
        ({"ratio": "0,1"}, "write 0.1"),
        ({"lr": "0,001"}, "decimals have a point; write 0.001"),
        ({"label_smoothing": "0,1"}, "write 0.1"),
        ({"alpha": "black"}, "background=black"),
    ],
)
def test_odd_ranges_and_decimal_commas_say_how(values, says):
    with refused(None) as caught:
        parse(values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_numbers_that_may_be_one_are_named(capsys):
    assert parse({"T": "1,7", "lang": "tr"}).T == [1, 7]
    assert parse({"alpha": "0,1"}).alpha == [0, 1]
    assert capsys.readouterr().err.splitlines() == [
        "kdlib: T=1,7 is two values, 1 and 7; with a point, 1.7, it is one",
        "kdlib: alpha=0,1 is two values, 0 and 1; with a point, 0.1, it is one",
    ]
    assert parse({"T": "1,4"}).T == [1, 4]
    assert parse({"T": "1, 4", "lang": "tr"}).T == [1, 4]
    assert parse({"alpha": "0, 5"}).alpha == [0, 5]
    assert capsys.readouterr().err == ""


def test_a_folder_is_used_whole_unless_said():
    spec = settle(parse({"profile": "smoke", "dataset": "folder", "groups": r"(\d+)_", "grayscale": "true"})).data
    assert (spec.train_size, spec.test_size, spec.groups, spec.grayscale) == (None, None, r"(\d+)_", True)
    assert settle(parse({"profile": "smoke", "dataset": "folder", "train_size": 40})).data.train_size == 40
    assert settle(parse({"profile": "smoke"})).data.train_size == 80


def test_batches_fit_a_small_folder(capsys):
    asked = parse({"profile": "reduced", "dataset": "folder"})
    small = settle(asked).fitted(38)
    assert {recipe.batch_size for recipe in (*small.by_column.values(), small.taught_by)} == {8}
    assert "there are 38 training images: batches are of 8, not of 128" in capsys.readouterr().err
    assert settle(asked).fitted(128).by_column == settle(asked).by_column
    asked = parse({"profile": "reduced", "dataset": "folder", "batch_size": 64})
    assert {recipe.batch_size for recipe in settle(asked).fitted(38, keep=True).by_column.values()} == {64}


def test_how_labels_count_holds_for_teacher_and_students():
    found = settle(parse({"profile": "reduced", "class_weights": "balanced", "label_smoothing": "0.1"}))
    for recipe in (*found.by_column.values(), found.taught_by):
        assert (recipe.class_weights, recipe.label_smoothing) == ("balanced", 0.1)


def test_a_single_value_is_a_list_of_one():
    found = parse({"seeds": 3, "T": 4, "alpha": "0.5", "students": "cnn2", "columns": "adam128"})
    assert (found.seeds, found.T, found.alpha) == ([3], [4.0], [0.5])
    assert (found.students, found.columns) == (["cnn2"], ["adam128"])


def test_numbers_may_come_as_words():
    found = parse({"epochs": "3", "lr": "1e-3", "batch_size": "64", "lam": "0.5", "download": "true"})
    assert (found.epochs, found.lr, found.batch_size, found.lam, found.download) == (3, 1e-3, 64, 0.5, True)


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_value_leaves_the_studys_own(empty):
    names = [name for name, field in Parameters.model_fields.items() if field.default is None]
    assert parse(dict.fromkeys(names, empty)) == Parameters()
    assert len(names) > 10


def test_defaults():
    found = parse({})
    assert (found.study, found.profile, found.lang, found.device) == ("tr_kd", "quick", "en", "auto")


def test_parameters_do_not_change():
    with pytest.raises(ValidationError):
        parse({}).study = "cnn_grid"


def test_flat_is_what_parse_takes():
    asked = {
        "study": "cnn_grid",
        "profile": "smoke",
        "lang": "tr",
        "seeds": [0, 1],
        "T": [1.0, 2.5],
        "students": ["cnn2", "mypkg.models:build"],
        "lr": 0.05,
        "download": True,
        "data_root": "/some where",
    }
    flat = parse(asked).flat()
    assert all(isinstance(value, (str, int, float, bool)) for value in flat.values())
    assert parse(flat) == parse(asked)
    # what was not set is left to the study
    assert set(flat) == set(asked)


def test_root():
    assert str(parse({"output_dir": "/a/b", "profile": "smoke"}).root) == "/a/b/smoke"


def test_root_beside_the_notebooks(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert parse({}).root.resolve() == tmp_path / "notebooks" / "outputs" / "quick"
    (tmp_path / "pyproject.toml").touch()
    assert parse({}).root == tmp_path / "outputs" / "quick"
    assert parse({"output_dir": str(tmp_path / "x")}).root == tmp_path / "x" / "quick"
    (tmp_path / "notebooks" / "tr").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks" / "tr")
    assert parse({}).root == tmp_path / "outputs" / "quick"


# What a user gets wrong


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("alhpa", "alpha"), ("seed", "seeds"), ("temprature", None), ("batchsize", "batch_size"), ("t", None)],
)
def test_a_misspelled_name_is_refused(wrong, right):
    with refused(f"unknown parameter '{wrong}'") as caught:
        parse({wrong: 1})
    assert (f"did you mean '{right}'?" if right else "known: study, profile") in str(caught.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"T": 0}, "parameter T=0: input should be greater than 0"),
        ({"T": "-1"}, "parameter T='-1': input should be greater than 0"),
        ({"T": [2, 0]}, "parameter T="),
        ({"T": "nan"}, "parameter T='nan'"),
        ({"T": "warm"}, "parameter T='warm'"),
        ({"alpha": -0.1}, "parameter alpha=-0.1: input should be greater than or equal to 0"),
        ({"alpha": "0.5,-1"}, "parameter alpha='0.5,-1'"),
        ({"lam": -1}, "parameter lam=-1"),
        ({"lr": 0}, "parameter lr=0"),
        ({"epochs": 0}, "parameter epochs=0"),
        ({"epochs": "3.5"}, "parameter epochs='3.5'"),
        ({"teacher_epochs": 0}, "parameter teacher_epochs=0"),
        ({"batch_size": 0}, "parameter batch_size=0"),
        ({"image_size": 4}, "parameter image_size=4"),
        ({"seeds": "zero"}, "parameter seeds='zero'"),
        ({"profile": "slow"}, "parameter profile='slow': input should be 'smoke', 'quick', 'reduced' or 'paper'"),
        ({"lang": "de"}, "parameter lang='de': input should be 'en' or 'tr'"),
        ({"precision": "fp16"}, "parameter precision='fp16'"),
        ({"study": "tr_dk"}, "unknown study 'tr_dk'; did you mean 'tr_kd'"),
        ({"study": None}, "parameter study=None"),
    ],
)
def test_a_bad_value_is_one_line(values, says):
    with refused(None) as caught:
        parse(values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"study": "cnn_grid", "alpha": 1.5}, "alpha must lie between 0 and 1 in a convex loss, got 1.5"),
        ({"study": "resnet_ladder", "alpha": 1.5}, "alpha must lie between 0 and 1"),
        ({"study": "cnn_grid", "alpha": 0.5, "lam": 0.9}, "lam is 1 - alpha = 0.5 in a convex loss, got 0.9"),
        ({"T": "1e-9"}, "temperature T must be a positive number (1 to 20 is usual), got 1e-09"),
        ({"T": "inf"}, "temperature T must be a positive number (1 to 20 is usual), got inf"),
        ({"alpha": "inf"}, "alpha must be"),
        ({"alpha": 0, "lam": 0}, "both 0"),
        ({"lr": "inf"}, "lr must be a positive number, got inf"),
        ({"teacher": "resnet18"}, "unknown model 'resnet18'"),
        ({"students": "resnet18_kd,cnn3"}, "unknown model 'cnn3'; did you mean 'cnn2'?"),
        ({"students": "no_such_package:build"}, "cannot be imported"),
        ({"columns": "adam129"}, "study tr_kd has no column 'adam129'; did you mean 'adam128'?"),
        ({"loss": "kl"}, "unknown loss 'kl'; known: weighted_kl"),
        ({"study": "tr_kd", "profile": "paper", "teacher_epochs": 3}, "set epochs instead"),
    ],
)
def test_values_that_do_not_fit_the_study(values, says):
    with refused(None) as caught:
        settle(parse(values))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_without_the_profile(monkeypatch):
    from kdlib.studies import schema

    study = schema.load("tr_kd")
    only = study.model_copy(update={"profiles": {"quick": study.profiles["quick"]}})
    monkeypatch.setattr(schema, "load", lambda name: only)
    with refused("study tr_kd has no profile 'paper'; it has quick"):
        settle(parse({"profile": "paper"}))


# Notebooks


def notebook(*cells: str) -> dict:
    """The globals of a notebook after running these cells one after another."""
    variables = {"In": [""], "Out": {}, "_": None}
    for cell in cells:
        variables["In"].append(cell)
        exec(cell, variables)
    return variables


OWN = "# Parameters. None leaves the study's own value.\nstudy = 'tr_kd'\nalpha = None\nT = None  # list\n"
CALL = "found = 1\nlang_of_mine = 'en'\n"


def test_a_notebooks_own_parameters():
    assert from_notebook(notebook(OWN, CALL)) == Parameters()
    assert from_notebook(notebook(OWN.replace("alpha = None", "alpha = 0.3"))).alpha == [0.3]


def test_a_value_computed_in_the_parameters_cell():
    own = "# Parameters\nT = [2.0 ** i for i in range(3)]\n"
    assert from_notebook(notebook(own)).T == [1, 2, 4]


def test_injected_parameters_win():
    found = from_notebook(notebook(OWN, "# Parameters\nstudy = 'cnn_grid'\nT = '1,2'\n"))
    assert (found.study, found.T) == ("cnn_grid", [1, 2])


def test_a_misspelled_injected_parameter_is_refused():
    with refused("unknown parameter 'alhpa'; did you mean 'alpha'?"):
        from_notebook(notebook(OWN, "# Parameters\nalhpa = 0.3\n"))


def test_a_misspelled_parameter_of_the_notebooks_own_is_refused():
    with refused("unknown parameter 'alhpa'"):
        from_notebook(notebook(OWN.replace("alpha", "alhpa")))
    with refused("unknown parameter 'alhpa'"):
        from_notebook(notebook(OWN.replace("alpha", "alhpa"), "# Parameters\nprofile = 'smoke'\n"))


def test_a_reader_puts_a_misspelling_right_and_goes_on():
    # what a reader runs again is the same cell, edited: the old one is history
    found = from_notebook(
        notebook(OWN.replace("alpha = None", "alhpa = 0.3"), OWN.replace("alpha = None", "alpha = 0.3"))
    )
    assert found.alpha == [0.3]


@pytest.mark.parametrize("line", ["T: float = 0.0", "T, alpha = 0.0, 0.3", "T = alpha = 0.0", "T = 1.0\nT -= 1"])
def test_no_way_of_assigning_is_overlooked(line):
    with refused("parameter T=0.0"):
        from_notebook(notebook(f"# Parameters\n{line}\n"))


def test_variables_elsewhere_are_the_readers_own():
    assert from_notebook(notebook("epochs_of_mine = 3\nalpha_grid = [1]\n", OWN)) == Parameters()


def test_a_notebook_whose_parameters_cell_was_not_run():
    with refused("# Parameters"):
        from_notebook(notebook("T = 4\n"))


def test_a_plain_dict_is_parameters_all_of_it():
    assert from_notebook({"T": 4}).T == [4]
    with refused("unknown parameter 'x'"):
        from_notebook({"T": 4, "x": 1})


def test_a_kernel_that_keeps_no_history():
    # as under nbval: In is there and empty, the variables are set
    variables = {"In": [""], "Out": {}, "study": "cnn_grid", "T": "1,2", "of_the_readers_own": 3}
    found = from_notebook(variables)
    assert (found.study, found.T) == ("cnn_grid", [1, 2])
