"""A process starts with the settings it was given, or not at all."""

import os
from pathlib import Path

import pytest

from app import settings
from app.errors import CannotServe
from app.settings import Settings, SettingsRefused
from app.starting import refuse


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    assert f"### `TURNBACK_{name.upper()}`" in PAGE
    assert Settings.model_fields[name].description


def test_no_documented_setting_is_missing() -> None:
    headings = {line.strip("#` ") for line in PAGE.splitlines() if line.startswith("### ")}
    assert headings == {f"TURNBACK_{name.upper()}" for name in Settings.model_fields}


def test_an_unknown_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNBACK_DATABSE_URL", "postgresql://x")
    with pytest.raises(SettingsRefused, match="TURNBACK_DATABSE_URL"):
        settings.load()


def test_a_bad_value_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNBACK_TICK_INTERVAL_S", "hunter2")
    with pytest.raises(SettingsRefused, match="TURNBACK_TICK_INTERVAL_S") as refused:
        settings.load()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_an_interval_is_positive_and_finite(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TURNBACK_POLL_INTERVAL_S", value)
    with pytest.raises(SettingsRefused):
        settings.load()


def test_the_command_line_wins_over_the_environment_unless_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNBACK_ADMIN_PORT", "9001")
    assert settings.load(admin_port=None).admin_port == 9001
    assert settings.load(admin_port=9002).admin_port == 9002


def test_an_embedded_gateway_serves_this_machine_alone_unless_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings.load().inference_host == "127.0.0.1"
    everywhere = ".".join("0000")
    assert settings.load(inference_host=everywhere).inference_host == everywhere
    monkeypatch.setenv("TURNBACK_DATABASE_URL", "postgresql://u@h/db")
    assert settings.load().inference_host == everywhere
    monkeypatch.setenv("TURNBACK_INFERENCE_HOST", "::1")
    assert settings.load().inference_host == "::1"


def test_the_database_address_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNBACK_DATABASE_URL", "postgresql://u:hunter2@h/db")
    assert "hunter2" not in repr(settings.load())


def test_a_database_address_is_one_of_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNBACK_DATABASE_URL", "mysql://u:hunter2@h/db")
    with pytest.raises(SettingsRefused, match="must begin with postgresql://") as refused:
        settings.load()
    assert "hunter2" not in str(refused.value)


def test_the_allow_list_is_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNBACK_UPSTREAM_ALLOW", "10.0.0.0/8, models.internal:80,")
    assert settings.load().upstream_allow == ("10.0.0.0/8", "models.internal:80")


def test_hosts_of_the_admin_port_are_names_and_addresses_without_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().admin_hosts == ()
    monkeypatch.setenv("TURNBACK_ADMIN_HOSTS", "control, control.internal,::1,")
    assert settings.load().admin_hosts == ("control", "control.internal", "::1")
    refuse(settings.load(), "all", decides=True)
    monkeypatch.setenv("TURNBACK_ADMIN_HOSTS", "control:8321")
    with pytest.raises(CannotServe, match=r"TURNBACK_ADMIN_HOSTS is not acceptable: control:8321 is no host"):
        refuse(settings.load(), "all", decides=True)


def test_trusted_proxies_are_networks_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().trusted_proxies == ()
    monkeypatch.setenv("TURNBACK_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8,192.0.2.1")
    assert [str(network) for network in settings.load().trusted_proxies] == ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"]


@pytest.mark.parametrize("value", ["10.0.0.1/8", "proxy.internal", "*"])
def test_a_trusted_proxy_is_never_guessed(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TURNBACK_TRUSTED_PROXIES", value)
    with pytest.raises(SettingsRefused, match="TURNBACK_TRUSTED_PROXIES"):
        settings.load()
