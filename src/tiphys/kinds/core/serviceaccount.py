"""ServiceAccount. Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Subresource
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.core.podspec import LocalObjectReference
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy


class ServiceAccount(Model):
    metadata: ObjectMeta = ObjectMeta()
    secrets: list[ObjectReference] = []
    image_pull_secrets: list[LocalObjectReference] = []
    automount_service_account_token: bool | None = None


SERVICE_ACCOUNTS = declare(
    ServiceAccount, group="", version="v1", kind="ServiceAccount", plural="serviceaccounts", short_names=("sa",),
    subresources=(Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),),
    columns=(NAME, column("Secrets", lambda obj: len(obj.get("secrets") or ())), AGE), strategy=KindStrategy(),
)  # fmt: skip
