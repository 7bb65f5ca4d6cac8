"""Numbers → one `/diagnostics` message."""

from __future__ import annotations

import time
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from tandem_nodes import stamps

TOPIC = "/diagnostics"


def message(name: str, values: Mapping[str, object], problem: str = "") -> DiagnosticArray:
    """`problem` is for a person; empty means that all is well."""
    status = DiagnosticStatus(
        level=DiagnosticStatus.WARN if problem else DiagnosticStatus.OK,
        name=name,
        message=problem or "ok",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamps.to_ros(time.monotonic_ns())
    return array
