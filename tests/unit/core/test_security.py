"""Keys, tokens, signatures and the kept secret."""

import os
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core import security
from backend.core.config import Settings


def test_a_key_has_its_shape_and_checksum():
    key = security.new_api_key()
    assert key.startswith("hoop_live_")
    body, checksum = key.removeprefix("hoop_live_").split("_")
    assert len(body) == 32
    assert len(checksum) == 6
    assert security.looks_like_api_key(key)
    assert key.startswith(security.key_prefix(key))
    assert len(security.key_prefix(key)) == len("hoop_live_") + 4


@given(st.integers(0, 48), st.sampled_from(security.ALPHABET))
def test_a_mistyped_key_is_known_at_once(position, character):
    key = security.new_api_key()
    wrong = key[:position] + character + key[position + 1 :]
    assert security.looks_like_api_key(wrong) == (wrong == key)


@given(st.text())
def test_anything_else_is_no_key(text):
    assert not security.looks_like_api_key(text)
    assert not security.looks_like_api_key("hoop_live_" + text)


def test_passwords():
    hashed = security.hash_password("a red fox")
    assert hashed.startswith("$argon2")
    assert security.verify_password("a red fox", hashed)
    assert not security.verify_password("a blue fox", hashed)
    assert not security.verify_password("a red fox", None)


def test_signatures(tmp_path):
    settings = Settings(data_dir=tmp_path, secret_key="")
    signature = security.sign("x", settings)
    assert security.check_signature("x", signature, settings)
    assert not security.check_signature("y", signature, settings)
    assert not security.check_signature("x", "ü", settings)
    other = Settings(data_dir=tmp_path, secret_key="another")
    assert not security.check_signature("x", signature, other)


def test_the_secret_is_private_and_the_same_for_all_who_start_at_once(tmp_path):
    code = "import sys; from backend.core.security import secret_key; from backend.core.config import Settings; "
    code += "print(secret_key(Settings(data_dir=sys.argv[1])).decode())"
    env = {name: value for name, value in os.environ.items() if name != "HOOP_SECRET_KEY"}
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(2)
    ]
    seen = {process.communicate(timeout=300)[0] for process in started}
    assert len(seen) == 1
    assert len(seen.pop().strip()) == 64
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("before", [None, 0o644])
def test_private_files(tmp_path, before):
    path = tmp_path / "key"
    if before:
        path.write_text("old")
        path.chmod(before)
    security.write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
