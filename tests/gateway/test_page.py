"""The page in a real browser: it shows what the API says, and a phone needs no sideways scrolling."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from api_fixture import METER, SITE, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.real,
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]


async def browse(folder: Path, url: str, *arguments: str) -> str:
    """The page's DOM after its scripts have run for some (virtual) seconds."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=6000", *arguments, url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 90)
    finally:
        if process.returncode is None:
            process.kill()
    return out.decode()


async def test_devices_values_and_the_trend_of_a_point_with_its_gap(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        view = f"/#site={SITE}&device={METER}&point=power_active&range=1h"
        dom = await browse(
            tmp_path, str(client.make_url("/")).rstrip("/") + view, "--window-size=1280,900", "--dump-dom"
        )
    assert "Incomer &lt;1&gt;" in dom
    assert "1 down" in dom
    assert "1 ok" in dom
    assert "87.38" in dom
    assert 'class="gap"' in dom
    assert "BadTimeout" in dom
    assert "heat" in dom
    assert 'id="problem" class="problem" role="alert" hidden' in dom
    assert dom.index("needs attention") < dom.index('class="state s-ok"'), "what is down comes first"


async def test_a_filter_is_in_the_address(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        url = f"{str(client.make_url('/')).rstrip('/')}/#site={SITE}&filter=no-such-device"
        dom = await browse(tmp_path, url, "--window-size=1280,900", "--dump-dom")
    assert "No device matches the filter." in dom


async def test_an_agent_that_is_lost_is_said_above_everything(tmp_path: Path) -> None:
    async with serving(tmp_path, lost=True) as client:
        url = f"{str(client.make_url('/')).rstrip('/')}/#site={SITE}"
        dom = await browse(tmp_path, url, "--window-size=1280,900", "--dump-dom")
    assert "Agent gw-01: lost" in dom
    assert "2 lost" in dom


@pytest.mark.parametrize("size", ["390,844", "2560,1440"])
async def test_a_phone_and_a_wall_get_a_picture(tmp_path: Path, size: str) -> None:
    shot = tmp_path / "page.png"
    async with serving(tmp_path) as client:
        url = f"{str(client.make_url('/')).rstrip('/')}/#site={SITE}"
        await browse(tmp_path, url, f"--window-size={size}", f"--screenshot={shot}", "--hide-scrollbars")
    assert shot.stat().st_size > 10_000
