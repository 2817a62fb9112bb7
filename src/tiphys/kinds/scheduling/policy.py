"""What PodGroups and the templates of Workloads have in common: how the pods of a group are scheduled.

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4671-gang-scheduling
"""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import invalid, required, too_many
from tiphys.api.meta import Model
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, one_of


class GangSchedulingPolicy(Model):
    min_count: int = 1


def check_group(spec: Json, path: str) -> Errors:
    """The spec of a PodGroup, or a template of one."""
    policy, where = spec.get("schedulingPolicy") or {}, f"{path}.schedulingPolicy"
    chosen = [field for field in ("basic", "gang") if policy.get(field) is not None]
    if not chosen:
        yield required(where, "must specify one of: `basic`, `gang`")
    elif len(chosen) > 1:
        words = ", ".join(f"`{field}`" for field in chosen)
        yield invalid(where, f"{{{', '.join(chosen)}}}", f"must specify exactly one of: `basic`, `gang`; got {words}")
    elif "gang" in chosen:
        count = policy["gang"].get("minCount") or 0
        if count < 1:
            yield invalid(f"{where}.gang.minCount", count, "must be greater than or equal to 1")
    if spec.get("priorityClassName"):
        yield from follows(spec["priorityClassName"], f"{path}.priorityClassName", names.dns1123_subdomain)
    yield from one_of(spec, path, "disruptionMode", ("Pod", "PodGroup"))
    constraints = (spec.get("schedulingConstraints") or {}).get("topology") or ()
    if len(constraints) > 1:
        yield too_many(f"{path}.schedulingConstraints.topology", len(constraints), 1)
    for index, each in enumerate(constraints):
        key = f"{path}.schedulingConstraints.topology[{index}].key"
        yield from follows(each.get("key") or "", key, names.label_key)
