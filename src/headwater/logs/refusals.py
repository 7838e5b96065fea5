"""Why a log refuses an append or an epoch, in words that are the same for every log."""

from __future__ import annotations

ENDED = "the stream has ended"
TAKEN = "the stream id, or the owner's idempotency key, is taken"
