"""The decoder of reads and notifications: against asyncua's encoder, mutations, captures, and every error of asyncua."""

from __future__ import annotations

import contextlib
import datetime
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from asyncua.ua.uaerrors import _auto, _base
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.errors import (
    DeviceError,
    DeviceMismatch,
    DeviceRefused,
    DeviceTimeout,
    LinkError,
    LinkLost,
    PlantroomError,
)
from device_profiles.reading import PointFault, Sample
from drivers.opcua import binary, nodes, status, units

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
CAPTURE = VECTORS / "pcap" / "icsnpp-opcua-binary-open62541_client-server_minimal.pcap"
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
TOLD = binary.window(int(NOW.timestamp() * 1000), 2000)

SCALARS: dict[str, Any] = {
    "Boolean": st.booleans(), "SByte": st.integers(-128, 127), "Byte": st.integers(0, 255),
    "Int16": st.integers(-(2**15), 2**15 - 1), "UInt16": st.integers(0, 2**16 - 1),
    "Int32": st.integers(-(2**31), 2**31 - 1), "UInt32": st.integers(0, 2**32 - 1),
    "Int64": st.integers(-(2**63), 2**63 - 1), "UInt64": st.integers(0, 2**64 - 1),
    "Double": st.floats(allow_nan=False), "String": st.text(max_size=40).filter(lambda text: "\x00" not in text),
}  # fmt: skip


@st.composite
def data_values(draw: Any) -> tuple[ua.DataValue, Any]:
    """A DataValue as asyncua encodes it, and what it is to us."""
    kind = draw(st.sampled_from(list(SCALARS)))
    value = draw(SCALARS[kind])
    code = draw(st.sampled_from([0, 0, 0, 0x40900000, 0x808C0000, 0x80340000, 0x00960000]))
    is_old = draw(st.booleans())
    stamp = NOW - datetime.timedelta(seconds=60) if is_old else NOW
    encoded = ua.DataValue(ua.Variant(value, ua.VariantType[kind]), ua.StatusCode(code), SourceTimestamp=stamp)
    if draw(st.booleans()):
        encoded.ServerTimestamp = NOW
    if code == 0x80340000:
        return encoded, PointFault("BadNodeIdUnknown", "said by the server")
    if code == 0x808C0000:
        return encoded, Sample(None, "BadSensorFailure")
    name = {0: "Good", 0x40900000: "UncertainLastUsableValue", 0x00960000: "GoodLocalOverride"}[code]
    time_ms = int(stamp.timestamp() * 1000) if is_old else None
    return encoded, value if name == "Good" and not is_old else Sample(value, name, time_ms)


def publish_response(items: list[ua.DataValue]) -> bytes:
    notification = ua.DataChangeNotification()
    notification.MonitoredItems = [ua.MonitoredItemNotification(7 + n, value) for n, value in enumerate(items)]
    response = ua.PublishResponse()
    response.Parameters.SubscriptionId = 5
    response.Parameters.AvailableSequenceNumbers = [3, 4]
    response.Parameters.MoreNotifications = False
    response.Parameters.NotificationMessage.SequenceNumber = 4
    response.Parameters.NotificationMessage.NotificationData = [notification]
    return bytes(struct_to_binary(response))


def read_response(items: list[ua.DataValue]) -> bytes:
    response = ua.ReadResponse()
    response.Results = items
    return bytes(struct_to_binary(response))


@given(st.lists(data_values(), max_size=12))
def test_what_asyncua_encodes_is_decoded_the_same_in_reads_and_notifications(items: list[Any]) -> None:
    encoded, meant = [one for one, _ in items], [one for _, one in items]
    body = read_response(encoded)
    head = binary.response(body)
    assert (head.kind, head.status) == (binary.READ_RESPONSE, 0)
    assert binary.read_results(body, head.at, len(items), TOLD) == meant
    body = publish_response(encoded)
    found = binary.published(body, binary.response(body).at, TOLD)
    assert (found.subscription, found.sequence, found.more, found.is_keep_alive) == (5, 4, False, False)
    heard = [pair for handles, values in found.items for pair in zip(handles, values, strict=True)]
    assert heard == [(7 + n, value) for n, value in enumerate(meant)]


