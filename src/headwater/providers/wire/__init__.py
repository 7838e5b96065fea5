"""Upstream wire protocols: pure request builders and sans-IO decoders. No I/O, no clock of their own."""
