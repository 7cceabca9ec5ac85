"""By what right a meter is written to: password class, password and operator code, from the device's secret. Kept nowhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from device_profiles.errors import ConfigError
from device_profiles.secrets import Secret, secret_text
from drivers import bcd

_FORM = re.compile(r"(?P<level>[0-9]{2}):(?P<password>[0-9]{6})(?::(?P<operator>[0-9]{8}))?")
_STEP = "write one line CLASS:PASSWORD[:OPERATOR], as two, six and eight digits, into the file of the device's secret"


@dataclass(frozen=True, slots=True)
class Rights:
    """PA P0 P1 P2 and C0..C3 of DL/T 645-2007, 7.3 (write), as on the wire: each number lowest byte first."""

    password: bytes = field(repr=False)
    operator: bytes

    @property
    def whole(self) -> bytes:
        """All eight bytes."""
        return self.password + self.operator

    @property
    def hidden(self) -> bytes:
        """As many bytes for those who look on: the class, no password, the operator."""
        return self.password[:1] + bytes(3) + self.operator


def rights_of(secret: Secret | None, where: str) -> Rights:
    """Reads the secret, `CLASS:PASSWORD[:OPERATOR]` in digits; without an operator it is 00000000. Raises ConfigError."""
    if secret is None:
        raise ConfigError("the meter wants a password, and the device has no secret", where=where, next_step=_STEP)
    found = _FORM.fullmatch(secret_text(secret).strip())
    if found is None:
        raise ConfigError("the device's secret is no password of DL/T 645", where=where, next_step=_STEP)
    level, password, operator = found["level"], found["password"], found["operator"] or "0" * 8
    return Rights(bcd.to_bytes(level) + bcd.to_bytes(password), bcd.to_bytes(operator))
