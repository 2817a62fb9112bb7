"""IngressClass. Source: https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, forbidden, invalid, not_supported, required, too_long
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE, domain_prefixed_path, follows
from tiphys.kinds.columns import AGE, NAME, NONE, at, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_text
from tiphys.kinds.networking.ingress_validation import check_reference
from tiphys.kinds.strategy import KindStrategy


class IngressClassSpec(Model):
    controller: str = ""


class IngressClass(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressClassSpec = IngressClassSpec()


class IngressClassStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        parameters = dig(new, "spec", "parameters")
        if parameters:
            put_text(parameters, "scope", "Cluster")

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        controller = dig(new, "spec", "controller") or ""
        if old is not None and (dig(old, "spec", "controller") or "") != controller:
            yield invalid("spec.controller", controller, IMMUTABLE)
        if len(controller) > _MAX_CONTROLLER:
            yield too_long("spec.controller", _MAX_CONTROLLER)
        yield from domain_prefixed_path(controller, "spec.controller")
        if dig(new, "spec", "parameters") is not None:
            yield from _check_parameters(new["spec"]["parameters"], "spec.parameters")


_MAX_CONTROLLER = 250


def _check_parameters(parameters: Json, path: str) -> Iterator[FieldError]:
    yield from check_reference(parameters, path)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        yield required(f"{path}.scope")
    elif scope not in ("Cluster", "Namespace"):
        yield not_supported(f"{path}.scope", scope, ("Cluster", "Namespace"))
    elif scope == "Cluster":
        if namespace is not None:
            yield forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")
    elif namespace is None:
        yield required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
    else:
        yield from follows(namespace, f"{path}.namespace", names.dns1123_label)


def _parameters(obj: Json) -> str:
    found = dig(obj, "spec", "parameters")
    if not found:
        return NONE
    group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
    return f"{found.get('kind', '')}{group}/{found.get('name', '')}"


INGRESS_CLASSES = declare(
    IngressClass, group="networking.k8s.io", version="v1", kind="IngressClass", plural="ingressclasses",
    namespaced=False,
    columns=(NAME, at("Controller", "spec", "controller"), column("Parameters", _parameters), AGE),
    strategy=IngressClassStrategy(),
)  # fmt: skip
