"""CATALOGUE.md is what the profiles and captures say, and says which profiles nothing proves."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.catalogue import CAPTURES, TARGET, catalogue, main, proof
from device_profiles.errors import ProfileError
from tests.shipped import LIBRARY


def test_the_committed_catalogue_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert TARGET.read_text(encoding="utf-8") == catalogue(LIBRARY, CAPTURES)
    assert main(["--check"]) == 0
    assert main(["--what"]) == 2


def test_every_profile_has_a_row_with_its_file() -> None:
    text = catalogue(LIBRARY, CAPTURES)
    for profile in LIBRARY.all():
        assert (
            text.count(f"| [{profile.name}](device_profiles/profiles/{profile.class_}/{profile.profile}.yaml) |") == 1
        )


def test_without_captures_everything_is_unproven(tmp_path: Path) -> None:
    text = catalogue(LIBRARY, tmp_path)
    assert "0 proven" in text
    assert text.count("| *unproven* |") == len(LIBRARY.files)


def test_the_best_evidence_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("profile: a\nframes:\n  - {origin: computed}\n  - {origin: documented}\n")
    (tmp_path / "b.yaml").write_text("profile: b\nframes:\n  - {what: x}\n")
    (tmp_path / "d.yaml").write_text("profile: d\nframes:\n  - {origin: computed}\n")
    assert proof(tmp_path, "a") == "documented"
    assert proof(tmp_path, "d") == "*unproven* (arithmetic)"
    assert proof(tmp_path, "c") == "*unproven*"
    with pytest.raises(ProfileError, match=r"b.yaml:2 frames: no frame says its origin"):
        proof(tmp_path, "b")
