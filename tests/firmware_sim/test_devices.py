"""Each make of device answers as its datasheet says: bytes at documented addresses, decoded here by hand with struct."""

from __future__ import annotations

import struct

import pytest

from firmware_sim.curves import DAY_S, EPOCH_S
from firmware_sim.device import Device
from firmware_sim.devices import MODELS, build, load_model

NOON_S = EPOCH_S + 893 * DAY_S + 12 * 3600
"""A Friday in June, local noon."""


class Hand:
    """A clock that stands where it is put."""

    def __init__(self, now: float = NOON_S) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def _device(slug: str, clock: Hand | None = None) -> Device:
    return build(slug, id="d", unit=1, seed=11, now=clock or Hand())


def _read(device: Device, function: int, address: int, count: int) -> bytes:
    reply = device.answer(struct.pack(">BHH", function, address, count))
    assert reply[0] == function, reply.hex()
    assert reply[1] == len(reply) - 2
    return reply[2:]


def _refusal(device: Device, function: int, address: int, count: int) -> int:
    reply = device.answer(struct.pack(">BHH", function, address, count))
    assert reply[0] == function | 0x80
    return reply[1]


def _number(device: Device, quantity: str) -> float:
    value = device.snapshot[quantity]
    assert isinstance(value, int | float)
    return value


@pytest.mark.parametrize("slug", [slug for slug in MODELS if slug != "address"])
def test_every_model_answers_every_cell_it_has(slug: str):
    device = _device(slug)
    model = load_model(slug)
    assert model.slug == slug
    assert model.source
    for table, cells in model.tables.items():
        function = 3 if table == "holding" else 4
        assert function in device.functions
        for cell in cells:
            if cell.kind.words <= device.max_registers:
                assert len(_read(device, function, cell.address, cell.kind.words)) == 2 * cell.kind.words
    for table, known in model.bits.items():
        for address in known:
            reply = device.answer(struct.pack(">BHH", 1 if table == "coil" else 2, address, 1))
            assert reply[1] == 1


@pytest.mark.parametrize("slug", [slug for slug in MODELS if slug != "address"])
def test_no_two_cells_of_a_table_overlap(slug: str):
    for cells in load_model(slug).tables.values():
        end = -1
        for cell in sorted(cells, key=lambda cell: cell.address):
            assert cell.address >= end, cell
            end = cell.address + cell.kind.words


def test_sdm630_is_floats_by_function_4_forty_at_a_time():
    device = _device("eastron-sdm630")
    assert struct.unpack(">f", _read(device, 4, 0x0034, 2))[0] == pytest.approx(_number(device, "kw") * 1000, rel=1e-6)
    assert len(_read(device, 4, 0, 80)) == 160
    assert _refusal(device, 4, 0, 82) == 3
    assert _refusal(device, 4, 0, 1) == 2  # half a float
    assert _refusal(device, 3, 0x0034, 2) == 2  # the measurements are input registers


def test_dtsu666_scales_its_floats():
    device = _device("chint-dtsu666")
    assert struct.unpack(">f", _read(device, 3, 0x2006, 2))[0] == pytest.approx(_number(device, "u1") * 10, rel=1e-6)
    assert struct.unpack(">f", _read(device, 3, 0x2044, 2))[0] == pytest.approx(
        _number(device, "frequency") * 100, rel=1e-6
    )
    assert struct.unpack(">f", _read(device, 3, 0x2012, 2))[0] == pytest.approx(
        _number(device, "kw") * 10_000, rel=1e-6
    )
    assert struct.unpack(">f", _read(device, 3, 0x101E, 2))[0] == pytest.approx(_number(device, "kwh_import"), rel=1e-6)


@pytest.mark.parametrize("slug", ["schneider-iem3000", "schneider-pm5000"])
def test_schneider_energy_is_int64_wh_at_register_3204(slug: str):
    device = _device(slug)
    assert struct.unpack(">q", _read(device, 3, 3203, 4))[0] == round(_number(device, "kwh_import") * 1000)
    assert struct.unpack(">f", _read(device, 3, 3059, 2))[0] == pytest.approx(_number(device, "kw"), rel=1e-6)


def test_pac3200_energy_is_a_double_of_wh():
    device = _device("siemens-pac3200")
    for function in (3, 4):
        assert struct.unpack(">d", _read(device, function, 801, 4))[0] == _number(device, "kwh_import") / 0.001
    assert _refusal(device, 3, 0, 2) == 2
    assert _refusal(device, 3, 801, 3) == 2


