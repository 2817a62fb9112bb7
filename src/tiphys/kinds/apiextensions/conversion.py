"""How a definition's versions are converted: `spec.conversion`.

Errors name the parts of `spec.conversion.webhook` as upstream's internal form has them, beside the strategy.
Source: upstream's `apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go`.
"""

from __future__ import annotations

import base64
import binascii

from cryptography import x509

from tiphys.api import names
from tiphys.api.errors import forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors
from tiphys.kinds.webhook_client_config import REVIEW_VERSIONS, check_client_config


def check_conversion(conversion: Json, old: Json | None) -> Errors:
    """`old` is the definition as it was."""
    path, strategy = "spec.conversion", conversion.get("strategy") or ""
    if not strategy:
        yield required(f"{path}.strategy")
    elif strategy not in ("None", "Webhook"):
        yield not_supported(f"{path}.strategy", strategy, ("None", "Webhook"))
    webhook: Json = conversion.get("webhook") or {}
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
        told = "should not be set when strategy is not set to Webhook"
        if config is not None:
            yield forbidden(f"{path}.webhookClientConfig", told)
        if versions:
            yield forbidden(f"{path}.conversionReviewVersions", told)
        return
    if config is None:
        yield required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook")
    else:
        yield from check_client_config(config, f"{path}.webhookClientConfig")
        bundle = config.get("caBundle") or ""
        if bundle and not is_bundle(bundle) and not _may_be_broken(old):
            told = "unable to load root certificates: unable to parse bytes as PEM block"
            yield invalid(f"{path}.webhookClientConfig.caBundle", bundle, told)
    yield from _review_versions(versions, f"{path}.conversionReviewVersions", old)


def _may_be_broken(old: Json | None) -> bool:
    """Whether a CA bundle may be broken: before the definition is established, or where it was before."""
    conditions = ((old or {}).get("status") or {}).get("conditions") or ()
    if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
        return True
    webhook = (((old or {}).get("spec") or {}).get("conversion") or {}).get("webhook") or {}
    before = (webhook.get("clientConfig") or {}).get("caBundle") or ""
    return bool(before) and not is_bundle(before)


def is_bundle(bundle: str) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(base64.b64decode(bundle)))
    except (ValueError, binascii.Error):
        return False


def _review_versions(versions: list[str], path: str, old: Json | None) -> Errors:
    if not versions:
        yield required(path)
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            yield invalid(f"{path}[{index}]", version, "duplicate version")
            continue
        for problem in names.dns1035_label(version):
            yield invalid(f"{path}[{index}]", version, problem)
    webhook = (((old or {}).get("spec") or {}).get("conversion") or {}).get("webhook") or {}
    before = webhook.get("conversionReviewVersions") or []
    if not set(versions) & set(REVIEW_VERSIONS) and (not before or set(before) & set(REVIEW_VERSIONS)):
        yield invalid(path, versions, f"must include at least one of {', '.join(REVIEW_VERSIONS)}")
