"""IngressClass. Source: https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare


class IngressClassSpec(Model):
    controller: str = ""


class IngressClass(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressClassSpec = IngressClassSpec()


INGRESS_CLASSES = declare(
    IngressClass, group="networking.k8s.io", version="v1", kind="IngressClass", plural="ingressclasses",
    namespaced=False,
)  # fmt: skip
