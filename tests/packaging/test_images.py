"""The Dockerfile and the compose file, checked without Docker."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.demo.model_server import BUILDS
from app.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
OURS = {"proxy-1", "proxy-2", "control", "model-v1", "model-v2"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))
    found: dict[str, Any] = compose["services"]
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(TOOLS / words[0]), *words[1:]], cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 -- this environment's tools


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    linted = run("hadolint", "Dockerfile")
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_compose_file_fits_the_compose_specification() -> None:
    checked = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    assert checked.returncode == 0, checked.stdout


def test_every_folder_the_image_copies_is_let_through_to_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+)", (PROJECT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    let_through = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [name for name in copied if f"!{name}" not in let_through or not (PROJECT / name).exists()] == []


def test_the_image_runs_as_a_user_without_rights() -> None:
    users = re.findall(r"^USER (\S+)$", (PROJECT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert users == ["10001:10001"]


def test_two_proxies_a_control_postgres_and_two_model_servers_run(services: dict[str, Any]) -> None:
    assert set(services) == OURS | {"postgres"}
    roles = {name: service["command"][-1] for name, service in services.items() if name in OURS and name[:5] != "model"}
    assert roles == {"proxy-1": "proxy", "proxy-2": "proxy", "control": "control"}


def test_our_containers_have_no_rights_and_a_read_only_file_system(services: dict[str, Any]) -> None:
    for name in OURS:
        service = services[name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name


def test_every_variable_is_a_setting(services: dict[str, Any]) -> None:
    known = {f"TURNBACK_{name.upper()}" for name in Settings.model_fields}
    used = {variable for name in OURS for variable in services[name].get("environment", {})}
    assert used <= known


def test_the_admin_port_is_published_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert [port for port in published if ":8321" in port or ":8322" in port] == ["127.0.0.1:8321:8321"]


def test_admin_and_ops_are_called_by_their_services_and_where_they_are_published(services: dict[str, Any]) -> None:
    ours = {name: service for name, service in services.items() if name in {"proxy-1", "proxy-2", "control"}}
    published = {"127.0.0.1"}
    for service in ours.values():
        assert set(service["environment"]["TURNBACK_ADMIN_HOSTS"].split(",")) == ours.keys() | published


def test_upstreams_are_exactly_the_model_servers(services: dict[str, Any]) -> None:
    allowed = services["control"]["environment"]["TURNBACK_UPSTREAM_ALLOW"].split(",")
    listening = {f"{name}:{service['command'][-1]}" for name, service in services.items() if name.startswith("model-")}
    versions = {service["command"][1] for name, service in services.items() if name.startswith("model-")}
    assert set(allowed) == listening
    assert versions <= set(BUILDS)


def test_no_password_stands_in_the_compose_file_but_a_default_for_development() -> None:
    text = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    assert re.findall(r"PASSWORD: (?!\"\$\{TURNBACK_DB_PASSWORD:-only-for-development\}\")", text) == []
    assert text.count("only-for-development") == text.count("TURNBACK_DB_PASSWORD:-")
