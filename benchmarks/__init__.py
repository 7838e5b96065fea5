"""What Headwater costs, measured: `python -m benchmarks` (see docs/explanation/benchmarks.md).

The server under test has a core of its own; a paced mock model server and a swarm of viewers share the next one.
Nothing here is imported by the package, and only `micro` imports the package: the rest speaks HTTP, so that any
server that proxies `POST /v1/chat/completions` can stand in its place.
"""