def test_b23_is_all_ones_where_there_is_nothing():
    device = _device("abb-b23")
    assert struct.unpack(">Q", _read(device, 3, 0x5000, 4))[0] == round(_number(device, "kwh_import") * 100)
    assert struct.unpack(">i", _read(device, 3, 0x5B14, 2))[0] == round(_number(device, "kw") * 100_000)
    assert _read(device, 3, 0x501C, 4) == b"\xff" * 8
    assert _read(device, 3, 0x6000, 2) == b"\xff" * 4
    device.faults.tampering.apply("absent", "kw", NOON_S)
    assert _read(device, 3, 0x5B14, 2) == b"\x7f\xff\xff\xff"


def test_em24_sends_the_low_word_first_and_eleven_words_at_most():
    device = _device("carlo-gavazzi-em24")
    low, high = struct.unpack(">HH", _read(device, 4, 0x0028, 2))
    assert high << 16 | low == round(_number(device, "kw") * 10_000)
    assert struct.unpack(">H", _read(device, 4, 0x0037, 1))[0] == round(_number(device, "frequency") * 10)
    assert _refusal(device, 4, 0, 12) == 3


def test_diris_counts_power_in_tens_of_watts():
    device = _device("socomec-diris")
    assert struct.unpack(">i", _read(device, 3, 0xC568, 2))[0] == round(_number(device, "kw") * 100)
    assert struct.unpack(">I", _read(device, 3, 0xC702, 2))[0] == round(_number(device, "kwh_import"))


def test_dtsd1352_is_secondary_and_tells_its_ratios():
    device = _device("acrel-dtsd1352")
    pt, ct = struct.unpack(">HH", _read(device, 3, 0x008D, 2))
    assert (pt, ct) == (1, 40)
    assert struct.unpack(">i", _read(device, 3, 0x016A, 2))[0] == round(_number(device, "kw") * 1000 / 40)
    assert struct.unpack(">I", _read(device, 3, 0x000A, 2))[0] == round(_number(device, "kwh_import") * 100 / 40)


def test_adw300_and_umg96_keep_primary_values():
    adw, umg = _device("acrel-adw300"), _device("janitza-umg96rm-e")
    assert struct.unpack(">i", _read(adw, 3, 36, 2))[0] == round(_number(adw, "kw") * 1000)
    assert struct.unpack(">f", _read(umg, 3, 19068, 2))[0] == pytest.approx(_number(umg, "kwh_import") * 1000, rel=1e-6)


def test_dtsd422_is_sign_and_magnitude_low_word_first():
    device = _device("deye-dtsd422")
    low, high = struct.unpack(">HH", _read(device, 3, 0x0D, 2))
    assert high & 0x8000  # it generates at noon
    assert -((high & 0x7FFF) << 16 | low) == round(_number(device, "kw") * 1000)
    assert struct.unpack(">I", _read(device, 3, 0x34, 2))[0] == round(_number(device, "kwh_export") * 100)


def test_sunspec_chain_can_be_walked_to_its_end():
    device = _device("sunspec-inverter-three-phase")
    assert _read(device, 3, 40000, 2) == b"SunS"
    place, found = 40002, {}
    while (model := struct.unpack(">H", _read(device, 3, place, 1))[0]) != 0xFFFF:
        found[model] = place
        place += 2 + struct.unpack(">H", _read(device, 3, place + 1, 1))[0]
    assert list(found) == [1, 103, 120]
    watts, factor = struct.unpack(">hh", _read(device, 3, found[103] + 14, 2))
    assert watts * 10**factor == pytest.approx(_number(device, "w"), abs=5)
    assert _read(device, 3, found[103] + 34, 1) == b"\x80\x00"  # no heat sink sensor
    assert _refusal(device, 3, place + 2, 1) == 2
    assert _refusal(device, 3, 39999, 2) == 2


def test_branch_meter_has_24_equal_blocks():
    device = _device("generic-branch-meter-24")
    for number in (1, 2, 24):
        block = _read(device, 3, 100 + 8 * (number - 1), 8)
        current, watts, pf, energy, closed = struct.unpack(">HiHIH", block[:14])
        assert current == round(_number(device, f"c{number}_i") * 100)
        assert watts == round(_number(device, f"c{number}_kw") * 1000)
        assert 860 <= pf <= 990
        assert energy == round(_number(device, f"c{number}_kwh") * 100)
        assert closed == 1
    assert _refusal(device, 3, 100 + 8 * 24, 1) == 2


