"""Names and numbers of BACnet that only the driver needs: properties, errors, and what each error is in OPC UA's words.

Source: ANSI/ASHRAE 135-2020, clause 21 (BACnetPropertyIdentifier, BACnetAbortReason, BACnetRejectReason, Error).
"""

from __future__ import annotations

PROPERTIES: dict[str, int] = {
    "absentee-limit": 244, "accepted-modes": 175, "access-alarm-events": 245, "access-doors": 246,
    "access-event": 247, "access-event-authentication-factor": 248, "access-event-credential": 249,
    "access-event-tag": 322, "access-event-time": 250, "access-transaction-events": 251, "accompaniment": 252,
    "accompaniment-time": 253, "ack-required": 1, "acked-transitions": 0, "action": 2, "action-text": 3,
    "activation-time": 254, "active-authentication-policy": 255, "active-cov-multiple-subscriptions": 481,
    "active-cov-subscriptions": 152, "active-text": 4, "active-vt-sessions": 5, "actual-shed-level": 212,
    "adjust-value": 176, "alarm-value": 6, "alarm-values": 7, "align-intervals": 193, "all": 8,
    "all-writes-successful": 9, "allow-group-delay-inhibit": 365, "apdu-length": 399, "apdu-segment-timeout": 10,
    "apdu-timeout": 11, "application-software-version": 12, "archive": 13, "assigned-access-rights": 256,
    "assigned-landing-calls": 447, "attempted-samples": 124, "audit-level": 498, "audit-notification-recipient": 499,
    "audit-priority-filter": 500, "audit-source-reporter": 497, "auditable-operations": 501,
    "authentication-factors": 257, "authentication-policy-list": 258, "authentication-policy-names": 259,
    "authentication-status": 260, "authorization-exemptions": 364, "authorization-mode": 261,
    "auto-slave-discovery": 169, "average-value": 125, "backup-and-restore-state": 338, "backup-failure-timeout": 153,
    "backup-preparation-time": 339, "bacnet-ip-global-address": 407, "bacnet-ip-mode": 408,
    "bacnet-ip-multicast-address": 409, "bacnet-ip-nat-traversal": 410, "bacnet-ip-udp-port": 412,
    "bacnet-ipv6-mode": 435, "bacnet-ipv6-multicast-address": 440, "bacnet-ipv6-udp-port": 438,
    "base-device-security-policy": 327, "bbmd-accept-fd-registrations": 413, "bbmd-broadcast-distribution-table": 414,
    "bbmd-foreign-device-table": 415, "belongs-to": 262, "bias": 14, "bit-mask": 342, "bit-text": 343,
    "blink-warn-enable": 373, "buffer-size": 126, "car-assigned-direction": 448, "car-door-command": 449,
    "car-door-status": 450, "car-door-text": 451, "car-door-zone": 452, "car-drive-status": 453, "car-load": 454,
    "car-load-units": 455, "car-mode": 456, "car-moving-direction": 457, "car-position": 458,
    "change-of-state-count": 15, "change-of-state-time": 16, "changes-pending": 416, "channel-number": 366,
    "client-cov-increment": 127, "command": 417, "command-time-array": 430, "configuration-files": 154,
    "control-groups": 367, "controlled-variable-reference": 19, "controlled-variable-units": 20,
    "controlled-variable-value": 21, "count": 177, "count-before-change": 178, "count-change-time": 179,
    "cov-increment": 22, "cov-period": 180, "cov-resubscription-interval": 128, "covu-period": 349,
    "covu-recipients": 350, "credential-disable": 263, "credential-status": 264, "credentials": 265,
    "credentials-in-zone": 266, "current-command-priority": 431, "database-revision": 155, "date-list": 23,
    "daylight-savings-status": 24, "days-remaining": 267, "deadband": 25, "default-fade-time": 374,
    "default-present-value": 492, "default-ramp-rate": 375, "default-step-increment": 376,
    "default-subordinate-relationship": 490, "default-timeout": 393, "delete-on-forward": 502,
    "deployed-profile-location": 484, "derivative-constant": 26, "derivative-constant-units": 27, "description": 28,
    "description-of-halt": 29, "device-address-binding": 30, "device-type": 31, "device-uuid": 507,
    "direct-reading": 156, "distribution-key-revision": 328, "do-not-hide": 329, "door-alarm-state": 226,
    "door-extended-pulse-time": 227, "door-members": 228, "door-open-too-long-time": 229, "door-pulse-time": 230,
    "door-status": 231, "door-unlock-delay-time": 232, "duty-window": 213, "effective-period": 32,
    "egress-active": 386, "egress-time": 377, "elapsed-active-time": 33, "elevator-group": 459, "enable": 133,
    "energy-meter": 460, "energy-meter-ref": 461, "entry-points": 268, "error-limit": 34, "escalator-mode": 462,
    "event-algorithm-inhibit": 354, "event-algorithm-inhibit-ref": 355, "event-detection-enable": 353,
    "event-enable": 35, "event-message-texts": 351, "event-message-texts-config": 352, "event-parameters": 83,
    "event-state": 36, "event-time-stamps": 130, "event-type": 37, "exception-schedule": 38, "execution-delay": 368,
    "exit-points": 269, "expected-shed-level": 214, "expiration-time": 270, "extended-time-enable": 271,
    "failed-attempt-events": 272, "failed-attempts": 273, "failed-attempts-time": 274, "fault-high-limit": 388,
    "fault-low-limit": 389, "fault-parameters": 358, "fault-signals": 463, "fault-type": 359, "fault-values": 39,
    "fd-bbmd-address": 418, "fd-subscription-lifetime": 419, "feedback-value": 40, "file-access-method": 41,
    "file-size": 42, "file-type": 43, "firmware-revision": 44, "floor-number": 506, "floor-text": 464,
    "full-duty-baseline": 215, "global-identifier": 323, "group-id": 465, "group-member-names": 346,
    "group-members": 345, "group-mode": 467, "high-limit": 45, "higher-deck": 468, "in-process": 47,
    "in-progress": 378, "inactive-text": 46, "initial-timeout": 394, "input-reference": 181, "installation-id": 469,
    "instance-of": 48, "instantaneous-power": 379, "integral-constant": 49, "integral-constant-units": 50,
    "interface-value": 387, "interval-offset": 195, "ip-address": 400, "ip-default-gateway": 401,
    "ip-dhcp-enable": 402, "ip-dhcp-lease-time": 403, "ip-dhcp-lease-time-remaining": 404, "ip-dhcp-server": 405,
    "ip-dns-server": 406, "ip-subnet-mask": 411, "ipv6-address": 436, "ipv6-auto-addressing-enable": 442,
    "ipv6-default-gateway": 439, "ipv6-dhcp-lease-time": 443, "ipv6-dhcp-lease-time-remaining": 444,
    "ipv6-dhcp-server": 445, "ipv6-dns-server": 441, "ipv6-prefix-length": 437, "ipv6-zone-index": 446, "is-utc": 344,
    "issue-confirmed-notifications": 51, "key-sets": 330, "landing-call-control": 471, "landing-calls": 470,
    "landing-door-status": 472, "last-access-event": 275, "last-access-point": 276, "last-command-time": 432,
    "last-credential-added": 277, "last-credential-added-time": 278, "last-credential-removed": 279,
    "last-credential-removed-time": 280, "last-key-server": 331, "last-notify-record": 173, "last-priority": 369,
    "last-restart-reason": 196, "last-restore-time": 157, "last-state-change": 395, "last-use-time": 281,
    "life-safety-alarm-values": 166, "lighting-command": 380, "lighting-command-default-priority": 381,
    "limit-enable": 52, "limit-monitoring-interval": 182, "link-speed": 420, "link-speed-autonegotiate": 422,
    "link-speeds": 421, "list-of-group-members": 53, "list-of-object-property-references": 54,
    "list-of-session-keys": 55, "local-date": 56, "local-forwarding-only": 360, "local-time": 57, "location": 58,
    "lock-status": 233, "lockout": 282, "lockout-relinquish-time": 283, "log-buffer": 131,
    "log-device-object-property": 132, "log-interval": 134, "logging-object": 183, "logging-record": 184,
    "logging-type": 197, "low-diff-limit": 390, "low-limit": 59, "lower-deck": 473, "mac-address": 423,
    "machine-room-id": 474, "maintenance-required": 158, "making-car-call": 475, "manipulated-variable-reference": 60,
    "manual-slave-address-binding": 170, "masked-alarm-values": 234, "master-exemption": 284, "max-actual-value": 382,
    "max-apdu-length-accepted": 62, "max-failed-attempts": 285, "max-info-frames": 63, "max-master": 64,
    "max-pres-value": 65, "max-segments-accepted": 167, "maximum-output": 61, "maximum-send-delay": 503,
    "maximum-value": 135, "maximum-value-timestamp": 149, "member-of": 159, "member-status-flags": 347,
    "members": 286, "min-actual-value": 383, "min-pres-value": 69, "minimum-off-time": 66, "minimum-on-time": 67,
    "minimum-output": 68, "minimum-value": 136, "minimum-value-timestamp": 150, "mode": 160, "model-name": 70,
    "modification-date": 71, "monitored-objects": 504, "muster-point": 287, "negative-access-rules": 288,
    "network-access-security-policies": 332, "network-interface-name": 424, "network-number": 425,
    "network-number-quality": 426, "network-type": 427, "next-stopping-floor": 476, "node-subtype": 207,
    "node-type": 208, "notification-class": 17, "notification-threshold": 137, "notify-type": 72,
    "number-of-apdu-retries": 73, "number-of-authentication-policies": 289, "number-of-states": 74,
    "object-identifier": 75, "object-list": 76, "object-name": 77, "object-property-reference": 78, "object-type": 79,
    "occupancy-count": 290, "occupancy-count-adjust": 291, "occupancy-count-enable": 292, "occupancy-exemption": 293,
    "occupancy-lower-limit": 294, "occupancy-lower-limit-enforced": 295, "occupancy-state": 296,
    "occupancy-upper-limit": 297, "occupancy-upper-limit-enforced": 298, "operation-direction": 477,
    "operation-expected": 161, "optional": 80, "out-of-service": 81, "output-units": 82, "packet-reorder-time": 333,
    "passback-exemption": 299, "passback-mode": 300, "passback-timeout": 301, "passenger-alarm": 478, "polarity": 84,
    "port-filter": 363, "positive-access-rules": 302, "power": 384, "power-mode": 479, "prescale": 185,
    "present-stage": 493, "present-value": 85, "priority": 86, "priority-array": 87, "priority-for-writing": 88,
    "process-identifier": 89, "process-identifier-filter": 361, "profile-location": 485, "profile-name": 168,
    "program-change": 90, "program-location": 91, "program-state": 92, "property-list": 371,
    "proportional-constant": 93, "proportional-constant-units": 94, "protocol-level": 482,
    "protocol-object-types-supported": 96, "protocol-revision": 139, "protocol-services-supported": 97,
    "protocol-version": 98, "pulse-rate": 186, "read-only": 99, "reason-for-disable": 303, "reason-for-halt": 100,
    "recipient-list": 102, "record-count": 141, "records-since-notification": 140, "reference-port": 483,
    "registered-car-call": 480, "reliability": 103, "reliability-evaluation-inhibit": 357, "relinquish-default": 104,
    "represents": 491, "requested-shed-level": 218, "requested-update-interval": 348, "required": 105,
    "resolution": 106, "restart-notification-recipients": 202, "restore-completion-time": 340,
    "restore-preparation-time": 341, "routing-table": 428, "scale": 187, "scale-factor": 188, "schedule-default": 174,
    "secured-status": 235, "security-pdu-timeout": 334, "security-time-window": 335, "segmentation-supported": 107,
    "send-now": 505, "serial-number": 372, "setpoint": 108, "setpoint-reference": 109, "setting": 162,
    "shed-duration": 219, "shed-level-descriptions": 220, "shed-levels": 221, "silenced": 163,
    "slave-address-binding": 171, "slave-proxy-enable": 172, "stage-names": 495, "stages": 494, "start-time": 142,
    "state-change-values": 396, "state-description": 222, "state-text": 110, "status-flags": 111, "stop-time": 143,
    "stop-when-full": 144, "strike-count": 391, "structured-object-list": 209, "subordinate-annotations": 210,
    "subordinate-list": 211, "subordinate-node-types": 487, "subordinate-relationships": 489, "subordinate-tags": 488,
    "subscribed-recipients": 362, "supported-format-classes": 305, "supported-formats": 304,
    "supported-security-algorithms": 336, "system-status": 112, "tags": 486, "target-references": 496,
    "threat-authority": 306, "threat-level": 307, "time-delay": 113, "time-delay-normal": 356,
    "time-of-active-time-reset": 114, "time-of-device-restart": 203, "time-of-state-count-reset": 115,
    "time-of-strike-count-reset": 392, "time-synchronization-interval": 204, "time-synchronization-recipients": 116,
    "timer-running": 397, "timer-state": 398, "total-record-count": 145, "trace-flag": 308, "tracking-value": 164,
    "transaction-notification-class": 309, "transition": 385, "trigger": 205, "units": 117, "update-interval": 118,
    "update-key-set-timeout": 337, "update-time": 189, "user-external-identifier": 310,
    "user-information-reference": 311, "user-name": 317, "user-type": 318, "uses-remaining": 319, "utc-offset": 119,
    "utc-time-synchronization-recipients": 206, "valid-samples": 146, "value-before-change": 190,
    "value-change-time": 192, "value-set": 191, "value-source": 433, "value-source-array": 434, "variance-value": 151,
    "vendor-identifier": 120, "vendor-name": 121, "verification-time": 326, "virtual-mac-address-table": 429,
    "vt-classes-supported": 122, "weekly-schedule": 123, "window-interval": 147, "window-samples": 148,
    "write-status": 370, "zone-from": 320, "zone-members": 165, "zone-to": 321,
}  # fmt: skip
"""Property identifiers by the name of the standard; 512 and above are makers' own."""