@given(st.sampled_from(["Double", "Int16", "Boolean"]), st.integers(1, 30))
def test_equal_items_take_the_short_way_to_the_same_values(kind: str, count: int) -> None:
    values = [
        ua.DataValue(ua.Variant(n % 2 == 1 if kind == "Boolean" else n, ua.VariantType[kind])) for n in range(count)
    ]
    body = publish_response(values)
    [(handles, heard)] = binary.published(body, binary.response(body).at, TOLD).items
    assert isinstance(heard, tuple)
    assert list(handles) == [7 + n for n in range(count)]
    assert list(heard) == [value.Value.Value for value in values]


def test_a_float_leaves_with_its_seven_digits_and_what_is_no_scalar_is_a_fault() -> None:
    odd = [
        ua.Variant(21.3, ua.VariantType.Float), ua.Variant([1.5, 2.5], ua.VariantType.Double),
        ua.Variant(ua.LocalizedText("Kühlung"), ua.VariantType.LocalizedText), ua.Variant(None),
        ua.Variant(ua.NodeId(5), ua.VariantType.NodeId), ua.Variant(b"abc", ua.VariantType.ByteString),
        ua.Variant(["a", "b"], ua.VariantType.String),
        ua.Variant(ua.Argument(Name="x"), ua.VariantType.ExtensionObject), ua.Variant(9.5, ua.VariantType.Double),
    ]  # fmt: skip
    body = read_response([ua.DataValue(one) for one in odd])
    heard = binary.read_results(body, binary.response(body).at, len(odd), TOLD)
    assert (heard[0], heard[2], heard[8]) == (21.3, "Kühlung", 9.5)
    faults = [heard[at] for at in (1, 3, 4, 5, 6, 7)]
    assert all(isinstance(fault, PointFault) for fault in faults)
    assert faults[0] == PointFault("BadTypeMismatch", "an array of 2 Double is no value of a point")


def test_an_overflow_of_a_queue_is_counted() -> None:
    body = publish_response([ua.DataValue(ua.Variant(1.0), ua.StatusCode(0x480)), ua.DataValue(ua.Variant(2.0))])
    found = binary.published(body, binary.response(body).at, TOLD)
    assert found.overflows == 1
    assert [list(values) for _, values in found.items] == [[1.0, 2.0]]


def test_a_thousand_nested_variants_are_refused() -> None:
    nested = b"\x18" * 1000 + b"\x01\x01"
    body = read_response([])[:-8] + struct.pack("<i", 1) + b"\x01" + nested + struct.pack("<i", 0)
    with pytest.raises(DeviceMismatch, match="nested"):
        binary.read_results(body, binary.response(body).at, 1, TOLD)


WHOLE = publish_response([ua.DataValue(ua.Variant(float(n)), SourceTimestamp=NOW) for n in range(3)] + [
    ua.DataValue(ua.Variant("text")), ua.DataValue(ua.Variant([1, 2], ua.VariantType.Int32)),
    ua.DataValue(ua.Variant(ua.Argument(Name="x"), ua.VariantType.ExtensionObject)),
])  # fmt: skip


@settings(max_examples=400)
@given(st.data())
def test_no_mutation_brings_anything_but_our_own_error(data: Any) -> None:
    body = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0xD6, 25]))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    for decode in (binary.published, lambda body, at, told: binary.read_results(body, at, 3, told)):
        with contextlib.suppress(DeviceMismatch):
            decode(cut, binary.response(cut).at, TOLD)


def subclasses(of: type[BaseException]) -> list[type[BaseException]]:
    return [one for child in of.__subclasses__() for one in (child, *subclasses(child))]


def test_every_error_of_asyncua_becomes_one_of_ours() -> None:
    assert _auto is not None
    kinds = {kind for kind in (ua.UaError, *subclasses(_base.UaError)) if kind.__module__.startswith("asyncua")}
    assert len(kinds) > 200
    for kind in kinds:
        error = _made(kind)
        assert isinstance(error, status.LIBRARY_ERRORS)
        ours = status.translated(error, "plant", "reading")
        assert isinstance(ours, DeviceError | LinkError), kind
        assert ours.next_step
        refused = status.refusal(error, "plant", "connect", "own.der")
        assert isinstance(refused, LinkError), kind
        assert refused.next_step
    for other in (ConnectionResetError(), TimeoutError(), struct.error(), KeyError(1), RecursionError()):
        assert isinstance(status.translated(other, "plant", "reading"), PlantroomError)
    assert isinstance(status.translated(_made(ua.uaerrors.BadSessionIdInvalid), "plant", "x"), LinkLost)


