"""A program of the uhppoted project's library: asks a board, opens a door, and prints what it heard as JSON lines.

`client.py HOST:PORT SERIAL LISTEN_HOST:PORT`
"""

from __future__ import annotations

import datetime
import json
import sys
from ipaddress import IPv4Address
from typing import Any

from uhppoted import uhppote


def said(what: str, answer: Any) -> None:
    print(json.dumps({"what": what, **{name: str(value) for name, value in vars(answer).items()}}), flush=True)


def main() -> None:
    board, serial, listen = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    host, _, port = board.partition(":")
    controller = (serial, f"{host}:{port}", "udp")
    client = uhppote.Uhppote("127.0.0.1", board, listen)
    for found in client.get_all_controllers():
        said("found", found)
    said("set_time", client.set_time(controller, datetime.datetime(2026, 11, 22, 8, 0, 0)))
    said("door", client.set_door_control(controller, 2, 3, 7))
    said("open", client.open_door(controller, 1))
    said("status", client.get_status(controller))
    for index in (0, 2, 0xFFFFFFFF):
        said("event", client.get_event(controller, index))
    said("mark", client.set_event_index(controller, 2))
    said("index", client.get_event_index(controller))
    said("set_listener", client.set_listener(controller, IPv4Address("127.0.0.1"), int(listen.partition(":")[2])))
    said("listener", client.get_listener(controller))


main()
