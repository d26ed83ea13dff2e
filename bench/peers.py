"""Which proxies stand beside each other, how each is started, and what installs the missing ones.

Rule: all forward to the same upstream over kept connections, write no access log and use one process or
one worker; nobody is given a setting that its own documentation does not advise.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.servers import python_module

_NGINX_CONF = """\
{user}worker_processes 1;
daemon off;
error_log stderr warn;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


def _nginx(port: int, upstream: int, folder: Path) -> list[str]:
    config = folder / "nginx.conf"
    # As root the worker would become another user, who may not enter a private temporary folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    config.write_text(_NGINX_CONF.format(user=user, folder=folder, port=port, upstream=upstream))
    program = _nginx_program() or "nginx"
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(config)]


def _nginx_program() -> str | None:
    # Debian keeps it in sbin, which is not on every user's path.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _turnback(port: int, upstream: int, _folder: Path) -> list[str]:
    return python_module("bench.peer_turnback", port, upstream)


def _fastapi(port: int, upstream: int, _folder: Path) -> list[str]:
    return python_module("bench.peer_fastapi", port, upstream)


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy of the comparison.

    Attributes:
        command: Of (port, upstream's port, private folder); may write its configuration there.
        install: The line that makes it present.
        connections: Of the saturating load; fewer where more would only make the peer look worse.
        rate: Exchanges a second of the latency run, well below what the peer can carry.
    """

    name: str
    command: Callable[[int, int, Path], Sequence[str]]
    present: Callable[[], bool]
    install: str
    connections: int = 64
    rate: int = 500


PEERS = (
    Peer("turnback", _turnback, lambda: True, "python3 -m app test"),
    Peer("nginx", _nginx, lambda: _nginx_program() is not None, "apt-get install nginx-light"),
    # httpcore's pool slows down with many connections (2.5 ms at 8, 5 ms at 64): 8 is where it stands best.
    Peer("fastapi_httpx", _fastapi, lambda: True, "python3 -m app test", connections=8, rate=50),
)
