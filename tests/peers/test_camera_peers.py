"""Clients that nobody here wrote ask our simulators: npm onvif the camera, aiopjlink the projector."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.onvif import OnvifCamera
from firmware_sim.pjlink import PjlinkProjector

NODE = Path(__file__).parent / "node"
PJLINK = Path(__file__).parent / "pjlink"
PYTHON = PJLINK / ".venv" / "bin" / "python"

pytestmark = pytest.mark.real


async def _said(*command: str | Path) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules" / "onvif").is_dir(),
    reason="npm onvif is not installed (npm ci in tests/peers/node)",
)
async def test_the_onvif_client_of_npm_reads_our_camera_and_hears_it() -> None:
    async with OnvifCamera(password="s3cret") as camera:

        async def move() -> None:
            while not camera.subscriptions:
                await asyncio.sleep(0.005)
            camera.happen("motion", True)

        moving = asyncio.create_task(move(), name="moving")
        try:
            said = await _said("node", NODE / "onvif_client.js", "127.0.0.1", str(camera.port), "admin", "s3cret")
        finally:
            moving.cancel()
        assert (said["serial"], said["profiles"]) == ("SIMCAM0001", 2)
        assert said["snapshot"] == f"http://127.0.0.1:{camera.port}/snapshot"
        assert said["topic"] == "tns1:RuleEngine/CellMotionDetector/Motion"
        assert camera.refused_tokens == 0
        refused = await _said("node", NODE / "onvif_client.js", "127.0.0.1", str(camera.port), "admin", "another")
        assert "error" in refused
        assert camera.refused_tokens > 0


@pytest.mark.skipif(not PYTHON.exists(), reason="aiopjlink is not installed (bash tests/install_peers.sh)")
async def test_aiopjlink_reads_our_projector_and_switches_it() -> None:
    async with PjlinkProjector(password="s3cret") as projector:
        said = await _said(PYTHON, PJLINK / "client.py", "127.0.0.1", str(projector.port), "s3cret")
        assert (said["name"], said["maker"]) == ("Hall 2 front", "Plantroom")
        assert [hours for hours, _ in said["lamps"]] == [1234, 567]
        assert (projector.power, projector.input) == (1, "32")
