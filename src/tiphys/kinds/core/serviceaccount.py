"""ServiceAccount. Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Json, Subresource
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.core.podspec import LocalObjectReference
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import KindStrategy


class ServiceAccount(Model):
    metadata: ObjectMeta = ObjectMeta()
    secrets: list[ObjectReference] = []
    image_pull_secrets: list[LocalObjectReference] = []
    automount_service_account_token: bool | None = None


class ServiceAccountStrategy(KindStrategy):
    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        enforced, rule = "kubernetes.io/enforce-mountable-secrets", "deprecated in v1.32+; prefer separate namespaces"
        annotations, before = (dig(obj, "metadata", "annotations") or {} for obj in (new, old or {}))
        if annotations.get(enforced) and annotations.get(enforced) != before.get(enforced):
            yield f"metadata.annotations[{enforced}]: {rule} to isolate access to mounted secrets"


SERVICE_ACCOUNTS = declare(
    ServiceAccount, group="", version="v1", kind="ServiceAccount", plural="serviceaccounts", short_names=("sa",),
    subresources=(Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),),
    columns=(NAME, column("Secrets", lambda obj: len(obj.get("secrets") or ())), AGE),
    strategy=ServiceAccountStrategy(),
)  # fmt: skip
