"""The key that an agent makes for itself: made once, for nobody else, and never half there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from device_profiles.errors import ConfigError
from edge_agent.events import own_key as module
from edge_agent.events.own_key import own_key


def test_it_is_made_once_and_readable_by_nobody_else(tmp_path: Path) -> None:
    key = own_key(tmp_path / "data")
    (path,) = (tmp_path / "data").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert own_key(tmp_path / "data") == key
    assert len(key.secret) == 32
    assert key.secret.hex() not in repr(key)
    assert own_key(tmp_path / "other").secret != key.secret


@pytest.mark.parametrize("content", ["", "ab", "no hex at all, and quite long enough for one, too........."])
def test_half_a_key_is_no_key(tmp_path: Path, content: str) -> None:
    own_key(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        own_key(tmp_path)
    assert str(path) in str(caught.value)


def test_without_a_disk_it_is_of_this_run_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module, "_write", full)
    assert own_key(tmp_path).secret != own_key(tmp_path).secret
    assert list(tmp_path.iterdir()) == []
