"""Validation of probes and lifecycle hooks. Source: upstream's `validateProbe`, `validateHandler`, `validateLifecycle`.

Of several handlers upstream looks into the first only.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import names
from tiphys.api.errors import forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, non_negative

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_TIMES = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_SIGNALS_OF_WINDOWS = ("SIGKILL", "SIGTERM")


def check_probes(container: Json, path: str) -> Errors:
    """The lifecycle and the probes of a container that may have them; `grace` is the pod's."""
    for name in PROBES:
        probe = container.get(name)
        if probe is not None:
            yield from _check_probe(probe, f"{path}.{name}", name)


def _check_probe(probe: Json, path: str, name: str) -> Errors:
    yield from _check_handler(probe, path, _PROBE_HANDLERS, None)
    yield from non_negative(probe, path, *_TIMES)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if name == "readinessProbe":
        if grace is not None:
            yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
    elif probe.get("successThreshold", 1) != 1:
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def check_lifecycle(lifecycle: Json, path: str, grace: int | None, os: str | None) -> Errors:
    """`grace`: the pod's terminationGracePeriodSeconds; `os`: its operating system, if it says one."""
    for name in ("postStart", "preStop"):
        if lifecycle.get(name) is not None:
            yield from _check_handler(lifecycle[name], f"{path}.{name}", _HOOK_HANDLERS, grace)
    signal = lifecycle.get("stopSignal")
    if signal is not None:
        if os is None:
            yield forbidden(f"{path}.stopSignal", "may not be set for containers with empty `spec.os.name`")
        elif os == "windows" and signal not in _SIGNALS_OF_WINDOWS:
            yield not_supported(f"{path}.stopSignal", signal, _SIGNALS_OF_WINDOWS)


def _check_handler(handler: Json, path: str, allowed: tuple[str, ...], grace: int | None) -> Errors:
    found = [name for name in allowed if handler.get(name) is not None]
    if not found:
        yield required(path, "must specify a handler type")
        return
    yield from _check_action(found[0], handler[found[0]], f"{path}.{found[0]}", grace)
    for name in found[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")


def _check_action(name: str, action: Json, path: str, grace: int | None) -> Errors:
    if name == "exec":
        if not action.get("command"):
            yield required(f"{path}.command")
    elif name == "sleep":
        seconds = action.get("seconds") or 0
        if grace is not None and not 0 <= seconds <= grace:
            rule = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            yield invalid(path, seconds, rule)
    elif name == "httpGet":
        yield from _check_http(action, path)
    else:
        yield from check_port(action.get("port"), f"{path}.port")


def _check_http(action: Json, path: str) -> Errors:
    if not action.get("path"):
        yield required(f"{path}.path")
    yield from check_port(action.get("port"), f"{path}.port")
    if action.get("scheme") not in ("HTTP", "HTTPS"):
        yield not_supported(f"{path}.scheme", action.get("scheme") or "", ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        yield from follows(header.get("name") or "", f"{path}.httpHeaders", names.header_name)


def check_port(port: Any, path: str) -> Errors:
    """A number, or a name that a port of the container has."""
    if isinstance(port, str):
        yield from follows(port, path, names.port_name)
    else:
        for problem in names.port_number(port or 0):
            yield invalid(path, port or 0, problem)
