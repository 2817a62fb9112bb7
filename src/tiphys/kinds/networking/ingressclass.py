"""IngressClass. Source: https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.columns import AGE, NAME, NONE, at, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_text
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
        if controller and "/" not in controller:
            yield invalid("spec.controller", controller, "must be a domain-prefixed path (such as \"acme.io/foo\")")
        if old is not None and (dig(old, "spec", "controller") or "") != controller:
            yield invalid("spec.controller", controller, "field is immutable")


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
