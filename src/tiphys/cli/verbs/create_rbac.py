"""`create role|clusterrole|rolebinding|clusterrolebinding`."""

from __future__ import annotations

from typing import Any

from tiphys.cli import writes
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.create import MAKE, only_name

Json = dict[str, Any]
_API = "rbac.authorization.k8s.io"
_RULE = """
verb list  Verbs, separated by commas; may repeat.
resource list  Resources, perhaps with a group and a subresource: deployments.apps/scale.
resource-name list  Only objects of these names.
"""
SUBJECTS = """
user list  Users; may repeat.
group list  Groups; may repeat.
serviceaccount list  Service accounts as NAMESPACE:NAME; may repeat.
"""


def _rules(call: Call) -> list[Json]:
    """One rule for each API group among the resources."""
    verbs = list(dict.fromkeys(call.opts["verb"]))
    if not verbs:
        raise CliError("at least one verb must be specified")
    groups: dict[str, list[str]] = {}
    for text in call.opts["resource"]:
        word, _, subresource = text.partition("/")
        if word == "*":
            group, plural = "*", "*"
        else:
            resource = call.discovery.find(word)
            group, plural = resource.group, resource.plural
        groups.setdefault(group, []).append(f"{plural}/{subresource}" if subresource else plural)
    names = {"resourceNames": call.opts["resource-name"]} if call.opts["resource-name"] else {}
    return [{"apiGroups": [group], "resources": found, **names, "verbs": verbs} for group, found in groups.items()]


def role(call: Call) -> int:
    rules = _rules(call)
    if not rules:
        raise CliError("at least one resource must be specified")
    meta = {"name": only_name(call)}
    writes.made(call, {"apiVersion": f"{_API}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    return 0


def cluster_role(call: Call) -> int:
    opts = call.opts
    body: Json = {"apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": {"name": only_name(call)}}
    if opts["aggregation-rule"]:
        labels = dict(text.partition("=")[::2] for text in opts["aggregation-rule"])
        body |= {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": labels}]}, "rules": []}
    else:
        body["rules"] = _rules(call)
        if opts["non-resource-url"]:
            body["rules"].append({"nonResourceURLs": opts["non-resource-url"], "verbs": opts["verb"]})
        if not body["rules"]:
            raise CliError("one of resource or nonResourceURL must be specified")
    writes.made(call, body)
    return 0


def subjects(call: Call) -> list[Json]:
    found = [{"apiGroup": _API, "kind": "User", "name": name} for name in call.opts["user"]]
    found += [{"apiGroup": _API, "kind": "Group", "name": name} for name in call.opts["group"]]
    for text in call.opts["serviceaccount"]:
        namespace, colon, name = text.partition(":")
        if not colon or not namespace or not name:
            raise CliError("serviceaccount must be <namespace>:<name>")
        found.append({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    return found


def _binding(call: Call, kind: str, role_kind: str, role_name: str) -> int:
    reference = {"apiGroup": _API, "kind": role_kind, "name": role_name}
    body: Json = {"apiVersion": f"{_API}/v1", "kind": kind, "metadata": {"name": only_name(call)}}
    writes.made(call, body | {"roleRef": reference, "subjects": subjects(call)})
    return 0


def role_binding(call: Call) -> int:
    opts = call.opts
    if bool(opts["role"]) == bool(opts["clusterrole"]):
        raise CliError("exactly one of clusterrole or role must be specified")
    return _binding(call, "RoleBinding", "Role" if opts["role"] else "ClusterRole", opts["role"] or opts["clusterrole"])


def cluster_role_binding(call: Call) -> int:
    if not call.opts["clusterrole"]:
        raise CliError('required flag(s) "clusterrole" not set')
    return _binding(call, "ClusterRoleBinding", "ClusterRole", call.opts["clusterrole"])


COMMANDS = {
    "create role": Command(role, "NAME --verb=verb --resource=resource.group/subresource", MAKE + _RULE,
        "kubectl create role reader --verb=get,list --resource=pods"),
    "create clusterrole": Command(cluster_role, "NAME --verb=verb --resource=resource.group", MAKE + _RULE + """
        non-resource-url list  URLs that are not of resources.
        aggregation-rule list  Labels of the roles to gather, as KEY=VALUE.
        """),
    "create rolebinding": Command(role_binding, "NAME --clusterrole=NAME|--role=NAME", MAKE + SUBJECTS + """
        role str  The role.
        clusterrole str  The cluster role.
        """, "kubectl create rolebinding readers --role=reader --user=jane"),
    "create clusterrolebinding": Command(cluster_role_binding, "NAME --clusterrole=NAME [--user=user]",
        MAKE + SUBJECTS + "clusterrole str  The cluster role.\n"),
}  # fmt: skip
