"""One request to the resource API, parsed: who, what, and the options that every verb shares."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tiphys.api.errors import BadRequest, Invalid
from tiphys.api.http import Request, User
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json
from tiphys.server.negotiation import PLAIN, Form
from tiphys.server.route import Target

_MAX_SECONDS = 34.0
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|us|ns|s)")
_DURATION = re.compile(f"(?:{_PART.pattern})+|0")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_FIELD_VALIDATION = ("Ignore", "Warn", "Strict")


@dataclass(slots=True)
class Call:
    request: Request
    target: Target
    resource: AnyResource
    user: User
    # When the request came, unix seconds.
    now: float
    # How to answer.
    form: Form = PLAIN
    # The `dryRun` of a body of DeleteOptions, which means the same as that of the query.
    body_dry_run: tuple[str, ...] = ()
    # Shown to the client as `Warning` headers.
    warnings: list[str] = field(default_factory=list)

    @property
    def hub(self) -> AnyResource:
        """The resource in its stored version."""
        return self.resource.hub or self.resource

    @property
    def key(self) -> str:
        return self.resource.key(self.target.name, self.target.namespace)

    @property
    def dry_run(self) -> bool:
        values = [*self.request.query.get("dryRun", ()), *self.body_dry_run]
        if any(value not in ("", "All") for value in values):
            raise BadRequest(f'invalid dryRun value {values}: the only supported value is "All"')
        return "All" in values

    @property
    def seconds(self) -> float:
        """How long the request may take, as `timeout` says in Go's way (`1m30s`), at most upstream's 34 seconds."""
        text = self.request.param("timeout")
        if not text:
            return _MAX_SECONDS
        if not _DURATION.fullmatch(text):
            raise BadRequest(f'invalid timeout specified in the request URL - time: invalid duration "{text}"')
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        return min(seconds or _MAX_SECONDS, _MAX_SECONDS)

    @property
    def manager(self) -> str:
        """The field manager that the write is booked to: as asked, or the first word of the user agent."""
        manager = self.request.param("fieldManager")
        if not manager:
            agent = self.request.headers.get("user-agent", "") or "unknown"
            manager = agent.split("/", 1)[0]
        if len(manager) > 128 or not manager.isprintable():
            raise Invalid("fieldManager: Invalid value: must be printable and at most 128 characters")
        return manager

    @property
    def field_validation(self) -> str:
        mode = self.request.param("fieldValidation") or "Warn"
        if mode not in _FIELD_VALIDATION:
            raise BadRequest(
                f'fieldValidation: Unsupported value: "{mode}": supported values: "Ignore", "Warn", "Strict"'
            )
        return mode

    def revision(self) -> int | None:
        """`resourceVersion` of the query: None where it is not set."""
        return parse_revision(self.request.param("resourceVersion"))


def parse_revision(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise BadRequest(f'resourceVersion: Invalid value: "{text}": must be a non-negative integer')
    return int(text)


@dataclass(slots=True)
class Options:
    """DeleteOptions, from the body and the query of a DELETE."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""

    @classmethod
    def of(cls, call: Call, body: Json | None) -> Options:
        body = body or {}
        grace: Any = body.get("gracePeriodSeconds", call.request.param("gracePeriodSeconds") or None)
        policy = body.get("propagationPolicy") or call.request.param("propagationPolicy")
        if not policy:
            orphan = body.get("orphanDependents", call.request.param("orphanDependents") or None)
            policy = "" if orphan is None else "Orphan" if orphan in (True, "true") else "Background"
        if policy not in ("", "Orphan", "Background", "Foreground"):
            raise Invalid(
                f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}": '
                'supported values: "Foreground", "Background", "Orphan", "nil"'
            )
        conditions = body.get("preconditions") or {}
        try:
            seconds = None if grace is None else max(int(grace), 0)
        except (TypeError, ValueError):
            raise BadRequest(f"gracePeriodSeconds: {grace!r} is not a number") from None
        return cls(seconds, policy, conditions.get("uid") or "", conditions.get("resourceVersion") or "")

    def shown(self) -> Json:
        """The fields that are set, by their API names."""
        conditions = {"uid": self.uid, "resourceVersion": self.resource_version}
        preconditions = {name: value for name, value in conditions.items() if value}
        fields = {
            "gracePeriodSeconds": self.grace, "propagationPolicy": self.propagation or None,
            "preconditions": preconditions or None,
        }  # fmt: skip
        return {name: value for name, value in fields.items() if value is not None}


def options_of(call: Call, operation: str) -> Json:
    """The CreateOptions, UpdateOptions and so on that the query stands for; a CONNECT has none."""
    if operation == "CONNECT":
        return {}
    kind = "Patch" if operation == "UPDATE" and call.target.verb == "patch" else operation.capitalize()
    options: Json = {"kind": f"{kind}Options", "apiVersion": "meta.k8s.io/v1"}
    if call.dry_run:
        options["dryRun"] = ["All"]
    for name in ("fieldManager", "fieldValidation"):
        if call.request.param(name):
            options[name] = call.request.param(name)
    if kind == "Patch" and call.request.param("force"):
        options["force"] = call.request.flag("force")
    return options
