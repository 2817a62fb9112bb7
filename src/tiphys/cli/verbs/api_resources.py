"""`api-resources` and `api-versions`: what the server serves.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_api-resources/
"""

from __future__ import annotations

from tiphys.cli.command import Call, Command
from tiphys.cli.discovery import Resource
from tiphys.cli.tabs import align

FLAGS = """
api-group str  Of this group only.
namespaced opt:true  Only what has namespaces, or with =false what has none.
verbs list  Only what has these verbs.
categories list  Only what is of these categories.
output,o str  Format: wide or name.
sort-by str  name or kind.
no-headers bool  Print no line of headers.
cached bool  Accepted; discovery is kept anyway.
"""


def resources(call: Call) -> int:
    opts = call.opts
    # The first version of a resource is the preferred one; it stands for all.
    preferred: dict[tuple[str, str], Resource] = {}
    for resource in call.discovery.refresh():
        preferred.setdefault((resource.group, resource.plural), resource)
    found = [resource for resource in preferred.values() if _wanted(resource, opts)]
    if opts["sort-by"]:
        found.sort(key=lambda resource: resource.kind if opts["sort-by"] == "kind" else resource.plural)
    else:
        found.sort(key=lambda resource: (resource.group, resource.plural))
    if opts["output"] == "name":
        for resource in found:
            call.say(resource.full_name)
        return 0
    wide = opts["output"] == "wide"
    header = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", *(["VERBS", "CATEGORIES"] if wide else [])]
    lines = [] if opts["no-headers"] else ["\t".join(header)]
    lines += ["\t".join(_cells(resource, wide)) for resource in found]
    call.out.write(align("\n".join(lines) + "\n", minimum=6, padding=3))
    return 0


def _wanted(resource: Resource, opts: dict[str, object]) -> bool:
    namespaced, verbs, categories = opts["namespaced"], opts["verbs"], opts["categories"]
    return (
        opts["api-group"] in ("", resource.group)
        and (not namespaced or resource.namespaced == (namespaced == "true"))
        and (not verbs or set(verbs) <= set(resource.verbs))  # type: ignore[call-overload]
        and (not categories or set(categories) <= set(resource.categories))  # type: ignore[call-overload]
    )


def _cells(resource: Resource, wide: bool) -> list[str]:
    cells = [
        resource.plural, ",".join(resource.short_names), resource.api_version, str(resource.namespaced).lower(),
        resource.kind,
    ]  # fmt: skip
    return [*cells, ",".join(resource.verbs), ",".join(resource.categories)] if wide else cells


def versions(call: Call) -> int:
    for version in sorted(call.discovery.group_versions()):
        call.say(version)
    return 0


COMMANDS = {
    "api-resources": Command(resources, "", FLAGS, "kubectl api-resources --namespaced=true"),
    "api-versions": Command(versions, ""),
}
