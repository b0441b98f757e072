"""The report page: answers first, then every verdict, reported against here, the studies, and all runs, in one file."""

from kdlib.reporting.page.build import page, studies, write

__all__ = ["page", "studies", "write"]
