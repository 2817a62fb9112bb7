"""Which names of a definition are accepted, and the conditions that say so.

Source: upstream's `apiextensions-apiserver/pkg/controller/{status,establish,apiapproval}`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence

from cryptography import x509

from tiphys.api.approval import APPROVED, approval_state, is_protected
from tiphys.api.resource import Json


class Taken:
    """The names that other definitions of the group hold: of resources (plural, singular, short) and of kinds."""

    def __init__(self, others: Iterable[Json]) -> None:
        self.resources: set[str] = set()
        self.kinds: set[str] = set()
        for names in others:
            self.resources |= {names.get("plural") or "", names.get("singular") or "", *(names.get("shortNames") or ())}
            self.kinds |= {names.get("kind") or "", names.get("listKind") or ""}


def decide(definition: Json, taken: Taken) -> tuple[Json, tuple[str, str, str]]:
    """The accepted names and the NamesAccepted condition as (status, reason, message)."""
    wanted = definition["spec"]["names"]
    held: Json = (definition.get("status") or {}).get("acceptedNames") or {}
    accepted = {"plural": "", "kind": "", **held}
    condition = "True", "NoConflicts", "no conflicts found"
    for field, label, names in (
        ("plural", "Plural", taken.resources), ("singular", "Singular", taken.resources),
        ("shortNames", "ShortNames", taken.resources), ("kind", "Kind", taken.kinds),
        ("listKind", "ListKind", taken.kinds),
    ):  # fmt: skip
        problem = _conflict(wanted.get(field), held.get(field), names)
        if problem:
            condition = "False", f"{label}Conflict", problem
        elif wanted.get(field):
            accepted[field] = wanted[field]
        else:
            accepted.pop(field, None)
    accepted.pop("categories", None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    return accepted, condition


def _conflict(wanted: str | Sequence[str] | None, held: str | Sequence[str] | None, taken: set[str]) -> str:
    if isinstance(wanted, str) or wanted is None:
        return "" if (wanted or "") == (held or "") or wanted not in taken else f'"{wanted}" is already in use'
    clashes = [f'"{name}" is already in use' for name in wanted if name not in (held or ()) and name in taken]
    return clashes[0] if len(clashes) == 1 else f"[{', '.join(clashes)}]" if clashes else ""


def set_condition(status: Json, kind: str, value: tuple[str, str, str], now: str) -> None:
    """Put a condition (status, reason, message) in its place; the time tells when its status changed."""
    conditions = status.setdefault("conditions", [])
    new = dict(zip(("status", "reason", "message"), value, strict=True))
    for condition in conditions:
        if condition["type"] == kind:
            if condition["status"] != new["status"]:
                condition["lastTransitionTime"] = now
            condition |= new
            return
    conditions.append({"type": kind, "lastTransitionTime": now, **new})


def condition(definition: Json, kind: str) -> str:
    """The status of a condition, "" if there is none."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return next((c["status"] for c in conditions if c["type"] == kind), "")


def established(definition: Json, names_accepted: bool) -> tuple[str, str, str] | None:
    """The Established condition to set, or None to leave it: what was established once stays so."""
    if condition(definition, "Established") == "True":
        return None
    if not names_accepted:
        return "False", "NotAccepted", "not all names are accepted"
    webhook = (definition["spec"].get("conversion") or {}).get("webhook") or {}
    bundle = (webhook.get("clientConfig") or {}).get("caBundle")
    if bundle and not _is_bundle(bundle):
        return "False", "InvalidCABundle", "The conversion webhook CABundle is invalid"
    return "True", "InitialNamesAccepted", "the initial names have been accepted"


def _is_bundle(bundle: str) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(base64.b64decode(bundle)))
    except (ValueError, binascii.Error):
        return False


def approval(definition: Json) -> tuple[str, str, str] | None:
    """The KubernetesAPIApprovalPolicyConformant condition; None for groups that need no approval."""
    group = definition["spec"]["group"]
    if not is_protected(group):
        return None
    state, reason = approval_state((definition["metadata"].get("annotations") or {}).get(APPROVED, ""))
    return "True" if state == "Approved" else "False", f"{state}Annotation", reason
