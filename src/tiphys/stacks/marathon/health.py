"""healthChecks and readinessChecks as probes.

Source: https://mesosphere.github.io/marathon/docs/health-checks.html
"""

from __future__ import annotations

from typing import Any

from tiphys.stacks.marathon.ports import Port
from tiphys.stacks.objects import literal
from tiphys.stacks.problems import Problems

Json = dict[str, Any]


def probes(path: str, spec: Json, ports: list[Port], problems: Problems) -> Json:
    found: Json = {}
    checks = spec.get("healthChecks") or []
    if checks:
        found |= _health(f"{path}healthChecks[0]", checks[0], ports, problems)
    for at in range(1, len(checks)):
        problems.refuse(f"{path}healthChecks[{at}]", "a container has one check", "one COMMAND that checks all of it")
    ready = spec.get("readinessChecks") or []
    if ready:
        one, where = ready[0], f"{path}readinessChecks[0]"
        if any(not 200 <= code < 400 for code in one.get("httpStatusCodesForReady") or ()):
            problems.refuse(
                f"{where}.httpStatusCodesForReady", "ready is what answers 200 to 399", "such a code, or leave it out"
            )
        index = next((at for at, port in enumerate(ports) if port.name == one.get("portName", "http-api")), 0)
        action = _action(where, {**one, "portIndex": index}, ports, problems)
        found["readinessProbe"] = {
            **action, "periodSeconds": int(one.get("intervalSeconds") or 30),
            "timeoutSeconds": int(one.get("timeoutSeconds") or 10),
        }  # fmt: skip
    return found


def _health(path: str, check: Json, ports: list[Port], problems: Problems) -> Json:
    """Failures do not count in the grace period until the first success: that is a startup probe."""
    action = _action(path, check, ports, problems)
    period, timeout = max(1, int(check.get("intervalSeconds", 60))), max(1, int(check.get("timeoutSeconds", 20)))
    failures, grace = int(check.get("maxConsecutiveFailures", 3)), int(check.get("gracePeriodSeconds", 300))
    early = min(period, 5)
    common = {**action, "timeoutSeconds": timeout}
    found = {"readinessProbe": {**common, "periodSeconds": period, "failureThreshold": max(1, failures)}}
    if failures:
        startup = {**common, "periodSeconds": early, "failureThreshold": max(1, (grace + failures * period) // early)}
        if check.get("delaySeconds"):
            startup["initialDelaySeconds"] = int(check["delaySeconds"])
        found |= {
            "startupProbe": startup,
            "livenessProbe": {**common, "periodSeconds": period, "failureThreshold": failures},
        }
    return found


def _action(path: str, check: Json, ports: list[Port], problems: Problems) -> Json:
    protocol = str(check.get("protocol") or "HTTP").upper().removeprefix("MESOS_")
    if protocol == "COMMAND":
        command = check.get("command") or {}
        text = command.get("value") if isinstance(command, dict) else command
        if not text:
            problems.refuse(f"{path}.command", "a COMMAND check needs a command", 'command: {"value": "..."}')
        return {"exec": {"command": ["/bin/sh", "-c", literal(str(text))]}}
    index = int(check.get("portIndex") or 0)
    number = check.get("port") or (ports[index].target if 0 <= index < len(ports) else 0)
    if not number:
        problems.refuse(f"{path}.portIndex", f"the app has no port {index}", "the index of one of its ports, or port")
    if protocol == "TCP":
        return {"tcpSocket": {"port": number}}
    if protocol not in ("HTTP", "HTTPS"):
        problems.refuse(f"{path}.protocol", f"{protocol!r} is no protocol", "HTTP, HTTPS, TCP or COMMAND")
    if check.get("ignoreHttp1xx"):
        problems.warn(f"{path}.ignoreHttp1xx", "ignored: healthy is what answers 200 to 399")
    return {"httpGet": {"path": str(check.get("path") or "/"), "port": number, "scheme": protocol}}
