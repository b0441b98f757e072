"""Tables, figures and findings of a study, in Turkish and English, from run records alone.

Importing this is cheap: pandas, Babel, matplotlib and seaborn load when something is drawn or written.
"""

from kdlib.reporting.figures import Drawing, draw
from kdlib.reporting.findings import findings
from kdlib.reporting.results import Cell, Results
from kdlib.reporting.tables import ReportTable, tables
from kdlib.reporting.writing import write

__all__ = ["Cell", "Drawing", "ReportTable", "Results", "draw", "findings", "tables", "write"]
