"""Defaults of a pod's spec, shared by every kind that holds one. Runs for each pod written, so the code is flat.

Source: upstream's `pkg/apis/core/v1/defaults.go`. Go cannot tell "" and 0 from absent where a field is no pointer, so
those are filled too.
"""

from __future__ import annotations

from tiphys.api import quantity
from tiphys.api.resource import Json
from tiphys.kinds.core.claim_defaults import default_claim_spec

MODE = 0o644
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def default_template(template: Json) -> None:
    """A PodTemplateSpec, in place."""
    spec = template.get("spec")
    if spec is not None:
        default_pod_spec(spec)


def default_pod_spec(spec: Json) -> None:
    """A PodSpec, in place."""
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    if "terminationGracePeriodSeconds" not in spec:
        spec["terminationGracePeriodSeconds"] = 30
    if "securityContext" not in spec:
        spec["securityContext"] = {}
    mirror_service_account(spec)
    for list_name in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(list_name) or ():
            default_container(container)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def mirror_service_account(spec: Json) -> None:
    """`serviceAccount` is the old name of `serviceAccountName`; readers find both."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def default_pod_only(spec: Json) -> None:
    """What pods get but templates of workloads do not: requests that follow limits, ports on the host network."""
    if "enableServiceLinks" not in spec:
        spec["enableServiceLinks"] = True
    on_host = spec.get("hostNetwork")
    for list_name in ("containers", "initContainers"):
        for container in spec.get(list_name) or ():
            resources = container.get("resources")
            if resources and resources.get("limits"):
                resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
            for port in (container.get("ports") or ()) if on_host else ():
                if not port.get("hostPort"):
                    port["hostPort"] = port.get("containerPort", 0)
    if spec.get("resources"):
        _default_pod_requests(spec)


def _default_pod_requests(spec: Json) -> None:
    """Where the pod as a whole has limits: requests are what its containers request in sum, else the limit."""
    resources = spec["resources"]
    if not resources.get("limits"):
        return
    sums: dict[str, quantity.Quantity] = {}
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get("requests") or {}).items():
            if name in ("cpu", "memory"):
                sums[name] = sums.get(name, quantity.ZERO) + quantity.parse(amount)
    summed = {name: str(amount) for name, amount in sums.items()}
    resources["requests"] = {**resources["limits"], **summed, **(resources.get("requests") or {})}


def default_container(container: Json) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    if "resources" not in container:
        container["resources"] = {}
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source:
            _default_source(source)
    for name in _PROBES:
        probe = container.get(name)
        if probe is not None:
            _default_probe(probe)
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for name in ("postStart", "preStop"):
            _default_handler(lifecycle.get(name) or {})


def pull_policy(image: str) -> str:
    """Always for the tag `latest`, which is also implied by neither tag nor digest."""
    name, digest, _ = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or (image and not tag and not digest) else "IfNotPresent"


def _default_source(source: Json) -> None:
    """Of an environment variable or a downward API file: where its value comes from."""
    reference = source.get("fieldRef")
    if reference and not reference.get("apiVersion"):
        reference["apiVersion"] = "v1"
    reference = source.get("resourceFieldRef")
    if reference and "divisor" not in reference:
        reference["divisor"] = "0"
    reference = source.get("fileKeyRef")
    if reference and "optional" not in reference:
        reference["optional"] = False


def _default_probe(probe: Json) -> None:
    if not probe.get("timeoutSeconds"):
        probe["timeoutSeconds"] = 1
    if not probe.get("periodSeconds"):
        probe["periodSeconds"] = 10
    if not probe.get("successThreshold"):
        probe["successThreshold"] = 1
    if not probe.get("failureThreshold"):
        probe["failureThreshold"] = 3
    _default_handler(probe)


def _default_handler(handler: Json) -> None:
    http = handler.get("httpGet")
    if http is not None:
        if not http.get("path"):
            http["path"] = "/"
        if not http.get("scheme"):
            http["scheme"] = "HTTP"
    grpc = handler.get("grpc")
    if grpc is not None and "service" not in grpc:
        grpc["service"] = ""


def _default_volume(volume: Json) -> None:
    if not any(value is not None for name, value in volume.items() if name != "name"):
        volume["emptyDir"] = {}
        return
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        source = volume.get(name)
        if source is not None and source.get("defaultMode") is None:
            source["defaultMode"] = MODE
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _default_source(item)
    if volume.get("projected"):
        for projection in volume["projected"].get("sources") or ():
            _default_projection(projection)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    if volume.get("ephemeral"):
        default_claim_spec((volume["ephemeral"].get("volumeClaimTemplate") or {}).get("spec") or {})
    if volume.get("image") is not None and not volume["image"].get("pullPolicy"):
        volume["image"]["pullPolicy"] = pull_policy(volume["image"].get("reference") or "")
    _default_remote(volume)


def _default_projection(projection: Json) -> None:
    for item in (projection.get("downwardAPI") or {}).get("items") or ():
        _default_source(item)
    token = projection.get("serviceAccountToken")
    if token is not None and not token.get("expirationSeconds"):
        token["expirationSeconds"] = 3600


# Block storage that upstream still has defaults for.
_REMOTE: dict[str, Json] = {
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def _default_remote(volume: Json) -> None:
    for name, defaults in _REMOTE.items():
        source = volume.get(name)
        if source is not None:
            for field, value in defaults.items():
                source.setdefault(field, value)