def test_a_bad_result_of_one_write_never_means_the_link() -> None:
    codes = ua.status_codes.code_to_name_doc
    bad = {code for code in codes if code >> 30 >= 2}
    assert len(bad) > 150
    for code in bad:
        assert isinstance(status.not_done(code, "plant", "writing"), DeviceRefused | DeviceTimeout)
    away = status.not_done(ua.StatusCodes.BadCommunicationError, "plant", "writing")
    assert isinstance(away, DeviceTimeout)
    assert "not known" in away.what
    assert isinstance(status.failure(ua.StatusCodes.BadCommunicationError, "plant"), LinkLost)
    assert isinstance(status.not_done(ua.StatusCodes.BadOutOfRange, "plant", "writing"), DeviceRefused)


def _made(kind: type[Any]) -> BaseException:
    if kind is ua.UaStatusCodeError:
        return kind(0x80010000)
    try:
        error: BaseException = kind()
    except TypeError:
        error = kind(0x80010000)
    return error


@pytest.mark.parametrize(
    "text", ["i=85", "ns=2;s=a;b=c", "nsu=urn:x%3By;s=Plant 1", "ns=3;g=09087e75-8e5e-499b-954f-f2a9603db28a"]
)
def test_a_node_id_survives_its_way_through_a_layout(text: str) -> None:
    spaces = ["http://opcfoundation.org/UA/", "urn:server", "urn:x;y", "urn:z"]
    node = nodes.node_id(text, spaces)
    assert nodes.node_id(nodes.text_of(node, spaces), spaces) == node
    moved = [spaces[0], spaces[3], spaces[1], spaces[2]]
    there = nodes.node_id(nodes.text_of(node, spaces), moved)
    assert there.Identifier == node.Identifier
    assert moved[there.NamespaceIndex] == spaces[node.NamespaceIndex]


def test_paths_say_their_namespaces_and_hold_slashes() -> None:
    assert nodes.elements("/Plant/2:Chiller 1/a&/b") == [(None, "Plant"), (2, "Chiller 1"), (None, "a/b")]


@pytest.mark.parametrize(
    ("code", "number", "ucum"), [("CEL", 4408652, "Cel"), ("KWH", 4937544, "kW.h"), ("KWT", 4937556, "kW"), ("P1", 20529, "%"),
     ("PAL", 5259596, "Pa"), ("59", 13625, "[ppm]"), ("MQH", 5067080, "m3/h"), ("C62", 4404786, "1"), ("LUX", 5002584, "lx")]
)  # fmt: skip
def test_units_as_the_contract_has_them(code: str, number: int, ucum: str) -> None:
    assert units.unece_id(code) == number
    assert units.ucum(number, "") == ucum


def test_every_unit_is_one_of_the_house() -> None:
    from device_profiles.units import UNITS

    assert {unit for unit in units.UNITS.values() if unit not in UNITS} == set()


@pytest.mark.skipif(not CAPTURE.exists(), reason="../shared/vectors/pcap is absent")
def test_the_read_responses_of_a_capture_decode_to_what_tshark_says() -> None:
    fields = ["tcp.payload", "opcua.servicenodeid.numeric", "opcua.transport.type"]
    arguments = [part for name in fields for part in ("-e", name)]
    try:
        run = subprocess.run(
            ["tshark", "-r", str(CAPTURE), "-Y", "opcua", "-T", "fields", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("tshark is not installed (apt-get install tshark)")
    seen = 0
    for line in run.stdout.splitlines():
        payload, service, kind = line.split("\t")
        if kind != "MSG" or "," in service:
            continue
        body = bytes.fromhex(payload)[24:]
        if int.from_bytes(body[2:4], "little") % 3 == 1 and int(service) in (631, 826):
            continue  # a request
        head_kind = int.from_bytes(body[2:4], "little")
        assert head_kind == int(service)
        if head_kind in (binary.READ_RESPONSE, binary.PUBLISH_RESPONSE, binary.SERVICE_FAULT):
            head = binary.response(body)
            assert head.kind == head_kind
            if head_kind == binary.READ_RESPONSE and head.status == 0:
                count = int.from_bytes(body[head.at : head.at + 4], "little")
                assert len(binary.read_results(body, head.at, count, TOLD)) == count
                seen += 1
    assert seen > 0