ERROR_CLASSES = ("device", "object", "property", "resources", "security", "services", "vt", "communication")

ERROR_CODES: dict[int, str] = {
    0: "other", 2: "configuration-in-progress", 3: "device-busy", 4: "dynamic-creation-not-supported",
    5: "file-access-denied", 7: "inconsistent-parameters", 8: "inconsistent-selection-criterion",
    9: "invalid-data-type", 10: "invalid-file-access-method", 11: "invalid-file-start-position",
    13: "invalid-parameter-data-type", 14: "invalid-time-stamp", 16: "missing-required-parameter",
    17: "no-objects-of-specified-type", 18: "no-space-for-object", 19: "no-space-to-add-list-element",
    20: "no-space-to-write-property", 21: "no-vt-sessions-available", 22: "property-is-not-a-list",
    23: "object-deletion-not-permitted", 24: "object-identifier-already-exists", 25: "operational-problem",
    26: "password-failure", 27: "read-access-denied", 29: "service-request-denied", 30: "timeout",
    31: "unknown-object", 32: "unknown-property", 34: "unknown-vt-class", 35: "unknown-vt-session",
    36: "unsupported-object-type", 37: "value-out-of-range", 38: "vt-session-already-closed",
    39: "vt-session-termination-failure", 40: "write-access-denied", 41: "character-set-not-supported",
    42: "invalid-array-index", 43: "cov-subscription-failed", 44: "not-cov-property",
    45: "optional-functionality-not-supported", 46: "invalid-configuration-data", 47: "datatype-not-supported",
    48: "duplicate-name", 49: "duplicate-object-id", 50: "property-is-not-an-array", 51: "abort-buffer-overflow",
    52: "abort-invalid-apdu-in-this-state", 53: "abort-preempted-by-higher-priority-task",
    54: "abort-segmentation-not-supported", 55: "abort-proprietary", 56: "abort-other", 57: "invalid-tag",
    58: "network-down", 59: "reject-buffer-overflow", 60: "reject-inconsistent-parameters",
    61: "reject-invalid-parameter-data-type", 62: "reject-invalid-tag", 63: "reject-missing-required-parameter",
    64: "reject-parameter-out-of-range", 65: "reject-too-many-arguments", 66: "reject-undefined-enumeration",
    67: "reject-unrecognized-service", 68: "reject-proprietary", 69: "reject-other", 70: "unknown-device",
    71: "unknown-route", 72: "value-not-initialized", 73: "invalid-event-state", 74: "no-alarm-configured",
    75: "log-buffer-full", 76: "logged-value-purged", 77: "no-property-specified",
    78: "not-configured-for-triggered-logging", 79: "unknown-subscription", 80: "parameter-out-of-range",
    81: "list-element-not-found", 82: "busy", 83: "communication-disabled", 84: "success", 85: "access-denied",
    86: "bad-destination-address", 87: "bad-destination-device-id", 88: "bad-signature", 89: "bad-source-address",
    90: "bad-timestamp", 91: "cannot-use-key", 92: "cannot-verify-message-id", 93: "correct-key-revision",
    94: "destination-device-id-required", 95: "duplicate-message", 96: "encryption-not-configured",
    97: "encryption-required", 98: "incorrect-key", 99: "invalid-key-data", 100: "key-update-in-progress",
    101: "malformed-message", 102: "not-key-server", 103: "security-not-configured", 104: "source-security-required",
    105: "too-many-keys", 106: "unknown-authentication-type", 107: "unknown-key", 108: "unknown-key-revision",
    109: "unknown-source-message", 110: "not-router-to-dnet", 111: "router-busy", 112: "unknown-network-message",
    113: "message-too-long", 114: "security-error", 115: "addressing-error", 116: "write-bdt-failed",
    117: "read-bdt-failed", 118: "register-foreign-device-failed", 119: "read-fdt-failed",
    120: "delete-fdt-entry-failed", 121: "distribute-broadcast-failed", 122: "unknown-file-size",
    123: "abort-apdu-too-long", 124: "abort-application-exceeded-reply-time", 125: "abort-out-of-resources",
    126: "abort-tsm-timeout", 127: "abort-window-size-out-of-range", 128: "file-full",
    129: "inconsistent-configuration", 130: "inconsistent-object-type", 131: "internal-error", 132: "not-configured",
    133: "out-of-memory", 134: "value-too-long", 135: "abort-insufficient-security", 136: "abort-security-error",
    137: "duplicate-entry", 138: "invalid-value-in-this-state", 140: "list-item-not-numbered",
    141: "list-item-not-timestamped", 142: "invalid-data-encoding",
}  # fmt: skip
"""Those that BACnet/IP can carry."""

