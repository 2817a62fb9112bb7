"""The list of the controllers that a server runs."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiphys.controllers.authority import Authority
from tiphys.controllers.base import Context, Controller
from tiphys.controllers.bootstrap_signer import BootstrapSignerController
from tiphys.controllers.certificate_approving import CertificateApprovingController
from tiphys.controllers.certificate_cleaner import CertificateCleanerController
from tiphys.controllers.certificate_signing import CertificateSigningController
from tiphys.controllers.clusterrole_aggregation import ClusterRoleAggregation
from tiphys.controllers.cronjob import CronJobController
from tiphys.controllers.daemonset import DaemonSetController
from tiphys.controllers.deployment import DeploymentController
from tiphys.controllers.device_taint_eviction import DeviceTaintEvictionController
from tiphys.controllers.disruption_budget import DisruptionController
from tiphys.controllers.endpoints import EndpointsController
from tiphys.controllers.endpointslice import EndpointSliceController
from tiphys.controllers.endpointslicemirroring import EndpointSliceMirroringController
from tiphys.controllers.ephemeral_volume import EphemeralVolumeController
from tiphys.controllers.flow_schema import FlowSchemaController
from tiphys.controllers.garbage_collector import GarbageCollector
from tiphys.controllers.horizontalpodautoscaler import PERIOD, HorizontalPodAutoscalerController
from tiphys.controllers.job import JobController
from tiphys.controllers.local_provisioner import LocalProvisioner
from tiphys.controllers.namespace import NamespaceController
from tiphys.controllers.node_ipam import NodeIpam
from tiphys.controllers.node_lifecycle import NodeLifecycleController
from tiphys.controllers.persistentvolume import PersistentVolumeBinder
from tiphys.controllers.pod_gc import PodGarbageCollector
from tiphys.controllers.protection import PvcProtectionController, PvProtectionController
from tiphys.controllers.replicaset import ReplicaSetController
from tiphys.controllers.replicationcontroller import ReplicationControllerController
from tiphys.controllers.resourceclaim import ResourceClaimController
from tiphys.controllers.resourcequota import ResourceQuotaController
from tiphys.controllers.root_ca import RootCaPublisher
from tiphys.controllers.scale_to_zero import ScaleToZeroController
from tiphys.controllers.serviceaccount import ServiceAccountController
from tiphys.controllers.statefulset import StatefulSetController
from tiphys.controllers.taint_eviction import TaintEvictionController
from tiphys.controllers.token_cleaner import TokenCleanerController
from tiphys.controllers.tokens import TokenController
from tiphys.controllers.ttl_after_finished import TtlAfterFinishedController

MakeContext = Callable[[str], Context]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Facts:
    """What controllers are told of the cluster: its pod network, and its CA in PEM.

    `authority` is the CA with its key; `services` is the network of Services, `server` the URL by which other machines
    reach the API; `autoscaling_period` is how often autoscalers of pods are looked at, in seconds.
    """

    pods: Network
    ca: str
    authority: Authority | None = None
    services: Network | None = None
    server: str = ""
    autoscaling_period: float = PERIOD


def build(make_context: MakeContext, facts: Facts) -> list[tuple[Controller, Context]]:
    """Every controller with its context; `make_context` is given each one's name, which is its identity too."""
    built: list[tuple[Controller, Context]] = []
    authority = facts.authority or Authority(facts.ca)
    networks = [network for network in (facts.pods, facts.services) if network is not None]

    def add(kind: Callable[..., Any], *arguments: Any) -> None:
        context = make_context(kind.name)  # type: ignore[attr-defined]
        built.append((kind(context, *arguments), context))

    add(DeploymentController)
    add(ReplicaSetController)
    add(ScaleToZeroController)
    add(HorizontalPodAutoscalerController, facts.autoscaling_period)
    add(ReplicationControllerController)
    add(DaemonSetController)
    add(StatefulSetController)
    add(JobController)
    add(CronJobController)
    add(TtlAfterFinishedController)
    add(DisruptionController)
    add(EndpointSliceController)
    add(EndpointsController)
    add(EndpointSliceMirroringController)
    add(ServiceAccountController)
    add(RootCaPublisher, authority)
    add(TokenController, authority)
    add(NamespaceController)
    add(ClusterRoleAggregation)
    add(FlowSchemaController)
    add(NodeIpam, facts.pods)
    add(NodeLifecycleController)
    add(TaintEvictionController)
    add(PodGarbageCollector)
    add(ResourceQuotaController)
    add(ResourceClaimController)
    add(DeviceTaintEvictionController)
    add(PersistentVolumeBinder)
    add(LocalProvisioner)
    add(EphemeralVolumeController)
    add(PvcProtectionController)
    add(PvProtectionController)
    add(GarbageCollector)
    add(CertificateApprovingController, authority, networks)
    add(CertificateSigningController, authority)
    add(CertificateCleanerController)
    add(TokenCleanerController)
    if facts.server:
        add(BootstrapSignerController, authority, facts.server)
    return built
