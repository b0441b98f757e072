"""Tables, figures and findings of a study, in Turkish and English, from run records alone.

Importing this is cheap: pandas, Babel, matplotlib and seaborn load when something is drawn or written.
"""

from kdlib.reporting.core.results import Cell, Results
from kdlib.reporting.core.table import Table
from kdlib.reporting.figures import Drawing, draw
from kdlib.reporting.findings import findings
from kdlib.reporting.frames import localise
from kdlib.reporting.reading import read
from kdlib.reporting.samples import contact_sheet
from kdlib.reporting.tables import tables
from kdlib.reporting.writing import write

__all__ = [
    "Cell",
    "Drawing",
    "Results",
    "Table",
    "contact_sheet",
    "draw",
    "findings",
    "localise",
    "read",
    "tables",
    "write",
]
