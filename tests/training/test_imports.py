"""Training needs neither Jupyter nor matplotlib nor pandas."""

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import sys
blocked = (
    "matplotlib pandas seaborn babel IPython ipykernel ipywidgets jupyter jupyter_client jupyter_core jupyterlab "
    "notebook nbformat nbclient nbconvert papermill pydantic yaml"
)
for name in blocked.split():
    sys.modules[name] = None

import kdlib.data, kdlib.losses, kdlib.models, kdlib.profiling, kdlib.training

sys.path.insert(0, sys.argv[1])
sys.modules["pytest"] = type(sys)("pytest")
sys.modules["pytest"].fixture = lambda function=None, **_: function or (lambda f: f)
from conftest import make_dataset
from kdlib.models import build
from kdlib.training import Job, Recipe, fit

outcome = fit(Job(lambda: build("cnn2", 4), Recipe(batch_size=16, epochs=2)), make_dataset(), precision="fp32")
print(len(outcome.history), outcome.diverged)
"""


def test_two_epochs_without_what_notebooks_need():
    tests = Path(__file__).parents[1]
    # the plain environment: a progress bar that would like widgets must do without
    environment = {key: value for key, value in os.environ.items() if key != "KDLIB_TEXT_PROGRESS"}
    command = [sys.executable, "-W", "error::UserWarning", "-c", CODE, str(tests)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "None"]
    assert "100%" in done.stderr
    assert "Traceback" not in done.stderr
