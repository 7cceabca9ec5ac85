"""From a point's raw value to a value in the vocabulary's unit, exactly: one `Converter` a point. Pure.

    value = (raw * scale * scale_from * ratios + offset), then from the profile's unit to the vocabulary's

All of it is one rational slope and intercept, so nothing is rounded twice: a number is the float nearest to the exact decimal
(81231.50 is not 81231.4999), and a float32 has its 7 significant digits. `min` and `max` of a point are in the vocabulary's unit.
`Converter.value` says this slowly and for every kind of raw; `Converter.lane` gives the same in three multiplications for as long
as the raw value stays in an interval, which is what blocks of numbers use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from device_profiles.logs import printable
from device_profiles.reading import Raw, Value
from device_profiles.schema import Invalid, Point
from device_profiles.units import conversion
from device_profiles.vocabulary import vocabulary
from drivers.base import Layout
from edge_agent.polling.learned import learned_point
from edge_agent.polling.learned import published_unit as published_unit

NO_VALUE = "BadSensorFailure"
OUTSIDE = "UncertainEngineeringUnitsExceeded"
UNKNOWN_SCALE = "BadWaitingForInitialData"
MISFIT = "BadConfigurationError"
ROUND = 6755399441055744.0
"""1.5 * 2**52: adding and taking it away rounds a float below 2**51 to a whole number, half to even."""
_EXACT = 2.0**51
_SUNSSF_LIMIT = 10
_TEXT_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Lane:
    """For low <= raw <= high the value is `(raw * mul + ROUND - ROUND) / div`, good, and the same as `Converter.value`."""

    low: float
    high: float
    mul: float
    div: float


CLOSED = Lane(math.inf, -math.inf, 1.0, 1.0)
"""No raw value passes."""


class Converter:
    """One point's meaning. `params` are the ratios known so far; `rescale` takes up a changed one.

    `layout` is what was learned of the device: its units and labels. `misfit` says why its unit cannot be the point's.
    """

    __slots__ = (
        "_intercept", "_invalid", "_is_f32", "_is_plain", "_labels", "_max", "_min", "_offset", "_shape", "_slope", "_unscaled",
        "misfit", "point", "problem",
    )  # fmt: skip

    def __init__(self, point: Point, params: Mapping[str, Decimal], layout: Layout | None = None) -> None:
        learned = learned_point(point, layout)
        self.misfit = learned.misfit
        self.point = point = learned.point
        self.problem: str | None = None
        """The status of every value while scale or ratio are not known."""
        self._shape = _shape(point)
        self._is_f32 = point.type == "f32"
        self._labels = point.labels
        self._min = -math.inf if point.min is None else point.min
        self._max = math.inf if point.max is None else point.max
        self._invalid = [_span(invalid) for invalid in point.invalid]
        mul, pre = Fraction(1), Fraction(0)
        target = published_unit(point)
        unit = learned.unit
        if self._shape == "number" and unit and target and unit != target:
            exact = conversion(unit, target)
            mul, pre = Fraction(exact.mul, exact.div), Fraction(exact.pre)
        scale = Fraction(1) if point.scale is None else Fraction(point.scale)
        self._unscaled = scale * mul
        self._offset = (Fraction(point.offset or 0) + pre) * mul
        self.rescale(params, None if point.scale_from else Fraction(1))

    def rescale(self, params: Mapping[str, Decimal], factor: Fraction | None, problem: str = UNKNOWN_SCALE) -> None:
        """Takes up ratios and the factor of `scale_from`; with None, or a ratio missing, values are `problem`."""
        self.problem = None
        slope = self._unscaled
        for name in self.point.ratio:
            if name not in params:
                factor, problem = None, UNKNOWN_SCALE
                break
            slope *= Fraction(params[name])
        if factor is None:
            self.problem = problem
            factor = Fraction(1)
        if self.misfit is not None and self._shape == "number":
            self.problem = MISFIT
        self._slope = slope * factor
        self._intercept = self._offset
        self._is_plain = self._slope == 1 and self._intercept == 0

    @property
    def slope(self) -> Fraction:
        """Published units per raw unit, as far as the scale is known."""
        return self._slope

    @property
    def intercept(self) -> Fraction:
        """The published value of the raw value 0."""
        return self._intercept

    @property
    def shape(self) -> str:
        """What the value is: `number`, `bool`, `enum` or `text`."""
        return self._shape

    @property
    def is_number(self) -> bool:
        """True for what has a deadband and a lane; False for text, booleans and enums."""
        return self._shape == "number"

    def value(self, raw: Raw) -> tuple[Value | None, str]:
        """(value, status) of one raw value; status "" is good, a bad one comes without a value."""
        if self._shape == "text":
            text = printable(str(raw))[:_TEXT_LIMIT]
            return (None, NO_VALUE) if any(low == raw for low, _ in self._invalid) else (text, "")
        if isinstance(raw, str):
            return None, "BadDecodingError"
        if not math.isfinite(raw) or any(low <= raw <= high for low, high in self._invalid):  # type: ignore[operator]
            return None, NO_VALUE
        if self._shape == "bool":
            return bool(raw), ""
        if self._shape == "enum":
            ordinal = int(raw)
            return ordinal, "" if self._labels is None or ordinal in self._labels else OUTSIDE
        if self.problem is not None:
            return None, self.problem
        number = self._number(raw)
        if not math.isfinite(number):
            return None, "BadOutOfRange"
        return number, "" if self._min <= number <= self._max else OUTSIDE

    def _number(self, raw: float) -> float:
        if self._is_f32:
            digits = f"{raw:.7g}"
            if self._is_plain:
                return float(digits)
            exact = Fraction(digits) * self._slope + self._intercept
            number = _nearest(exact)
            return number if _is_power_of_ten(self._slope) and not self._intercept else float(f"{number:.7g}")
        if self._is_plain:
            return float(raw)
        exact = Fraction(raw) if isinstance(raw, int) else Fraction(repr(raw))
        return _nearest(exact * self._slope + self._intercept)

    def lane(self, raw: float) -> Lane:
        """The widest interval around a raw value whose value was good, in which the short formula is exact; or CLOSED."""
        is_exact = self.point.type != "f64" and not self.point.parts and not self._intercept and self._slope != 0
        if self.problem is not None or not self.is_number or not is_exact:
            return CLOSED
        lane = self._f32_lane(raw) if self._is_f32 else self._integer_lane()
        if lane is CLOSED:
            return CLOSED
        low, high = lane.low, lane.high
        if self._min > -math.inf:
            low, high = self._within(low, high, self._min, 1)
        if self._max < math.inf:
            low, high = self._within(low, high, self._max, -1)
        for first, last in self._invalid:
            if isinstance(first, str) or isinstance(last, str):
                continue
            if last < raw:
                low = max(low, math.nextafter(last, math.inf))
            elif first > raw:
                high = min(high, math.nextafter(first, -math.inf))
        return Lane(low, high, lane.mul, lane.div) if low <= raw <= high else CLOSED

    def _within(self, low: float, high: float, limit: float, side: int) -> tuple[float, float]:
        """Narrows [low, high] to raw values whose value is on the good side (+1 above, -1 below) of a limit."""
        exact = Fraction(limit)
        if self._is_f32 and float(f"{limit:.7g}") != limit:
            # Rounding to 7 digits could cross a limit that has more of them: values near it take the long way.
            exact += side * abs(exact) / 10**6
        edge = exact / self._slope
        if (self._slope > 0) == (side > 0):
            return max(low, float(edge)), high
        return low, min(high, float(edge))

    def _integer_lane(self) -> Lane:
        num, den = self._slope.numerator, self._slope.denominator
        if abs(num) >= _EXACT or den >= 2**53:
            return CLOSED
        reach = math.floor(_EXACT / max(1, abs(num)))
        return Lane(-reach, reach, float(num), float(den))

    def _f32_lane(self, raw: float) -> Lane:
        """7 digits of a float32 in the decade of `raw`: raw * 10**places is exact (24 bits times 5**12), so is its rounding."""
        power = _exponent_of_ten(self._slope)
        if power is None:
            return CLOSED
        if raw == 0:
            return Lane(0.0, 0.0, 1.0, 1.0)
        exponent = math.floor(math.log10(abs(raw)))
        places = 6 - exponent
        if not (0 <= places <= 12 and 0 <= places - power <= 22):
            return CLOSED
        first, last = 10.0**exponent, math.nextafter(10.0 ** (exponent + 1), 0.0)
        low, high = (first, last) if raw > 0 else (-last, -first)
        return Lane(low, high, 10.0**places, 10.0 ** (places - power))


def scale_factor(point: Point, raw: object) -> Fraction | None:
    """The factor that a `scale_from` register says (SunSpec `sunssf`: 10**raw, 0x8000 is "not implemented"); None if unusable."""
    if point.scale_from is None or isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        return None
    if not point.scale_from.exp10:
        return Fraction(repr(raw))
    exponent = int(raw) - 0x10000 if raw >= 0x8000 else int(raw)
    return Fraction(10) ** exponent if abs(exponent) <= _SUNSSF_LIMIT else None


def _shape(point: Point) -> str:
    """What the value is. A bit of a register is `u16` for the driver and a boolean for the vocabulary."""
    if point.type == "str":
        return "text"
    defined = vocabulary().point(point.id)
    kind = defined.type if defined is not None else "num"
    if point.type == "bool" or kind == "bool":
        return "bool"
    return "enum" if point.labels or kind == "enum" else "number"


def _span(invalid: Invalid | float | str) -> tuple[float | str, float | str]:
    """(first, last) of an invalid value or range."""
    if not isinstance(invalid, Invalid):
        return invalid, invalid
    if invalid.value is not None:
        return invalid.value, invalid.value
    return -math.inf if invalid.low is None else invalid.low, math.inf if invalid.high is None else invalid.high


def _nearest(exact: Fraction) -> float:
    """The float nearest to a rational number; infinite where no float is."""
    try:
        return exact.numerator / exact.denominator
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _exponent_of_ten(slope: Fraction) -> int | None:
    """k where slope = 10**k, else None."""
    for number, sign in ((slope.numerator, 1), (slope.denominator, -1)):
        digits = str(number)
        if digits.strip("0") == "1" and (slope.denominator if sign > 0 else slope.numerator) == 1:
            return sign * (len(digits) - 1)
    return None


def _is_power_of_ten(slope: Fraction) -> bool:
    return _exponent_of_ten(slope) is not None
