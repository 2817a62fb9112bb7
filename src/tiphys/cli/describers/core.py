"""`describe` of services, config maps, secrets, namespaces, claims, service accounts, and RBAC."""

from __future__ import annotations

import base64
from typing import Any

from tiphys.cli.builder import Info
from tiphys.cli.command import Call
from tiphys.cli.describers.text import Text, date, events_of, listed, map_text
from tiphys.cli.times import age

Json = dict[str, Any]


def service(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    spec = obj["spec"]
    text.head(obj)
    text.marks(obj)
    text.field("Selector", map_text(spec.get("selector")))
    text.field("Type", spec.get("type", ""))
    if spec.get("ipFamilyPolicy"):
        text.field("IP Family Policy", spec["ipFamilyPolicy"])
    text.field("IP Families", ",".join(spec.get("ipFamilies") or ()) or "<none>")
    text.field("IP", spec.get("clusterIP", ""))
    text.field("IPs", ",".join(spec.get("clusterIPs") or ()) or "<none>")
    if spec.get("externalIPs"):
        text.field("External IPs", ",".join(spec["externalIPs"]))
    for title, key in (("Desired LoadBalancer IP", "loadBalancerIP"), ("External Name", "externalName")):
        if spec.get(key):
            text.field(title, spec[key])
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    if ingress:
        text.field("LoadBalancer Ingress", ", ".join(map(_ingress, ingress)))
    slices = listed(call, "endpointslices.discovery.k8s.io", info.namespace,
                    labelSelector=f"kubernetes.io/service-name={info.name}")  # fmt: skip
    for port in spec.get("ports") or ():
        _port(text, port, slices)
    text.field("Session Affinity", spec.get("sessionAffinity", ""))
    for title, key in (("External Traffic Policy", "externalTrafficPolicy"),
                       ("Internal Traffic Policy", "internalTrafficPolicy"),
                       ("HealthCheck NodePort", "healthCheckNodePort")):  # fmt: skip
        if spec.get(key):
            text.field(title, spec[key])
    if spec.get("loadBalancerSourceRanges"):
        text.field("LoadBalancer Source Ranges", ",".join(spec["loadBalancerSourceRanges"]))
    if spec.get("trafficDistribution"):
        text.field("Traffic Distribution", spec["trafficDistribution"])
    text.events(events_of(call, info))
    return text.render()


def _ingress(found: Json) -> str:
    shown: str = found.get("ip") or found.get("hostname") or ""
    return f"{shown} ({found['ipMode']})" if found.get("ipMode") else shown


def _port(text: Text, port: Json, slices: list[Json]) -> None:
    name, protocol = port.get("name") or "<unset>", port.get("protocol", "TCP")
    text.field("Port", f"{name}\t{port['port']}/{protocol}")
    text.field("TargetPort", f"{port.get('targetPort', 0)}/{protocol}")
    if port.get("appProtocol"):
        text.field("AppProtocol", port["appProtocol"])
    if port.get("nodePort"):
        text.field("NodePort", f"{name}\t{port['nodePort']}/{protocol}")
    text.field("Endpoints", endpoints(slices, port.get("name", "")))


def endpoints(slices: list[Json], port_name: str) -> str:
    """The first three ready addresses behind a port, and how many more."""
    if not slices:
        return "<none>"
    found: list[str] = []
    for piece in slices:
        ready = [
            endpoint["addresses"][0] for endpoint in piece.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready") is not False
        ]  # fmt: skip
        ports = piece.get("ports") or ()
        if not ports:
            found += ready
        for port in ports:
            if (port.get("name") or "") == port_name:
                found += [f"[{one}]:{port['port']}" if ":" in one else f"{one}:{port['port']}" for one in ready]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more


def ingress(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    spec = obj["spec"]
    text.field("Name", info.name)
    text.labels("Labels", obj["metadata"].get("labels"))
    text.field("Namespace", info.namespace)
    addresses = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    text.field("Address", ",".join(one.get("ip") or one.get("hostname") or "" for one in addresses))
    text.field("Ingress Class", spec.get("ingressClassName") or "<none>")
    default = _backend(call, info, spec["defaultBackend"]) if spec.get("defaultBackend") else "<default>"
    text.field("Default backend", default)
    if spec.get("tls"):
        text.line("TLS:")
        for item in spec["tls"]:
            hosts = ",".join(item.get("hosts") or ())
            secret = item.get("secretName")
            text.line(f"{secret} terminates {hosts}" if secret else f"SNI routes {hosts}", 1)
    text.line("Rules:\n  Host\tPath\tBackends")
    text.line("----\t----\t--------", 1)
    rules = [rule for rule in spec.get("rules") or () if rule.get("http")]
    for rule in rules:
        text.line(f"{rule.get('host') or '*'}\t", 1)
        for path in rule["http"].get("paths") or ():
            text.line(f"\t{path.get('path', '')} \t{_backend(call, info, path['backend'])}", 2)
    if not rules:
        text.line(f"*\t*\t{default}", 1)
    text.annotations("Annotations", obj["metadata"].get("annotations"))
    text.events(events_of(call, info))
    return text.render()


def _backend(call: Call, info: Info, backend: Json) -> str:
    if "service" not in backend:
        ref = backend.get("resource") or {}
        return f"APIGroup: {ref.get('apiGroup', '<none>')}, Kind: {ref.get('kind')}, Name: {ref.get('name')}"
    name, port = backend["service"]["name"], backend["service"].get("port") or {}
    shown = f"{name}:{port.get('name') or port.get('number', '')}"
    services = listed(call, "services", info.namespace, fieldSelector=f"metadata.name={name}")
    if not services:
        return f'{shown} (<error: services "{name}" not found>)'
    slices = listed(call, "endpointslices.discovery.k8s.io", info.namespace,
                    labelSelector=f"kubernetes.io/service-name={name}")  # fmt: skip
    wanted = ""
    for one in services[0]["spec"].get("ports") or ():
        if one["port"] == port.get("number") or (port.get("name") and one.get("name") == port["name"]):
            wanted = one.get("name", "")
    return f"{shown} ({endpoints(slices, wanted)})"


def config_map(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    text.head(obj)
    text.marks(obj)
    text.line("\nData\n====")
    for key, value in sorted((obj.get("data") or {}).items()):
        text.line(f"{key}:\n----\n{value}\n")
    text.line("\nBinaryData\n====")
    for key, value in sorted((obj.get("binaryData") or {}).items()):
        text.line(f"{key}: {len(base64.b64decode(value))} bytes")
    text.line("")
    text.events(events_of(call, info))
    return text.render()


def secret(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    text.head(obj)
    text.marks(obj)
    text.line(f"\nType:\t{obj.get('type', '')}")
    text.line("\nData\n====")
    for key, value in sorted((obj.get("data") or {}).items()):
        content = base64.b64decode(value)
        if key == "token" and obj.get("type") == "kubernetes.io/service-account-token":
            text.field(key, content.decode())
        else:
            text.field(key, f"{len(content)} bytes")
    return text.render()


def namespace(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    text.head(obj, namespace=False)
    text.marks(obj)
    status = obj.get("status") or {}
    text.field("Status", status.get("phase", ""))
    if status.get("conditions"):
        text.line("Conditions:")
        text.line("Type\tStatus\tLastTransitionTime\tReason\tMessage", 1)
        text.line("----\t------\t------------------\t------\t-------", 1)
        for item in status["conditions"]:
            text.line(f"{item['type']}\t{item['status']}\t{date(item.get('lastTransitionTime'))}\t"
                      f"{item.get('reason', '')}\t{item.get('message', '')}", 1)  # fmt: skip
    text.line("")
    _quotas(text, listed(call, "resourcequotas", info.name))
    text.line("")
    _limits(text, listed(call, "limitranges", info.name))
    return text.render()


def _quotas(text: Text, quotas: list[Json]) -> None:
    if not quotas:
        text.line("No resource quota.")
        return
    text.line("Resource Quotas")
    for quota in quotas:
        text.field("Name", quota["metadata"]["name"], 1)
        text.line("Resource\tUsed\tHard", 1)
        text.line("--------\t---\t---", 1)
        status = quota.get("status") or {}
        for name, hard in sorted((status.get("hard") or {}).items()):
            text.line(f"{name}\t{(status.get('used') or {}).get(name, 0)}\t{hard}", 1)


def quota(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    text.head(obj)
    if obj["spec"].get("scopes"):
        text.field("Scopes", ", ".join(sorted(obj["spec"]["scopes"])))
    text.line("Resource\tUsed\tHard")
    text.line("--------\t----\t----")
    status = obj.get("status") or {}
    for name, hard in sorted((status.get("hard") or {}).items()):
        text.line(f"{name}\t{(status.get('used') or {}).get(name, 0)}\t{hard}")
    return text.render()


def _limits(text: Text, ranges: list[Json]) -> None:
    if not ranges:
        text.line("No LimitRange resource.")
        return
    text.line("Resource Limits\n Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio")
    text.line(" ----\t--------\t---\t---\t---------------\t-------------\t-----------------------")
    columns = ("min", "max", "defaultRequest", "default", "maxLimitRequestRatio")
    for found in ranges:
        for item in found["spec"].get("limits") or ():
            names = sorted({name for column in columns for name in item.get(column) or ()})
            for name in names:
                cells = "\t".join(str((item.get(column) or {}).get(name, "-")) for column in columns)
                text.line(f" {item['type']}\t{name}\t{cells}")


def claim(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    spec, status, metadata = obj["spec"], obj.get("status") or {}, obj["metadata"]
    text.head(obj)
    text.field("StorageClass", spec.get("storageClassName") or "")
    ended = metadata.get("deletionTimestamp")
    text.field("Status", f"Terminating (lasts {age(ended)})" if ended else status.get("phase", ""))
    text.field("Volume", spec.get("volumeName", ""))
    text.marks(obj)
    text.field("Finalizers", f"[{' '.join(metadata.get('finalizers') or ())}]")
    bound = bool(spec.get("volumeName"))
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    modes = ",".join(short.get(mode, mode) for mode in status.get("accessModes") or ())
    text.field("Capacity", (status.get("capacity") or {}).get("storage", "0") if bound else "")
    text.field("Access Modes", modes if bound else "")
    if spec.get("volumeMode"):
        text.field("VolumeMode", spec["volumeMode"])
    pods = listed(call, "pods", info.namespace)
    users = [
        pod["metadata"]["name"] for pod in pods
        if any((volume.get("persistentVolumeClaim") or {}).get("claimName") == info.name
               for volume in pod["spec"].get("volumes") or ())
    ]  # fmt: skip
    text.many("Used By", sorted(users))
    text.events(events_of(call, info))
    return text.render()


def service_account(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    text.head(obj)
    text.marks(obj)
    names = [item["name"] for item in obj.get("imagePullSecrets") or ()] or ["<none>"]
    text.field("Image pull secrets", names[0])
    for name in names[1:]:
        text.line(f"{'':19}\t{name}")
    text.events(events_of(call, info))
    return text.render()


def role(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    text.head(obj, namespace=False)
    text.marks(obj)
    text.line("PolicyRule:")
    text.line("Resources\tNon-Resource URLs\tResource Names\tVerbs", 1)
    text.line("---------\t-----------------\t--------------\t-----", 1)
    for row in rules(obj.get("rules") or []):
        text.line("\t".join(row), 1)
    return text.render()


def rules(found: list[Json]) -> list[tuple[str, str, str, str]]:
    """One row a resource or URL; verbs of one resource joined; in upstream's order: by verbs, group, resource."""
    merged: dict[tuple[str, str, str, str], list[str]] = {}
    for rule in found:
        verbs = rule.get("verbs") or []
        names = [[name] for name in rule.get("resourceNames") or ()] or [[]]
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for name in names:
                    _extend(merged, (group, resource, f"[{' '.join(name)}]", ""), verbs)
        for url in rule.get("nonResourceURLs") or ():
            _extend(merged, ("", "", "[]", url), verbs)
    ordered = sorted(merged, key=lambda key: _order(key, merged[key]))
    return [(_title(*key[:2]), f"[{key[3]}]", key[2], f"[{' '.join(merged[key])}]") for key in ordered]


def _order(key: tuple[str, str, str, str], verbs: list[str]) -> str:
    group, resource, names, url = key
    return f"[{' '.join(verbs)}],[{group}],[{resource}],{names},[{url}]"


def _title(group: str, resource: str) -> str:
    """`deployments.apps/status`."""
    first, slash, rest = resource.partition("/")
    return f"{first}.{group}{slash}{rest}" if group else resource


def _extend(
    merged: dict[tuple[str, str, str, str], list[str]], key: tuple[str, str, str, str], verbs: list[str]
) -> None:
    known = merged.setdefault(key, [])
    known += [verb for verb in verbs if verb not in known]


def binding(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    text.head(obj, namespace=False)
    text.marks(obj)
    text.line("Role:")
    text.field("Kind", obj["roleRef"]["kind"], 1)
    text.field("Name", obj["roleRef"]["name"], 1)
    text.line("Subjects:")
    text.line("Kind\tName\tNamespace", 1)
    text.line("----\t----\t---------", 1)
    for item in obj.get("subjects") or ():
        text.line(f"{item['kind']}\t{item['name']}\t{item.get('namespace', '')}", 1)
    return text.render()
