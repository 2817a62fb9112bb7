"""APIService. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/api-service-v1/"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, has
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
        if old is None or spec != old.get("spec"):
            yield from _check_spec(spec, name)
        conditions = dig(new, "status", "conditions") or []
        if old is not None and conditions != (dig(old, "status", "conditions") or []):
            for index, condition in enumerate(conditions):
                status = condition.get("status") or ""
                if status not in _STATUSES:
                    yield not_supported(f"status.conditions[{index}].status", status, _STATUSES)


_STATUSES = ("True", "False", "Unknown")


def _check_spec(spec: Json, name: str) -> Iterator[FieldError]:
    group, version = spec.get("group") or "", spec.get("version") or ""
    expected = f"{version}.{group}"
    if name != expected:
        yield invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: "{expected}"')
    if not group and version != "v1":
        yield required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    if group:
        yield from follows(group, "spec.group", names.dns1123_subdomain)
    yield from follows(version, "spec.version", names.dns1035_label)
    for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        value = spec.get(field) or 0
        if not 0 < value <= most:
            yield invalid(f"spec.{field}", value, f"must be positive and less than {most}")
    bundle, insecure = spec.get("caBundle") or "", spec.get("insecureSkipTLSVerify")
    service = spec.get("service")
    if service is None:
        if bundle:
            size = len(b64decode(bundle))
            yield invalid("spec.caBundle", f"{size} bytes", "local APIServices may not have a caBundle")
        if insecure:
            yield invalid("spec.insecureSkipTLSVerify", True, "local APIServices may not have insecureSkipTLSVerify")
        return
    yield from has(service, "spec.service", "namespace", "name")
    problems = names.port_number(service.get("port") or 0)
    if problems:
        yield invalid("spec.service.port", service.get("port") or 0, f"port is not valid: {', '.join(problems)}")
    if insecure and bundle:
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
