"""aiopjlink asks a projector and switches it: host, port, password; one JSON line."""

import asyncio
import json
import sys

from aiopjlink import PJLink, Sources


async def main() -> None:
    """Everything it can read, then power on and another input."""
    host, port, password = sys.argv[1:]
    async with PJLink(address=host, port=int(port), password=password or None) as link:
        said = {
            "class": str(await link.info.pjlink_class()),
            "name": await link.info.projector_name(),
            "maker": await link.info.manufacturer_name(),
            "power_before": str(await link.power.get()),
            "lamps": [[int(hours), str(state)] for hours, state in await link.lamps.status()],
            "errors": {str(part): str(level) for part, level in (await link.errors.query()).items()},
        }
        await link.power.turn_on()
        said["power_after"] = str(await link.power.get())
        await link.sources.set(Sources.Mode("3"), 2)
        said["source"] = str(await link.sources.get())
        print(json.dumps(said), flush=True)


asyncio.run(main())
