"""A model as native objects: one namespace for the stack, a workload and Services for each of its services. Pure.

Every object has the labels of the stack; what belongs to one service also has that of the service.
"""

from __future__ import annotations

import base64
from typing import Any

from tiphys.stacks.compose import fields, networks
from tiphys.stacks.compose.blobs import Blobs
from tiphys.stacks.compose.load import Model
from tiphys.stacks.compose.ports import ports_of
from tiphys.stacks.compose.volumes import Volumes
from tiphys.stacks.compose.workloads import pod_annotations, pod_spec, workload
from tiphys.stacks.objects import PUBLISHED, SERVICE, STACK, Facts, digest, dns_name, without_empty

Json = dict[str, Any]


def translate(model: Model, stack: str, facts: Facts) -> list[Json]:
    """The objects, without the namespace. Raises Refused with everything that cannot be honoured."""
    fields.check_top(model.content, model.problems)
    _check_names(model)
    networks.check(model)
    blobs, volumes = Blobs(model, facts), Volumes(model, stack)
    found: list[Json] = []
    taken: dict[tuple[int, str], str] = {}
    registry = _registry(facts)
    for name, service in model.content["services"].items():
        try:
            fields.check_service(f"services.{name}", service, model.problems)
            made = _service(model, stack, name, (blobs, volumes, facts, taken))
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            # A list where a mapping belongs, a word where a number does: no field's own check met it.
            model.problems.refuse(f"services.{name}", f"has a value of the wrong kind: {error}")
            continue
        if registry:
            made[-1]["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": registry[0]["metadata"]["name"]}]
        found += [labelled(obj, stack, dns_name(name)) for obj in made]
    shared = [*registry, *blobs.objects, *volumes.claims, *networks.policies(model)]
    model.problems.raise_all()
    return [*(labelled(obj, stack) for obj in shared), *found]


def labelled(obj: Json, stack: str, service: str = "") -> Json:
    labels = {STACK: stack, **({SERVICE: service} if service else {})}
    return {**obj, "metadata": {**obj["metadata"], "labels": {**(obj["metadata"].get("labels") or {}), **labels}}}


def _check_names(model: Model) -> None:
    seen: dict[str, str] = {}
    for name in model.content["services"]:
        own = dns_name(name)
        if not own or not own[0].isalpha():
            model.problems.refuse(
                f"services.{name}", "its name is no DNS name", "letters, digits and -, a letter first"
            )
        elif own in seen:
            model.problems.refuse(f"services.{name}", f"has the DNS name of {seen[own]}", "another name")
        seen[own] = name


def _service(
    model: Model, stack: str, name: str, parts: tuple[Blobs, Volumes, Facts, dict[tuple[int, str], str]]
) -> list[Json]:
    """Service objects, and the workload as the last."""
    blobs, volumes, facts, taken = parts
    service, path, own = model.content["services"][name], f"services.{name}", dns_name(name)
    selector = {STACK: stack, SERVICE: own}
    ports = ports_of(path, service, facts, model.problems)
    for port in ports:
        opened = (port["published"], port["protocol"])
        if port["published"] and taken.setdefault(opened, name) != name:
            text = f"port {opened[0]} is published by {taken[opened]} too"
            model.problems.refuse(port["path"], text, "another published port")
    stored, places = blobs.mounts(path, service)
    kept, mounts = volumes.mounts(path, service)
    inside = [
        without_empty({
            "containerPort": port["target"], "protocol": port["protocol"],
            "hostPort": (port["published"] or port["target"]) if port["mode"] == "host" else None,
        })
        for port in {(p["target"], p["protocol"], p["mode"]): p for p in ports}.values()
    ]  # fmt: skip
    spec = pod_spec(model, stack, name, selector, (stored + kept, places + mounts, inside))
    labels = {**selector, **networks.pod_labels(model, service)}
    annotations = pod_annotations(path, service, model.problems)
    pod = {"metadata": without_empty({"labels": labels, "annotations": annotations}), "spec": spec}
    made = workload(model, name, pod, selector, facts)
    shown = ", ".join(_shown(port) for port in ports if port["published"])
    if shown:
        made["metadata"]["annotations"][PUBLISHED] = shown
    return [*networks.services_of(model, name, ports, selector, facts.addresses), made]


def _shown(port: Json) -> str:
    """As docker's PORTS column."""
    where = "*:" if port["mode"] == "ingress" else ""
    return f"{where}{port['published']}->{port['target']}/{port['protocol'].lower()}"


def _registry(facts: Facts) -> list[Json]:
    if facts.registry is None:
        return []
    name = f"registry-{digest(facts.registry)}"
    data = {".dockerconfigjson": base64.b64encode(facts.registry).decode()}
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "data": data,
        }
    ]
