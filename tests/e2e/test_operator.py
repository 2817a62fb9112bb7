"""An operator as people write them: its own kind, a validating webhook that it serves itself, and a status."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from real_cluster import RealCluster, until

from tiphys.main.pki import Leaf, Pki

pytestmark = pytest.mark.root

OPERATOR = """
import kopf

@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_):
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1", host="127.0.0.1",
        cafile="{pki}/ca.crt", certfile="{pki}/server.crt", pkeyfile="{pki}/server.key",
    )
    settings.admission.managed = "{group}"

@kopf.on.validate("{group}", "v1", "voyages")
def seaworthy(spec, warnings, **_):
    if spec.get("crew", 0) < 1:
        raise kopf.AdmissionError("a voyage needs a crew", code=422)
    if spec["crew"] > 50:
        warnings.append("the Argo has fifty oars")

@kopf.on.create("{group}", "v1", "voyages")
@kopf.on.update("{group}", "v1", "voyages", field="spec")
def sail(spec, patch, meta, **_):
    patch.status["sailing"] = spec["crew"]
    patch.status["observedGeneration"] = meta["generation"]
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: voyages.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: voyages, singular: voyage, kind: Voyage, shortNames: [voy]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      additionalPrinterColumns:
        - {name: Crew, type: integer, jsonPath: .spec.crew}
        - {name: Sailing, type: integer, jsonPath: .status.sailing}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {crew: {type: integer}, from: {type: string, default: Iolcus}}
              x-kubernetes-validations:
                - {rule: "self.from == oldSelf.from", message: the port of departure stays}
            status:
              type: object
              x-kubernetes-preserve-unknown-fields: true
"""


@pytest.fixture
def operator(cluster: RealCluster, namespace: str, tmp_path: Path):
    group = f"kopf-{secrets.token_hex(3)}.example.com"
    cluster.kubectl("apply", "-f", "-", stdin=CRD.replace("GROUP", group))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/voyages.{group}", "--timeout=10s")
    pki = Pki(tmp_path / "pki")
    pki.ensure("operator", {"server": Leaf("server", names=("127.0.0.1",))})
    source = tmp_path / "operator.py"
    source.write_text(OPERATOR.format(group=group, pki=pki.directory))
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    with (tmp_path / "log").open("w") as log:
        command = [Path(sys.executable).with_name("kopf"), "run", "-n", namespace, "--standalone", str(source)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            until(
                lambda: group in cluster.kubectl("get", "validatingwebhookconfigurations", "-o", "name"), "its webhook"
            )
            yield group
        finally:
            process.terminate()
            process.wait(20)
    cluster.kubectl("delete", "crd", f"voyages.{group}", "--wait=false")
    cluster.kubectl("delete", "validatingwebhookconfiguration", group, "--ignore-not-found")
    # The operator that would take its finalizer off is gone.
    for name in cluster.kubectl("-n", namespace, "get", f"voyages.{group}", "-o", "name", check=False).split():
        cluster.kubectl(
            "-n", namespace, "patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False
        )


def test_the_operator_validates_and_reports(cluster: RealCluster, namespace: str, operator: str):
    def kubectl(*words: str, **options) -> str:
        return cluster.kubectl("-n", namespace, *words, **options)

    def voyage(crew: int, port: str = "") -> str:
        port = f", from: {port}" if port else ""
        return f"apiVersion: {operator}/v1\nkind: Voyage\nmetadata: {{name: colchis}}\nspec: {{crew: {crew}{port}}}\n"

    def status() -> str:
        return kubectl("get", "voyage", "colchis", "-o", "jsonpath={.status.sailing}/{.status.observedGeneration}")

    told = kubectl("apply", "-f", "-", stdin=voyage(0), check=False)
    assert "a voyage needs a crew" in told
    assert "denied the request" in told
    assert kubectl("get", "voyages", "-o", "name") == ""
    kubectl("apply", "-f", "-", stdin=voyage(48))
    until(lambda: status() == "48/1", "the status")
    assert kubectl("get", "voy").splitlines()[1].split()[:3] == ["colchis", "48", "48"]
    kubectl("apply", "-f", "-", stdin=voyage(49))
    until(lambda: status() == "49/2", "the new status")
    assert "the port of departure stays" in kubectl("apply", "-f", "-", stdin=voyage(49, "Aulis"), check=False)
    assert "needs a crew" in kubectl(
        "patch", "voyage", "colchis", "--type=merge", "-p", '{"spec":{"crew":0}}', check=False
    )
    kubectl("delete", "voyage", "colchis", "--timeout=20s")
