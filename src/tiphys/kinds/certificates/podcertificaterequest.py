"""PodCertificateRequest. Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, not_supported, required, too_long
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, immutable
from tiphys.kinds.conditions import check_conditions
from tiphys.kinds.core.signer_names import check_signer_name
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import StatusStrategy

_LEAST, _MOST, _MOST_OF_KUBERNETES = 3600, 91 * 86400, 86400
_FINAL = ("Issued", "Denied", "Failed")


class PodCertificateRequestStrategy(StatusStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None:
            yield from _check_spec(new.get("spec") or {})
            return
        yield from immutable(new, old, "spec")
        status, before = new.get("status") or {}, old.get("status") or {}
        if status != before:
            yield from _check_status(status, before)


def _check_spec(spec: Json) -> Iterator[FieldError]:
    signer = spec.get("signerName") or ""
    yield from check_signer_name(signer, "spec.signerName")
    for owner in ("pod", "serviceAccount", "node"):
        name, uid = spec.get(f"{owner}Name") or "", spec.get(f"{owner}UID") or ""
        yield from follows(name, f"spec.{owner}Name", names.dns1123_subdomain)
        if not uid:
            yield invalid(f"spec.{owner}UID", uid, "must not be empty")
        if len(uid) > 128:
            yield too_long(f"spec.{owner}UID", 128)
    seconds = spec.get("maxExpirationSeconds")
    if seconds is None:
        yield required("spec.maxExpirationSeconds", "must be set")
        return
    host = signer.partition("/")[0]
    most = _MOST_OF_KUBERNETES if host == "kubernetes.io" or host.endswith(".kubernetes.io") else _MOST
    if not _LEAST <= seconds <= most:
        yield invalid("spec.maxExpirationSeconds", seconds, f"must be in the range [{_LEAST}, {most}]")


def _check_status(status: Json, before: Json) -> Iterator[FieldError]:
    conditions = status.get("conditions") or []
    wrong = [*_check_final(conditions), *check_conditions(conditions, "status.conditions")]
    yield from wrong
    if wrong:
        return
    if before.get("conditions"):
        yield invalid("status", status, "immutable after PodCertificateRequest is issued, denied, or failed")
    elif conditions and conditions[0]["type"] != "Issued" and status.keys() != {"conditions"}:
        rule = "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
        yield invalid("status", status, rule)


def _check_final(conditions: list[Json]) -> Iterator[FieldError]:
    """There is one at most."""
    for index, condition in enumerate(conditions):
        path, kind, status = f"status.conditions.[{index}]", condition.get("type") or "", condition.get("status") or ""
        if kind not in _FINAL:
            yield not_supported(f"{path}.type", kind, _FINAL)
            continue
        if index:
            rule = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
            yield invalid(f"{path}.type", kind, rule)
        if status != "True":
            yield not_supported(f"{path}.status", status, ("True",))


POD_CERTIFICATE_REQUESTS = declare(
    group="certificates.k8s.io", version="v1beta1", kind="PodCertificateRequest", plural="podcertificaterequests",
    status=True,
    strategy=PodCertificateRequestStrategy(),
)  # fmt: skip