def test_a_reference_alone_does_not_stop_a_drive_that_runs():
    clock = Hand()
    for slug, write in (("abb-acs580", "0600011388"), ("danfoss-vlt-fc102", "06C3591000")):
        device = _device(slug, clock)
        assert device.answer(bytes.fromhex(write)) == bytes.fromhex(write)
        clock.now += 60
        assert _number(device, "hz") == pytest.approx(12.5)
        assert device.writes == 1


def test_acs580_obeys_a_written_reference_along_its_ramp():
    clock = Hand()
    device = _device("abb-acs580", clock)
    assert struct.unpack(">H", _read(device, 3, 3, 1))[0] & 0x0004  # operating
    before = struct.unpack(">h", _read(device, 3, 4, 1))[0]
    write = bytes.fromhex("10 0000 0002 04 047F 1388".replace(" ", ""))  # run at 5000 = 25 %
    assert device.answer(write) == write[:5]
    clock.now += 1
    ramping = struct.unpack(">h", _read(device, 3, 4, 1))[0]
    clock.now += 60
    assert struct.unpack(">h", _read(device, 3, 4, 1))[0] == 5000
    assert 5000 < ramping < before
    low, high = struct.unpack(">HH", _read(device, 3, 20211, 2))  # 01.06, LO-HI as delivered
    assert (high << 16 | low) == 1250
    assert device.answer(bytes.fromhex("0600030000")) == bytes.fromhex("8602")  # the status word is not written
    stop = bytes.fromhex("060000047E")
    assert device.answer(stop) == stop
    clock.now += 60
    assert not struct.unpack(">H", _read(device, 3, 3, 1))[0] & 0x0004


def test_fc102_keeps_a_parameter_at_ten_times_its_number_less_one():
    device = _device("danfoss-vlt-fc102")
    assert struct.unpack(">H", _read(device, 3, 16119, 1))[0] == round(_number(device, "volts") * 10)
    assert struct.unpack(">i", _read(device, 3, 16139, 2))[0] == round(_number(device, "amps") * 100)
    assert _read(device, 3, 2909, 2) == _read(device, 3, 50199, 1) + _read(device, 3, 50209, 1)
    status = struct.unpack(">H", _read(device, 3, 50199, 1))[0]
    coils = device.answer(bytes.fromhex("0100200010"))
    assert struct.unpack("<H", coils[2:])[0] == status
    assert _refusal(device, 3, 16120, 1) == 2


def test_relays_stay_where_they_are_put_and_their_contacts_follow():
    device = _device("waveshare-relay-8ch-d")
    assert device.answer(bytes.fromhex("0100000008")) == bytes.fromhex("010100")
    assert device.answer(bytes.fromhex("050002FF00")) == bytes.fromhex("050002FF00")
    assert device.answer(bytes.fromhex("0F0006000201 03".replace(" ", ""))) == bytes.fromhex("0F00060002")
    assert device.answer(bytes.fromhex("0100000008")) == bytes.fromhex("0101C4")
    inputs = device.answer(bytes.fromhex("0200000008"))
    assert inputs[2] & 0x0F == 0x04
    assert device.answer(bytes.fromhex("050008FF00")) == bytes.fromhex("8502")
    assert device.answer(bytes.fromhex("0200070002")) == bytes.fromhex("8202")


def test_air_quality_is_plausible():
    co2, pm25, pm10, celsius, humidity, _ = struct.unpack(">HHHhHH", _read(_device("generic-air-quality"), 4, 0, 6))
    assert 400 < co2 < 1200
    assert 0 < pm25 < pm10 < 100
    assert 180 < celsius < 290
    assert 250 < humidity < 700


def test_the_address_device_holds_addresses():
    device = _device("address")
    assert struct.unpack(">3H", _read(device, 3, 65533, 3)) == (65533, 65534, 65535)
    assert device.answer(bytes.fromhex("0100010004")) == bytes.fromhex("010105")
    assert device.answer(bytes.fromhex("0600010003")) == bytes.fromhex("8601")


def test_counters_follow_the_clock_and_values_refresh_as_the_device_measures():
    clock = Hand()
    device = _device("eastron-sdm630", clock)
    first = _number(device, "kwh_import")
    clock.now += 0.2
    assert _number(device, "kwh_import") == first  # it measures every half second
    clock.now += 3600
    assert _number(device, "kwh_import") == pytest.approx(first + _number(device, "kw"), rel=0.05)


def test_identification_is_answered_by_those_who_have_one():
    pac = _device("siemens-pac3200").answer(bytes.fromhex("2B0E0100"))
    assert pac[:7] == bytes.fromhex("2B0E0181000003")
    assert b"SIEMENS" in pac
    assert _device("eastron-sdm630").answer(bytes.fromhex("2B0E0100")) == bytes.fromhex("AB01")
