"""What holds for every test: no example of a property test fails because the machine was busy."""

import gc
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("plantroom", deadline=None)
settings.load_profile("plantroom")

SLOW = frozenset(
    {
        "test_api_document.py",
        "test_backlog.py",
        "test_bacnet_driver_peers.py",
        "test_bacnet_worlds.py",
        "test_bad_input.py",
        "test_camera_peers.py",
        "test_campus.py",
        "test_commands_e2e.py",
        "test_config_any_input.py",
        "test_demo.py",
        "test_deploy_examples.py",
        "test_deployed_broker.py",
        "test_dlt645_polled.py",
        "test_event_storm.py",
        "test_events_recalled.py",
        "test_f03_kill_anywhere.py",
        "test_f04_power_cut.py",
        "test_f05_damaged_spool.py",
        "test_f07_full_disk.py",
        "test_f07_full_site.py",
        "test_f08_failed_sync.py",
        "test_f10_duplicates_mqtt.py",
        "test_f12_influx_answers.py",
        "test_f15_to_f17_networks.py",
        "test_f21_duplicate_identity.py",
        "test_f22_to_f26_cjt188.py",
        "test_f22_to_f26_dlt645.py",
        "test_f22_to_f26_mbus.py",
        "test_f25_dead_device.py",
        "test_f27_bacnet.py",
        "test_f28_agent.py",
        "test_f28_opcua.py",
        "test_f34_killed_while_writing.py",
        "test_f35_bacnet_kill.py",
        "test_kill_in_any_order.py",
        "test_mbus_peers.py",
        "test_morning.py",
        "test_opcua_peers.py",
        "test_opcua_security.py",
        "test_operations_e2e.py",
        "test_osdp_peers.py",
        "test_page.py",
        "test_plant_room.py",
        "test_propose_buildings.py",
        "test_real_parts.py",
        "test_reload.py",
        "test_service.py",
        "test_spool_model.py",
        "test_strings_codec.py",
        "test_uhppoted_peers.py",
    }
)
"""Files of many processes, kills or seconds. `make test` leaves them to `make slow`; CI runs both."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run without the slow ones does not import them."""
    return True if collection_path.name in SLOW and config.option.markexpr == "not slow" else None


def pytest_configure() -> None:
    """What a shell without job control starts in the background ignores Ctrl-C, and so does all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Modules and items live to the end: the collector need not walk over them again and again."""
    gc.collect()
    gc.freeze()
