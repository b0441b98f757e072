"""``python -m benchmarks``: speed beside its peers, as table, figure and JSON."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import Asked, run
from kdlib.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benches named on the command line; return 0, or 2 for a mistake in what was asked."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.partition(": ")[2])
    parser.add_argument("benches", nargs="*", metavar="BENCH", help="kd-step, grid, ... (none: all)")
    parser.add_argument("--data-root", type=Path, help="folder with train/ and test/ images; default: generated ones")
    parser.add_argument("--rounds", type=int, help="how often the sides take turns; default: each bench's own number")
    parser.add_argument("--quick", action="store_true", help="everything small, to see that it works")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    said = parser.parse_args(argv)
    root = said.data_root and said.data_root.expanduser()
    try:
        run(said.benches, Asked(root, said.rounds, said.quick, said.device, said.output_dir))
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