ABORT_REASONS: dict[int, str] = {
    0: "other", 1: "buffer-overflow", 2: "invalid-apdu-in-this-state", 3: "preempted-by-higher-priority-task",
    4: "segmentation-not-supported", 5: "security-error", 6: "insufficient-security", 7: "window-size-out-of-range",
    8: "application-exceeded-reply-time", 9: "out-of-resources", 10: "tsm-timeout", 11: "apdu-too-long",
}  # fmt: skip
REJECT_REASONS: dict[int, str] = {
    0: "other", 1: "buffer-overflow", 2: "inconsistent-parameters", 3: "invalid-parameter-datatype", 4: "invalid-tag",
    5: "missing-required-parameter", 6: "parameter-out-of-range", 7: "too-many-arguments", 8: "undefined-enumeration",
    9: "unrecognized-service",
}  # fmt: skip

ABORTED, REJECTED = 0x10000, 0x20000
"""Added to a reason, so that `DeviceRefused.code` tells aborts and rejects from error codes."""

_STATUS: dict[str, str] = {
    "unknown-object": "BadNodeIdUnknown", "unknown-device": "BadNodeIdUnknown", "unsupported-object-type": "BadNotSupported",
    "unknown-property": "BadNotSupported", "invalid-array-index": "BadIndexRangeNoData",
    "property-is-not-an-array": "BadIndexRangeInvalid", "read-access-denied": "BadNotReadable",
    "write-access-denied": "BadNotWritable", "access-denied": "BadUserAccessDenied",
    "value-out-of-range": "BadOutOfRange", "parameter-out-of-range": "BadOutOfRange", "value-too-long": "BadOutOfRange",
    "invalid-data-type": "BadTypeMismatch", "datatype-not-supported": "BadTypeMismatch",
    "invalid-parameter-data-type": "BadTypeMismatch", "inconsistent-object-type": "BadTypeMismatch",
    "value-not-initialized": "BadWaitingForInitialData", "device-busy": "BadResourceUnavailable",
    "busy": "BadResourceUnavailable", "configuration-in-progress": "BadInvalidState",
    "communication-disabled": "BadServerHalted", "service-request-denied": "BadUserAccessDenied",
    "password-failure": "BadUserAccessDenied", "optional-functionality-not-supported": "BadNotSupported",
    "not-cov-property": "BadNotSupported", "cov-subscription-failed": "BadTooManySubscriptions",
    "no-space-to-add-list-element": "BadTooManySubscriptions", "operational-problem": "BadDeviceFailure",
    "internal-error": "BadDeviceFailure", "not-configured": "BadConfigurationError",
    "timeout": "BadTimeout", "unknown-subscription": "BadSubscriptionIdInvalid", "log-buffer-full": "BadNoData",
    "logged-value-purged": "BadNoData", "character-set-not-supported": "BadDecodingError",
    "abort-buffer-overflow": "BadResponseTooLarge", "abort-segmentation-not-supported": "BadResponseTooLarge",
    "abort-apdu-too-long": "BadResponseTooLarge", "abort-other": "BadCommunicationError",
    "reject-other": "BadServiceUnsupported", "out-of-memory": "BadOutOfMemory", "unknown-route": "BadNoCommunication",
    "network-down": "BadNoCommunication",
}  # fmt: skip

