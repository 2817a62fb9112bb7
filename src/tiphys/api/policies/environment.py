"""The variables of admission policies and match conditions, and their types.

Source: upstream's `apiserver/pkg/admission/plugin/cel/compile.go`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.api.cel import types as t
from tiphys.api.cel.environment import Environment
from tiphys.api.cel.kubernetes import environment
from tiphys.api.cel.library.authorizer import AUTHORIZER, AuthorizerValue, ResourceCheck
from tiphys.api.cel.library.mutation import MUTATION, resolve_kind

_STRINGS = t.list_of(t.STRING)
_LABELS = t.map_of(t.STRING, t.STRING)


def _struct(name: str, /, **fields: t.Type) -> t.Struct:
    return t.Struct(f"kubernetes.{name}", {field: t.Field(field, kind) for field, kind in fields.items()})


_KIND = _struct("GroupVersionKind", group=t.STRING, version=t.STRING, kind=t.STRING)
_RESOURCE = _struct("GroupVersionResource", group=t.STRING, version=t.STRING, resource=t.STRING)
_USER = _struct("UserInfo", username=t.STRING, uid=t.STRING, groups=_STRINGS, extra=t.map_of(t.STRING, _STRINGS))
REQUEST = _struct(
    "AdmissionRequest", kind=_KIND, resource=_RESOURCE, subResource=t.STRING, requestKind=_KIND,
    requestResource=_RESOURCE, requestSubResource=t.STRING, name=t.STRING, namespace=t.STRING, operation=t.STRING,
    userInfo=_USER, dryRun=t.BOOL, options=t.DYN,
)  # fmt: skip
_CONDITION = _struct(
    "NamespaceCondition", status=t.STRING, type=t.STRING, lastTransitionTime=t.TIMESTAMP, message=t.STRING,
    reason=t.STRING,
)  # fmt: skip
_METADATA = _struct(
    "NamespaceMetadata", name=t.STRING, generateName=t.STRING, namespace=t.STRING, labels=_LABELS, annotations=_LABELS,
    UID=t.STRING, creationTimestamp=t.TIMESTAMP, deletionGracePeriodSeconds=t.INT, deletionTimestamp=t.TIMESTAMP,
    generation=t.INT, resourceVersion=t.STRING, finalizers=_STRINGS,
)  # fmt: skip
NAMESPACE = _struct(
    "Namespace", metadata=_METADATA, spec=_struct("NamespaceSpec", finalizers=_STRINGS),
    status=_struct("NamespaceStatus", conditions=t.list_of(_CONDITION), phase=t.STRING),
)  # fmt: skip


def policy_environment(
    *, params: bool = False, authorizer: bool = True, patches: bool = False, objects: t.Type = t.DYN
) -> Environment:
    """What expressions may name; `objects` is the type of `object` and `oldObject` where more is known than dyn."""
    variables: dict[str, t.Type] = {
        "object": objects, "oldObject": objects, "namespaceObject": NAMESPACE, "request": REQUEST,
    }  # fmt: skip
    if params:
        variables["params"] = t.DYN
    if authorizer:
        variables |= {
            "authorizer": AuthorizerValue.cel_type,
            "authorizer.requestResource": ResourceCheck.cel_type,
        }
    if patches:
        return environment(variables, AUTHORIZER, MUTATION, resolve_kind=resolve_kind)
    return environment(variables, AUTHORIZER)


def with_variables(env: Environment, fields: Mapping[str, t.Type]) -> Environment:
    """The same with the policy's own `variables`."""
    struct = t.Struct("kubernetes.variables", {name: t.Field(name, kind) for name, kind in fields.items()}, nulls=True)
    return env.extend({"variables": struct})
