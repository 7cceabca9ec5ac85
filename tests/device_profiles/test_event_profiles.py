"""What shipped profiles say about events: an alarm that is raised has an end, or says that it has none."""

from __future__ import annotations

import pytest

from device_profiles.schema import Profile
from tests.shipped import LIBRARY

PROFILES = [profile for profile in LIBRARY.all() if profile.events]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.profile)
def test_an_alarm_has_an_end_or_is_of_a_moment(profile: Profile) -> None:
    """One without either would stay active for ever, and the next would be no event."""
    ends = {source.data.get("id") for source in profile.events if source.event == "alarm.cleared"}
    lasting = {
        source.data["id"]
        for source in profile.events
        if source.event == "alarm.raised" and not source.data.get("moment")
    }
    assert "*" in ends or lasting <= ends
    assert ends - {"*"} <= lasting
