"""Studies: one YAML each; parameters become runs, runs become records."""

from kdlib.studies.experiment import Experiment, prepare
from kdlib.studies.parameters import Parameters, parse
from kdlib.studies.schema import LANGUAGES, PROFILES, Study, load, names

__all__ = ["LANGUAGES", "PROFILES", "Experiment", "Parameters", "Study", "load", "names", "parse", "prepare"]
