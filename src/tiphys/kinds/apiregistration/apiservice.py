"""APIService. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/api-service-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import has
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default
from tiphys.kinds.strategy import StatusStrategy


class ApiServiceStrategy(StatusStrategy):
    """A name is a path segment: `v1beta1.metrics.k8s.io`, or `v1.` for the core group."""

    name_rule = staticmethod(names.path_segment)

    def default(self, new: Json) -> None:
        service = dig(new, "spec", "service")
        if service:
            put_default(service, "port", 443)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, name = new.get("spec") or {}, dig(new, "metadata", "name") or ""
        expected = f"{spec.get('version') or ''}.{spec.get('group') or ''}"
        if name != expected:
            rule = f"must be `spec.version+\".\"+spec.group`: {expected!r}"
            yield invalid("metadata.name", name, rule)
        for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            value = spec.get(field) or 0
            if not 0 < value <= most:
                yield invalid(f"spec.{field}", value, f"must be positive and less than {most}")
        service = spec.get("service")
        if service is not None:
            yield from has(service, "spec.service", "namespace", "name")
            if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
                yield invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")


def _service(obj: Json) -> str:
    service = dig(obj, "spec", "service")
    return f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"


def _available(obj: Json) -> str:
    for condition in dig(obj, "status", "conditions") or ():
        if condition.get("type") == "Available":
            reason = "" if condition.get("status") == "True" else f" ({condition.get('reason') or ''})"
            return f"{condition.get('status')}{reason}"
    return "Unknown"


API_SERVICES = declare(
    group="apiregistration.k8s.io", version="v1", kind="APIService", plural="apiservices", unconditional_update=False,
    categories=("api-extensions",), namespaced=False, status=True,
    columns=(NAME, column("Service", _service), column("Available", _available), AGE),
    strategy=ApiServiceStrategy(),
)  # fmt: skip
