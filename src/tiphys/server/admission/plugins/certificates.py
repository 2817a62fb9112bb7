"""Certificate signing requests: who asked, who may approve and sign, and what nobody may ask for.

CertificateApproval, CertificateSigning and CertificateSubjectRestriction by upstream's names; CertificateRequester is
there a part of the storage. Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import base64
import binascii

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.admission.review import user_info
from tiphys.server.authz import Authorizer
from tiphys.server.route import Target

_GROUP, _PLURAL = "certificates.k8s.io", "certificatesigningrequests"
_CLIENT = "kubernetes.io/kube-apiserver-client"


class CertificateRequester(Plugin):
    operations = ("CREATE",)
    resources = ((_GROUP, _PLURAL),)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation == "CREATE" and attributes.is_for(_GROUP, _PLURAL) and attributes.obj is not None:
            spec = attributes.obj.setdefault("spec", {})
            for name in ("username", "uid", "groups", "extra"):
                spec.pop(name, None)
            spec.update(user_info(attributes.user))


class _Signers(Plugin):
    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def _require(self, verb: str, attributes: Attributes) -> None:
        """The right to `verb` for the signer by name, or for all of its domain."""
        name = ((attributes.old or {}).get("spec") or {}).get("signerName") or ""
        domain = name.split("/", 1)[0]
        for signer in (name, f"{domain}/*"):
            target = Target(verb, "", _GROUP, "v1", "", "signers", signer)
            if self._authorizer.allows(attributes.user, target):
                return
        why = f'user not permitted to {verb} requests with signerName "{name}"'
        raise errors.denied(_GROUP, _PLURAL, attributes.name, why)


class CertificateApproval(_Signers):
    operations = ("UPDATE",)
    resources = ((_GROUP, _PLURAL),)

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation == "UPDATE" and attributes.is_for(_GROUP, _PLURAL, "approval"):
            self._require("approve", attributes)


class CertificateSigning(_Signers):
    operations = ("UPDATE",)
    resources = ((_GROUP, _PLURAL),)

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation != "UPDATE" or not attributes.is_for(_GROUP, _PLURAL, "status"):
            return
        new, old = (attributes.obj or {}).get("status") or {}, (attributes.old or {}).get("status") or {}
        if new.get("certificate") != old.get("certificate") or _failed(new) != _failed(old):
            self._require("sign", attributes)


def _failed(status: Json) -> bool:
    return any(condition.get("type") == "Failed" for condition in status.get("conditions") or ())


class CertificateSubjectRestriction(Plugin):
    operations = ("CREATE",)
    resources = ((_GROUP, _PLURAL),)

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation != "CREATE" or not attributes.is_for(_GROUP, _PLURAL):
            return
        spec = (attributes.obj or {}).get("spec") or {}
        if spec.get("signerName") == _CLIENT and "system:masters" in _organizations(spec.get("request") or ""):
            why = f"use of {_CLIENT} signer with system:masters group is not allowed"
            raise errors.denied(_GROUP, _PLURAL, attributes.name, why)


def _organizations(request: str) -> list[str]:
    from cryptography import x509  # few requests are about certificates

    try:
        subject = x509.load_pem_x509_csr(base64.b64decode(request)).subject
    except (ValueError, binascii.Error):
        # Whether it is a request at all is for validation to say.
        return []
    return [str(name.value) for name in subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)]