_NUMBERS = {number: name for name, number in PROPERTIES.items()}


def property_number(name: str) -> int | None:
    """The number of a property as profiles write it: the standard's name, or a number; None for an unknown name."""
    return int(name) if name.isdecimal() else PROPERTIES.get(name)


def property_name(number: int) -> str:
    """The name of the standard, or the number as text."""
    return _NUMBERS.get(number, str(number))


def error_text(error_class: int, code: int) -> str:
    """An error code as people read it, `unknown-object`; one that the standard lacks with its class."""
    known = ERROR_CLASSES[error_class] if error_class < len(ERROR_CLASSES) else f"class {error_class}"
    return ERROR_CODES.get(code) or f"{known}, code {code}"


def error_status(code: int) -> str:
    """The OPC UA status (OPC 10000-4, 7.39) that an error code becomes."""
    return _STATUS.get(ERROR_CODES.get(code, ""), "BadUnexpectedError")


def abort_status(reason: int) -> str:
    """The OPC UA status that an abort's reason becomes."""
    if reason in (1, 4, 11):
        return "BadResponseTooLarge"
    return (
        "BadTimeout" if reason in (8, 10) else "BadResourceUnavailable" if reason in (3, 9) else "BadCommunicationError"
    )


def reject_status(reason: int) -> str:
    """The OPC UA status that a reject's reason becomes."""
    return {9: "BadServiceUnsupported", 1: "BadRequestTooLarge", 6: "BadOutOfRange", 7: "BadRequestTooLarge"}.get(
        reason, "BadInvalidArgument"
    )
