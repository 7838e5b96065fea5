"""Finding passages: by words, by vectors, and both merged."""

from ..records import Found, Query, Results
from .searcher import Searcher

__all__ = ["Found", "Query", "Results", "Searcher"]
