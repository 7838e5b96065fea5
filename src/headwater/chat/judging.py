"""The opinion of a judge model on an answer, in place of the lexical one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..errors import HeadwaterError
from ..events import Source
from .aside import Aside, Asides
from .judge import judge_messages, read_verdict
from .signals import Signals

_logger = logging.getLogger(__name__)


class ModelJudge:
    """See `ports.Judge`. `model`: a public model name; `timeout_s`: how long an answer's end may wait for it."""

    def __init__(self, asides: Asides, model: str, *, timeout_s: float) -> None:
        self._asides = asides
        self._model = model
        self._timeout_s = timeout_s

    async def improve(
        self, signals: Signals, answer: str, sources: Sequence[Source], *, confidential: bool, aside: Aside
    ) -> Signals:
        asked = judge_messages(answer, sources)
        if asked is None:
            return signals
        try:
            aside = aside._replace(local=confidential)
            told = await self._asides.ask(aside, self._model, asked.messages, timeout_s=self._timeout_s)
        except HeadwaterError as exc:
            _logger.warning("the judge model gave no opinion: %s", exc.message)
            return signals
        return read_verdict(signals, told, asked)
