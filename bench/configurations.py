"""How the peers that are programs of their own are configured, each as its own documentation advises.

Rule: one process or one worker, kept connections to the upstream, no access log; nothing else is set
that would make a peer slower or quicker than it comes, except where a workload breaks without it.
"""

import os
from pathlib import Path
from typing import Any

import orjson

from bench.message import STREAM

_STREAM_PATH = STREAM.paths[0]

# A larger body buffer is what nginx itself asks for in its log when bodies go through a file.
_NGINX = """\
{user}worker_processes 1;
worker_rlimit_nofile 8192;
daemon off;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_buffer_size 128k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://model; }}
    location = {stream} {{ proxy_pass http://model; proxy_buffering off; }}
  }}
}}
"""

# Without http-no-delay HAProxy holds small chunks back and a first event comes 160 ms late.
_HAPROXY = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend client
  bind 127.0.0.1:{port} backlog 1024
  use_backend stream if {{ path {stream} }}
  default_backend model
backend model
  server upstream 127.0.0.1:{upstream}
backend stream
  option http-no-delay
  server upstream 127.0.0.1:{upstream}
"""

_LITELLM = """\
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_key: none
      mock_response: "{answer}"
general_settings:
  dangerously_permit_weak_or_unset_master_key: true
"""
_MOCK_ANSWER = "a" * 512


def nginx(port: int, upstream: int, folder: Path) -> Path:
    """Write nginx's configuration."""
    # As root the worker would become another user, who may not enter a private temporary folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    text = _NGINX.format(user=user, folder=folder, port=port, upstream=upstream, stream=_STREAM_PATH)
    return _written(folder / "nginx.conf", text)


def haproxy(port: int, upstream: int, folder: Path) -> Path:
    """Write HAProxy's configuration."""
    return _written(folder / "haproxy.cfg", _HAPROXY.format(port=port, upstream=upstream, stream=_STREAM_PATH))


def litellm(folder: Path) -> Path:
    """Write LiteLLM's configuration: one model that is never called, its answer stands here."""
    return _written(folder / "litellm.yaml", _LITELLM.format(answer=_MOCK_ANSWER))


def envoy(port: int, upstream: int, folder: Path) -> Path:
    """Write Envoy's configuration: one listener, one route, one cluster, the rest its defaults."""
    filters = [_typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")]
    route = {"match": {"prefix": "/"}, "route": {"cluster": "model"}}
    routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="client",
        route_config=routes,
        http_filters=filters,
    )
    listener = {"name": "client", "address": _address(port), "filter_chains": [{"filters": [manager]}]}
    endpoint = {"endpoint": {"address": _address(upstream)}}
    cluster = {
        "name": "model",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "model", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    document = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    return _written(folder / "envoy.json", orjson.dumps(document).decode())


def _typed(name: str, message: str, **fields: object) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{message}", **fields}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
