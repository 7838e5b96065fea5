"""Exit codes of all commands."""

FINE = 0
FAILED = 1
MISUSED = 2
# 128 + SIGINT, as shells count.
INTERRUPTED = 130
