"""Validation of a Service's cluster IPs and their families, and of how both may change.

Source: upstream's `ValidateServiceClusterIPsRelatedFields` and `validateUpgradeDowngradeClusterIPs`.
"""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import duplicate, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.addresses import dual_stack, parse
from tiphys.kinds.checks import Errors, follows, one_of

_IPS, _FAMILIES = "spec.clusterIPs", "spec.ipFamilies"
_STACKS = ("PreferDualStack", "RequireDualStack", "SingleStack")


def check_cluster_ips(spec: Json, *, headless: bool) -> Errors:
    single, several, families = spec.get("clusterIP") or "", spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    if single and not several:
        yield required(_IPS)
    elif single and several[0] != single:
        yield invalid(_IPS, several, "first value must match `clusterIP`")
    elif several and not single:
        yield invalid(_IPS, several, "must be empty when `clusterIP` is not specified")
    for index, family in enumerate(families):
        if family not in ("IPv4", "IPv6"):
            yield not_supported(f"{_FAMILIES}[{index}]", family, ("IPv4", "IPv6"))
        if family in families[:index]:
            yield duplicate(f"{_FAMILIES}[{index}]", family)
    yield from one_of(spec, "spec", "ipFamilyPolicy", _STACKS)
    problems = list(_check_values(several))
    yield from problems
    if len(several) > 2:
        yield invalid(_IPS, several, "may only hold up to 2 values")
    if problems:
        return
    if len(several) > 1 and not dual_stack(several):
        yield invalid(_IPS, several, "may specify no more than one IP for each IP family")
    if not headless:
        yield from _check_families(several, families)


def _check_values(several: list[str]) -> Errors:
    for index, address in enumerate(several):
        if index == 0 and address == "None":
            if len(several) > 1:
                yield invalid(_IPS, several, "'None' must be the first and only value")
        else:
            yield from follows(address, f"{_IPS}[{index}]", names.ip)


def _check_families(several: list[str], families: list[str]) -> Errors:
    for index, (address, family) in enumerate(zip(several, families, strict=False)):
        parsed = parse(address)
        if parsed is not None and family in ("IPv4", "IPv6") and family != f"IPv{parsed.version}":
            rule = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            yield invalid(f"{_IPS}[{index}]", address, rule)


def check_address_update(spec: Json, old: Json) -> Errors:
    """A second address may come and go; the first stays, unless the service becomes or was a mere name."""
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return
    before, after = old.get("clusterIPs") or [], spec.get("clusterIPs") or []
    was_headless, is_headless = before == ["None"], after == ["None"]
    if was_headless and is_headless:
        return
    yield from _check_change(before, after, spec, ("clusterIPs", "clusterIP"))
    if not was_headless and not is_headless:
        families = old.get("ipFamilies") or [], spec.get("ipFamilies") or []
        yield from _check_change(*families, spec, ("ipFamilies", "ipFamily"))


def _check_change(before: list[str], after: list[str], spec: Json, called: tuple[str, str]) -> Errors:
    field, one = called
    if len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new:
                # Of families upstream always names the first.
                position = index if field == "clusterIPs" else 0
                yield invalid(f"spec.{field}[{position}]", after, "may not change once set")
        return
    if before and not after:
        yield invalid(f"spec.{field}[0]", spec.get(field), f"primary {one} can not be unset")
    if before and after and before[0] != after[0]:
        yield invalid(f"spec.{field}[0]", after, "may not change once set")
    if len(before) > len(after) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        rule = f"must be set to 'SingleStack' when releasing the secondary {one}"
        yield invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), rule)
