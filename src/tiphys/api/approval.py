"""Definitions in Kubernetes' own API groups say where they were approved, or that they were not.

Source: upstream's `apiextensions-apiserver/pkg/apihelpers/helpers.go` and KEP 1111.
"""

from __future__ import annotations

from urllib.parse import urlsplit

APPROVED = "api-approved.kubernetes.io"


def is_protected(group: str) -> bool:
    return any(group == domain or group.endswith(f".{domain}") for domain in ("k8s.io", "kubernetes.io"))


def approval_state(annotation: str) -> tuple[str, str]:
    """Missing, Unapproved, Approved or Invalid, and upstream's words for it."""
    see = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not annotation:
        return "Missing", f'protected groups must have approval annotation "{APPROVED}", {see}'
    if annotation.startswith("unapproved"):
        return "Unapproved", f'not approved: "{annotation}"'
    parts = urlsplit(annotation)
    if parts.scheme and parts.netloc:
        return "Approved", f"approved in {annotation}"
    how = 'with either a URL or a reason starting with "unapproved"'
    return "Invalid", f'protected groups must have approval annotation "{APPROVED}" {how}, {see}'
