"""Which documents one pass of a search looks into. The same for words and for vectors."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, and_

from ...store.tables import documents
from ..records import Scope
from ..rows import is_visible


class Filter(NamedTuple):
    """`chosen`: only these ids; `excluded`: not these. `confidential`: whether confidential ones are looked into."""

    scope: Scope
    confidential: bool = True
    chosen: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()

    def condition(self) -> ColumnElement[bool]:
        conditions = [is_visible(self.scope), documents.c.version > 0]
        if not self.confidential:
            conditions.append(documents.c.confidential.is_(False))
        if self.chosen is not None:
            conditions.append(documents.c.id.in_(sorted(self.chosen)))
        if self.excluded:
            conditions.append(documents.c.id.not_in(sorted(self.excluded)))
        return and_(*conditions)

    def admits(self, document_id: str, *, confidential: bool) -> bool:
        """The same for a document that is known to be visible."""
        if confidential and not self.confidential:
            return False
        return document_id not in self.excluded and (self.chosen is None or document_id in self.chosen)
