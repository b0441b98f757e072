"""kdlib: distillation, transfer learning and structured pruning of image classifiers, as a reproducible study."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kdlib")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0+unknown"
