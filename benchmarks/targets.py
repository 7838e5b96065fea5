"""The servers that a run compares: each a command, an environment and a way to see that it is ready."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .processes import Process, wait_for_http

_NGINX_CONF = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
error_log {directory}/error.log crit;
pid {directory}/nginx.pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    tcp_nodelay on;
    upstream model_server {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://model_server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""


class Target(NamedTuple):
    """A server, not yet started. `ready` is the path that answers 200 when it is ready."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    port: int
    ready: str

    def start(self, core: int, directory: Path) -> Process:
        """Started, but not waited for."""
        return Process(self.command, core=core, output=directory / f"{self.name}.log", env=self.env)

    def wait(self, process: Process) -> float:
        """Seconds until it is ready."""
        return wait_for_http(process, f"http://127.0.0.1:{self.port}{self.ready}")


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def environment(upstream: int, settings: Mapping[str, str]) -> dict[str, str]:
    """This environment without settings, keys or proxies of its own, plus the mock as the one model server."""
    foreign = ("HEADWATER_", "OPENAI_", "OLLAMA_")
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign) and k.lower() not in proxies}
    base_url = f"http://127.0.0.1:{upstream}/v1"
    return {**kept, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "bench", **settings}


def headwater(command: Sequence[str], upstream: int, directory: Path, **settings: str) -> Target:
    """Headwater on a new data directory; `command` is `headwater serve` in whatever form."""
    port = free_port()
    data_dir = directory / f"data-{port}"
    whole = [*command, "--port", str(port), "--data-dir", str(data_dir)]
    return Target("headwater", whole, environment(upstream, settings), port, "/health")


def nginx(upstream: int, directory: Path) -> Target | None:
    """A pass-through proxy with one worker, or `None` where nginx is not installed."""
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if binary is None:
        return None
    port = free_port()
    home = directory / f"nginx-{port}"
    home.mkdir(mode=0o755)
    conf = home / "nginx.conf"
    conf.write_text(
        _NGINX_CONF.format(directory=home, port=port, upstream=upstream, connections=8192, descriptors=16384)
    )
    return Target("nginx", [binary, "-p", str(home), "-c", str(conf)], environment(upstream, {}), port, "/v1/models")


def peer(way: str, upstream: int) -> Target:
    """The usual way to write it (see `peer`): `queue` on aiohttp, or `sdk` on the openai package."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.peer", way, str(port)]
    return Target(f"peer-{way}", command, environment(upstream, {}), port, "/health")
