"""Settings: defaults, names, and the way to a run that is going on."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.core.config import Settings, with_running_services


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in Settings().to_env():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.delenv("DATA_DIR", raising=False)


def test_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.data_dir == tmp_path / "data"
    assert settings.address == "http://localhost:8000"
    assert settings.database == f"sqlite:///{tmp_path}/data/hoop.db"
    assert not settings.secure_cookies


def test_short_names(monkeypatch):
    monkeypatch.setenv("PORT", "9001")
    monkeypatch.setenv("DATA_DIR", "/srv/hoop")
    monkeypatch.setenv("HOOP_PUBLIC_URL", "https://hoop.example/")
    settings = Settings()
    assert (settings.port, settings.data_dir) == (9001, Path("/srv/hoop"))
    assert settings.address == "https://hoop.example"
    assert settings.secure_cookies


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_one_driver_for_postgresql(scheme):
    assert Settings(database_url=f"{scheme}://u:p@h/d").database == "postgresql+psycopg://u:p@h/d"


def test_settings_travel_through_the_environment(monkeypatch, tmp_path):
    given = Settings(data_dir=tmp_path, port=1234, broker_url="redis://x", log_json=True, lease_seconds=2.5)
    for name, value in given.to_env().items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_folders_do_not_depend_on_where_a_process_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOP_BASES_DIR", "disk/bases")
    given = Settings()
    monkeypatch.chdir("/")
    assert given.bases == Path(given.to_env()["HOOP_BASES_DIR"]) == tmp_path / "disk" / "bases"


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "eighty"), ("HOOP_RENDERS_TOGETHER", "17"), ("HOOP_RENDERS_TOGETHER", "-1")]
)
def test_wrong_values_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_a_second_terminal_finds_the_run(tmp_path):
    noted = {"broker_url": "redis+socket:///x", "s3_endpoint": "http://127.0.0.1:1", "s3_access_key": "a", "other": "b"}
    (tmp_path / "run.json").write_text(json.dumps({"settings": noted}))
    found = with_running_services(Settings(data_dir=tmp_path, s3_access_key="mine"))
    assert (found.broker_url, found.s3_endpoint, found.s3_access_key) == (
        "redis+socket:///x",
        "http://127.0.0.1:1",
        "mine",
    )
    alone = Settings(data_dir=tmp_path, run_mode="production")
    assert with_running_services(alone) == alone


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}"])
def test_without_a_run_nothing_is_filled(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    settings = Settings(data_dir=tmp_path)
    assert with_running_services(settings) == settings
