"""The roles and bindings that every cluster starts with: upstream's own, and one for each of our components.

A rule is a line: `verbs | API groups | resources [| names]`, core being the group without a name; a line that begins
with a slash is `verbs` over URLs.
Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiphys.api.resource import Json

_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_API = "rbac.authorization.k8s.io"
_READ = "get list watch"
_WRITE = "create delete deletecollection patch update"
_ALL = "create delete deletecollection get list patch update watch"
_EVENTS = ("create patch update | core events.k8s.io | events",)

_VIEWED = (
    f"{_READ} | core | configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods"
    " replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
    f"{_READ} | core | bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status"
    " resourcequotas resourcequotas/status namespaces",
    f"{_READ} | discovery.k8s.io | endpointslices",
    f"{_READ} | apps | controllerrevisions daemonsets daemonsets/status deployments deployments/scale"
    " deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale"
    " statefulsets/status",
    f"{_READ} | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status",
    f"{_READ} | batch | cronjobs cronjobs/status jobs jobs/status",
    f"{_READ} | policy | poddisruptionbudgets poddisruptionbudgets/status",
    f"{_READ} | networking.k8s.io | ingresses ingresses/status networkpolicies",
    f"{_READ} | resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates",
)
_EDITED = (
    f"{_READ} | core | pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
    "impersonate | core | serviceaccounts",
    f"{_WRITE} | core | pods pods/attach pods/exec pods/portforward pods/proxy",
    "create | core | pods/eviction serviceaccounts/token",
    f"{_WRITE} | core | configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale"
    " secrets serviceaccounts services services/proxy",
    f"{_WRITE} | apps | daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale"
    " statefulsets statefulsets/scale",
    f"{_WRITE} | autoscaling | horizontalpodautoscalers",
    f"{_WRITE} | batch | cronjobs jobs",
    f"{_WRITE} | policy | poddisruptionbudgets",
    f"{_WRITE} | networking.k8s.io | ingresses networkpolicies",
    f"{_WRITE} | resource.k8s.io | resourceclaims resourceclaimtemplates",
    f"{_ALL} | coordination.k8s.io | leases",
)
_ADMINISTERED = (
    "create | authorization.k8s.io | localsubjectaccessreviews",
    f"{_ALL} | rbac.authorization.k8s.io | rolebindings roles",
)

# The signers that the CSR controllers serve.
_SIGNERS = ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving")
_SIGNED = " ".join(f"kubernetes.io/{signer}" for signer in _SIGNERS)
_CSR = "certificates.k8s.io | certificatesigningrequests"

_ROLES: dict[str, Sequence[str]] = {
    "cluster-admin": ("* | * | *", "/* | *"),
    "system:discovery": (
        "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/ | get",
    ),
    "system:public-info-viewer": ("/healthz /livez /readyz /version /version/ | get",),
    "system:monitoring": ("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* | get",),
    "system:basic-user": (
        "create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews",
        "create | authentication.k8s.io | selfsubjectreviews",
    ),
    "system:auth-delegator": (
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
    ),
    "system:service-account-issuer-discovery": ("/.well-known/openid-configuration /openid/v1/jwks | get",),
    "system:kubelet-api-admin": (
        f"{_READ} proxy | core | nodes",
        "* | core | nodes/log nodes/metrics nodes/proxy nodes/stats nodes/healthz nodes/pods nodes/configz",
    ),
    "system:node-bootstrapper": ("create get list watch | certificates.k8s.io | certificatesigningrequests",),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        "create | certificates.k8s.io | certificatesigningrequests/nodeclient",
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        "create | certificates.k8s.io | certificatesigningrequests/selfnodeclient",
    ),
    **{
        f"system:certificates.k8s.io:{signer}-approver": (
            f"approve | certificates.k8s.io | signers | kubernetes.io/{signer}",
        )
        for signer in (*_SIGNERS, "legacy-unknown")
    },
    # What a machine asks before it joins, and what a control plane gets that joins.
    "tiphys:get-nodes": ("get | core | nodes",),
    "tiphys:control-plane-joiner": ("/tiphys/v1/control-plane-bundle | get",),
    "system:node-problem-detector": ("get | core | nodes", "patch | core | nodes/status", *_EVENTS),
    "system:node-proxier": (
        "list watch | core | endpoints services",
        f"{_READ} | core | nodes",
        "list watch | discovery.k8s.io | endpointslices",
        "list watch | networking.k8s.io | servicecidrs",
        *_EVENTS,
    ),
    "system:kube-dns": ("list watch | core | endpoints services",),
    "system:kube-scheduler": (
        *_EVENTS,
        "create | coordination.k8s.io | leases",
        "get list update watch | coordination.k8s.io | leases | kube-scheduler",
        f"{_READ} | core | nodes namespaces",
        f"delete {_READ} | core | pods",
        "create | core | bindings pods/binding",
        "patch update | core | pods/status",
        f"{_READ} | core | replicationcontrollers services persistentvolumes",
        f"{_READ} patch update | core | persistentvolumeclaims",
        f"{_READ} | apps | replicasets statefulsets",
        f"{_READ} | policy | poddisruptionbudgets",
        f"{_READ} | storage.k8s.io | csidrivers csinodes csistoragecapacities storageclasses volumeattachments",
        f"{_READ} patch update | resource.k8s.io | deviceclasses resourceclaims resourceclaims/status resourceslices",
        "create delete | resource.k8s.io | resourceclaims",
        f"{_READ} | scheduling.k8s.io | podgroups workloads",
        "patch update | scheduling.k8s.io | podgroups/status",
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
    ),
    "system:cluster-autoscaler": (
        *_EVENTS,
        f"{_READ} patch update | core | nodes",
        f"{_READ} | core | pods",
        "create | core | pods/eviction",
    ),
    "system:volume-scheduler": (
        f"{_READ} patch update | core | persistentvolumeclaims persistentvolumes",
        f"{_READ} | storage.k8s.io | storageclasses",
    ),
    "system:kube-controller-manager": (
        *_EVENTS,
        "create | coordination.k8s.io | leases",
        "get list update watch | coordination.k8s.io | leases | kube-controller-manager",
        "create | core | secrets serviceaccounts serviceaccounts/token",
        "delete | core | secrets",
        "get | core | configmaps namespaces secrets serviceaccounts",
        "update | core | secrets serviceaccounts",
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
        "list watch | * | *",
    ),
    "system:persistent-volume-provisioner": (
        f"create delete {_READ} | core | persistentvolumes",
        f"{_READ} update | core | persistentvolumeclaims",
        f"{_READ} | storage.k8s.io | storageclasses",
        "watch | core | events",
        *_EVENTS,
    ),
}
# Roles that gather what others bring: name -> (label it gathers by, label by which it is gathered, its own rules).
_AGGREGATES = {
    "admin": ("admin", "", ("system:aggregate-to-admin", _ADMINISTERED)),
    "edit": ("edit", "admin", ("system:aggregate-to-edit", _EDITED)),
    "view": ("view", "edit", ("system:aggregate-to-view", _VIEWED)),
}
# role -> subjects, as "Kind name".
_BINDINGS = {
    "cluster-admin": ("Group system:masters",),
    "system:discovery": ("Group system:authenticated",),
    "system:basic-user": ("Group system:authenticated",),
    "system:public-info-viewer": ("Group system:authenticated", "Group system:unauthenticated"),
    "system:monitoring": ("Group system:monitoring",),
    "system:service-account-issuer-discovery": ("Group system:serviceaccounts",),
    "system:node-proxier": ("User system:kube-proxy",),
    "system:node-bootstrapper": ("Group system:bootstrappers",),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": ("Group system:bootstrappers",),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": ("Group system:nodes",),
    "tiphys:get-nodes": ("Group system:bootstrappers",),
    "tiphys:control-plane-joiner": ("Group system:bootstrappers:tiphys:control-plane",),
    "system:kube-scheduler": ("User system:kube-scheduler",),
    "system:volume-scheduler": ("User system:kube-scheduler",),
    "system:cluster-autoscaler": ("User system:cluster-autoscaler",),
    "system:kube-controller-manager": ("User system:kube-controller-manager",),
}
# What each controller does besides telling events; it reads through the shared informers.
_CONTROLLERS: dict[str, Sequence[str]] = {
    "replicaset-controller": (
        f"{_READ} update patch | apps | replicasets",
        "update patch | apps | replicasets/finalizers replicasets/status",
        f"create delete {_READ} patch | core | pods",
    ),
    "scale-to-zero-controller": ("get patch | apps | deployments statefulsets",),
    "horizontal-pod-autoscaler": (
        f"{_READ} | autoscaling | horizontalpodautoscalers",
        "update patch | autoscaling | horizontalpodautoscalers/status",
        "get update | * | */scale",
        "list | core | pods",
        "list | metrics.k8s.io | pods",
        "get list | custom.metrics.k8s.io | *",
        "get list | external.metrics.k8s.io | *",
    ),
    "replication-controller": (
        f"{_READ} update patch | core | replicationcontrollers",
        "update patch | core | replicationcontrollers/finalizers replicationcontrollers/status",
        f"create delete {_READ} patch | core | pods",
    ),
    "deployment-controller": (
        f"{_READ} update patch | apps | deployments",
        "update patch | apps | deployments/finalizers deployments/status",
        f"create delete {_READ} patch update | apps | replicasets",
        f"{_READ} update | core | pods",
    ),
    "daemon-set-controller": (
        f"{_READ} | apps | daemonsets",
        "update patch | apps | daemonsets/finalizers daemonsets/status",
        f"{_READ} | core | nodes",
        f"create delete {_READ} patch | core | pods",
        f"create delete {_READ} patch update | apps | controllerrevisions",
    ),
    "statefulset-controller": (
        f"{_READ} | apps | statefulsets",
        "update patch | apps | statefulsets/finalizers statefulsets/status",
        f"create delete {_READ} patch update | core | pods",
        f"create delete {_READ} patch update | apps | controllerrevisions",
        f"create {_READ} patch update | core | persistentvolumeclaims",
    ),
    "job-controller": (
        f"{_READ} update patch | batch | jobs",
        "update patch | batch | jobs/finalizers jobs/status",
        f"create delete {_READ} patch | core | pods",
    ),
    "cronjob-controller": (
        f"{_READ} update patch | batch | cronjobs",
        "update patch | batch | cronjobs/finalizers cronjobs/status",
        f"create delete {_READ} update patch | batch | jobs",
    ),
    "flow-schema-controller": (
        f"{_READ} | flowcontrol.apiserver.k8s.io | flowschemas prioritylevelconfigurations",
        "patch update | flowcontrol.apiserver.k8s.io | flowschemas/status",
    ),
    "ttl-after-finished-controller": (f"delete {_READ} | batch | jobs",),
    "disruption-controller": (
        f"{_READ} | apps | deployments replicasets statefulsets",
        f"{_READ} | core | pods replicationcontrollers",
        f"{_READ} | policy | poddisruptionbudgets",
        "update patch | policy | poddisruptionbudgets/status",
        "get | * | */scale",
    ),
    "endpoint-controller": (
        f"{_READ} | core | pods services",
        f"create delete {_READ} update patch | core | endpoints",
        "create | core | endpoints/restricted",
    ),
    "endpointslice-controller": (
        f"{_READ} | core | nodes pods services",
        "update | core | services/finalizers",
        f"create delete {_READ} update patch | discovery.k8s.io | endpointslices",
    ),
    "endpointslicemirroring-controller": (
        f"{_READ} | core | endpoints services",
        "update | core | endpoints/finalizers services/finalizers",
        f"create delete {_READ} update patch | discovery.k8s.io | endpointslices",
    ),
    "service-account-controller": ("create | core | serviceaccounts",),
    "token-controller": (
        "create | core | serviceaccounts/token",
        f"create delete {_READ} update patch | core | secrets",
        f"{_READ} update | core | serviceaccounts",
    ),
    "root-ca-cert-publisher": ("create update patch | core | configmaps",),
    "namespace-controller": (
        f"delete {_READ} | core | namespaces",
        "update patch | core | namespaces/finalize namespaces/status",
        "delete deletecollection get list | * | *",
        "/* | get",
    ),
    "node-controller": ("patch | core | nodes nodes/status pods/status", "get | coordination.k8s.io | leases"),
    "taint-eviction-controller": ("delete | core | pods", "patch | core | pods/status"),
    "node-ipam-controller": (f"{_READ} patch update | core | nodes",),
    "pod-garbage-collector": ("get | core | nodes", "delete | core | pods", "patch | core | pods/status"),
    "resourcequota-controller": ("get list watch | * | *", "patch update | core | resourcequotas/status"),
    "persistent-volume-binder": (
        f"create delete {_READ} update | core | persistentvolumes",
        "patch update | core | persistentvolumes persistentvolumes/status",
        f"{_READ} patch update | core | persistentvolumeclaims",
        "patch update | core | persistentvolumeclaims/status",
        f"{_READ} | storage.k8s.io | storageclasses",
        "get | core | nodes",
    ),
    "local-provisioner": (
        f"create delete {_READ} patch | core | persistentvolumes",
        f"{_READ} patch | core | persistentvolumeclaims",
        "patch | core | persistentvolumeclaims/status",
    ),
    "ephemeral-volume-controller": (
        f"{_READ} | core | pods",
        "update | core | pods/finalizers",
        f"create {_READ} | core | persistentvolumeclaims",
    ),
    "pvc-protection-controller": (
        f"{_READ} patch update | core | persistentvolumeclaims",
        f"{_READ} | core | pods",
    ),
    "pv-protection-controller": (f"{_READ} patch update | core | persistentvolumes",),
    "device-taint-eviction-controller": (
        f"delete {_READ} | core | pods",
        "patch update | core | pods/status",
        f"{_READ} | resource.k8s.io | resourceclaims resourceslices",
    ),
    "resource-claim-controller": (
        f"{_READ} | core | pods",
        "update patch | core | pods/status",
        "update | core | pods/finalizers",
        f"create delete {_READ} update patch | resource.k8s.io | resourceclaims",
        f"{_READ} | resource.k8s.io | resourceclaimtemplates",
        "update patch | resource.k8s.io | resourceclaims/status",
    ),
    "generic-garbage-collector": ("delete get list patch watch | * | *",),
    "certificatesigningrequest-approving-controller": (
        f"{_READ} | {_CSR}",
        f"update | {_CSR}/approval",
        "create | authorization.k8s.io | subjectaccessreviews",
        "approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet"
        " kubernetes.io/kubelet-serving",
    ),
    "certificatesigningrequest-signing-controller": (
        f"{_READ} | {_CSR}",
        f"update | {_CSR}/status",
        f"sign | certificates.k8s.io | signers | {_SIGNED}",
    ),
    "certificatesigningrequest-cleaner-controller": (f"{_READ} delete | {_CSR}",),
    # Their rights on Secrets and ConfigMaps are in the namespaces of those: see `namespaced`.
    "token-cleaner-controller": (),
    "bootstrap-signer-controller": (),
    "clusterrole-aggregation-controller": (
        f"escalate {_READ} patch update | rbac.authorization.k8s.io | clusterroles",
    ),
}


def cluster_roles() -> Iterator[Json]:
    for name, lines in _ROLES.items():
        yield {"metadata": _meta(name), "rules": [_rule(line) for line in lines]}
    for name, (gathers, gathered, (own, lines)) in _AGGREGATES.items():
        selector = {"matchLabels": {_aggregate_label(gathers): "true"}}
        meta = _meta(name)
        if gathered:
            meta["labels"][_aggregate_label(gathered)] = "true"
        yield {"metadata": meta, "aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": []}
        meta = _meta(own)
        meta["labels"][_aggregate_label(gathers)] = "true"
        yield {"metadata": meta, "rules": [_rule(line) for line in lines]}
    for name, lines in _CONTROLLERS.items():
        yield {"metadata": _meta(f"system:controller:{name}"), "rules": [_rule(line) for line in (*lines, *_EVENTS)]}


def cluster_role_bindings() -> Iterator[Json]:
    for role, subjects in _BINDINGS.items():
        yield _binding(role, [_subject(*subject.split(" ")) for subject in subjects])
    for name in _CONTROLLERS:
        yield _binding(f"system:controller:{name}", [_subject("User", f"system:controller:{name}")])


# (namespace, role, rules, subjects) of what is allowed inside one namespace.
_NAMESPACED: Sequence[tuple[str, str, str, Sequence[str]]] = (
    (
        "kube-system", "extension-apiserver-authentication-reader",
        f"{_READ} | core | configmaps | extension-apiserver-authentication",
        ("User system:kube-controller-manager", "User system:kube-scheduler"),
    ),
    (
        "kube-system", "system:controller:token-cleaner", f"delete {_READ} | core | secrets",
        ("User system:controller:token-cleaner-controller",),
    ),
    (
        "kube-system", "system:controller:bootstrap-signer", f"{_READ} | core | secrets",
        ("User system:controller:bootstrap-signer-controller",),
    ),
    (
        "kube-public", "system:controller:bootstrap-signer", "create get patch update | core | configmaps",
        ("User system:controller:bootstrap-signer-controller",),
    ),
    # Signed with every bootstrap token, so open to everybody.
    (
        "kube-public", "tiphys:cluster-info", f"{_READ} | core | configmaps | cluster-info",
        ("Group system:unauthenticated", "Group system:authenticated"),
    ),
    (
        "kube-system", "tiphys:cluster-facts", f"{_READ} | core | configmaps | tiphys-cluster",
        ("Group system:bootstrappers", "Group system:nodes"),
    ),
)  # fmt: skip


def namespaced() -> Iterator[tuple[str, Json]]:
    """(collection path, object) of the roles and bindings inside namespaces."""
    for namespace, role, rule, subjects in _NAMESPACED:
        path = f"/apis/{_API}/v1/namespaces/{namespace}"
        yield f"{path}/roles", {"metadata": _meta(role), "rules": [_rule(rule)]}
        reference = {"apiGroup": _API, "kind": "Role", "name": role}
        name = f"system::{role}" if role.startswith("extension-") else role
        bound = [_subject(*subject.split(" ")) for subject in subjects]
        yield f"{path}/rolebindings", {"metadata": _meta(name), "roleRef": reference, "subjects": bound}


def _aggregate_label(name: str) -> str:
    return f"rbac.authorization.k8s.io/aggregate-to-{name}"


def _meta(name: str) -> Json:
    return {"name": name, "labels": dict(_LABELS), "annotations": dict(_ANNOTATIONS)}


def _binding(role: str, subjects: list[Json]) -> Json:
    reference = {"apiGroup": _API, "kind": "ClusterRole", "name": role}
    return {"metadata": _meta(role), "roleRef": reference, "subjects": subjects}


def _subject(kind: str, name: str) -> Json:
    return {"apiGroup": _API, "kind": kind, "name": name}


def _rule(line: str) -> Json:
    parts = [part.split() for part in line.split("|")]
    if line.startswith("/"):
        return {"nonResourceURLs": parts[0], "verbs": parts[1]}
    rule: Json = {
        "verbs": parts[0], "apiGroups": ["" if group == "core" else group for group in parts[1]], "resources": parts[2],
    }  # fmt: skip
    if len(parts) > 3:
        rule["resourceNames"] = parts[3]
    return rule
