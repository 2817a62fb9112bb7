"""The one list of built-in kinds: one line per kind, in upstream's order of groups, preferred versions first.

As upstream's server does since v1.24, only stable versions are served unless asked: `BETA` is what
`--runtime-config=api/beta=true` adds there. Alpha versions are never served. Of `BETA`, resource.k8s.io/v1beta1 differs
from v1 in the shape of device requests; it is left out until somebody needs the conversion.
"""

from __future__ import annotations

from tiphys.api.registry import Registry
from tiphys.kinds.admissionregistration.mutatingadmissionpolicy import MUTATING_ADMISSION_POLICIES
from tiphys.kinds.admissionregistration.mutatingadmissionpolicybinding import MUTATING_ADMISSION_POLICY_BINDINGS
from tiphys.kinds.admissionregistration.mutatingwebhookconfiguration import MUTATING_WEBHOOK_CONFIGURATIONS
from tiphys.kinds.admissionregistration.validatingadmissionpolicy import VALIDATING_ADMISSION_POLICIES
from tiphys.kinds.admissionregistration.validatingadmissionpolicybinding import VALIDATING_ADMISSION_POLICY_BINDINGS
from tiphys.kinds.admissionregistration.validatingwebhookconfiguration import VALIDATING_WEBHOOK_CONFIGURATIONS
from tiphys.kinds.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITIONS
from tiphys.kinds.apiregistration.apiservice import API_SERVICES
from tiphys.kinds.apps.controllerrevision import CONTROLLER_REVISIONS
from tiphys.kinds.apps.daemonset import DAEMON_SETS
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.authentication.selfsubjectreview import SELF_SUBJECT_REVIEWS
from tiphys.kinds.authentication.tokenreview import TOKEN_REVIEWS
from tiphys.kinds.authorization.localsubjectaccessreview import LOCAL_SUBJECT_ACCESS_REVIEWS
from tiphys.kinds.authorization.selfsubjectaccessreview import SELF_SUBJECT_ACCESS_REVIEWS
from tiphys.kinds.authorization.selfsubjectrulesreview import SELF_SUBJECT_RULES_REVIEWS
from tiphys.kinds.authorization.subjectaccessreview import SUBJECT_ACCESS_REVIEWS
from tiphys.kinds.autoscaling.horizontalpodautoscaler import HORIZONTAL_POD_AUTOSCALERS
from tiphys.kinds.autoscaling.horizontalpodautoscaler_v1 import HORIZONTAL_POD_AUTOSCALERS_V1
from tiphys.kinds.batch.cronjob import CRON_JOBS
from tiphys.kinds.batch.job import JOBS
from tiphys.kinds.certificates.certificatesigningrequest import CERTIFICATE_SIGNING_REQUESTS
from tiphys.kinds.certificates.clustertrustbundle import CLUSTER_TRUST_BUNDLES
from tiphys.kinds.certificates.podcertificaterequest import POD_CERTIFICATE_REQUESTS
from tiphys.kinds.coordination.lease import LEASES
from tiphys.kinds.coordination.leasecandidate import LEASE_CANDIDATES
from tiphys.kinds.core.binding import BINDINGS
from tiphys.kinds.core.componentstatus import COMPONENT_STATUSES
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.endpoints import ENDPOINTS
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.limitrange import LIMIT_RANGES
from tiphys.kinds.core.namespace import NAMESPACES
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.podtemplate import POD_TEMPLATES
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS
from tiphys.kinds.core.resourcequota import RESOURCE_QUOTAS
from tiphys.kinds.core.secret import SECRETS
from tiphys.kinds.core.service import SERVICES
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.declare import served_as
from tiphys.kinds.discovery.endpointslice import ENDPOINT_SLICES
from tiphys.kinds.events.event import EVENTS_V1
from tiphys.kinds.flowcontrol.flowschema import FLOW_SCHEMAS
from tiphys.kinds.flowcontrol.prioritylevelconfiguration import PRIORITY_LEVEL_CONFIGURATIONS
from tiphys.kinds.networking.ingress import INGRESSES
from tiphys.kinds.networking.ingressclass import INGRESS_CLASSES
from tiphys.kinds.networking.ipaddress import IP_ADDRESSES
from tiphys.kinds.networking.networkpolicy import NETWORK_POLICIES
from tiphys.kinds.networking.servicecidr import SERVICE_CIDRS
from tiphys.kinds.node.runtimeclass import RUNTIME_CLASSES
from tiphys.kinds.policy.poddisruptionbudget import POD_DISRUPTION_BUDGETS
from tiphys.kinds.rbac.clusterrole import CLUSTER_ROLES
from tiphys.kinds.rbac.clusterrolebinding import CLUSTER_ROLE_BINDINGS
from tiphys.kinds.rbac.role import ROLES
from tiphys.kinds.rbac.rolebinding import ROLE_BINDINGS
from tiphys.kinds.resource.deviceclass import DEVICE_CLASSES
from tiphys.kinds.resource.devicetaintrule import DEVICE_TAINT_RULES
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS
from tiphys.kinds.resource.resourceclaimtemplate import RESOURCE_CLAIM_TEMPLATES
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES
from tiphys.kinds.scheduling.podgroup import POD_GROUPS
from tiphys.kinds.scheduling.priorityclass import PRIORITY_CLASSES
from tiphys.kinds.scheduling.workload import WORKLOADS
from tiphys.kinds.storage.csidriver import CSI_DRIVERS
from tiphys.kinds.storage.csinode import CSI_NODES
from tiphys.kinds.storage.csistoragecapacity import CSI_STORAGE_CAPACITIES
from tiphys.kinds.storage.storageclass import STORAGE_CLASSES
from tiphys.kinds.storage.volumeattachment import VOLUME_ATTACHMENTS
from tiphys.kinds.storage.volumeattributesclass import VOLUME_ATTRIBUTES_CLASSES
from tiphys.kinds.storagemigration.storageversionmigration import STORAGE_VERSION_MIGRATIONS

STABLE = (
    BINDINGS,
    COMPONENT_STATUSES,
    CONFIG_MAPS,
    ENDPOINTS,
    EVENTS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    POD_TEMPLATES,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    API_SERVICES,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    EVENTS_V1,
    SELF_SUBJECT_REVIEWS,
    TOKEN_REVIEWS,
    LOCAL_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_RULES_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
    HORIZONTAL_POD_AUTOSCALERS,
    HORIZONTAL_POD_AUTOSCALERS_V1,
    CRON_JOBS,
    JOBS,
    CERTIFICATE_SIGNING_REQUESTS,
    INGRESSES,
    INGRESS_CLASSES,
    IP_ADDRESSES,
    NETWORK_POLICIES,
    SERVICE_CIDRS,
    POD_DISRUPTION_BUDGETS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    ROLES,
    ROLE_BINDINGS,
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    VOLUME_ATTRIBUTES_CLASSES,
    MUTATING_ADMISSION_POLICIES,
    MUTATING_ADMISSION_POLICY_BINDINGS,
    MUTATING_WEBHOOK_CONFIGURATIONS,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    VALIDATING_WEBHOOK_CONFIGURATIONS,
    CUSTOM_RESOURCE_DEFINITIONS,
    PRIORITY_CLASSES,
    LEASES,
    RUNTIME_CLASSES,
    ENDPOINT_SLICES,
    FLOW_SCHEMAS,
    PRIORITY_LEVEL_CONFIGURATIONS,
    DEVICE_CLASSES,
    RESOURCE_CLAIMS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_SLICES,
)

# Alpha upstream, but the scheduler does what they ask for, at no cost to who does not use them.
PREVIEW = (
    POD_GROUPS,
    WORKLOADS,
)

BETA = (
    CLUSTER_TRUST_BUNDLES,
    POD_CERTIFICATE_REQUESTS,
    LEASE_CANDIDATES,
    DEVICE_TAINT_RULES,
    STORAGE_VERSION_MIGRATIONS,
    served_as(IP_ADDRESSES, "v1beta1"),
    served_as(SERVICE_CIDRS, "v1beta1"),
    served_as(VOLUME_ATTRIBUTES_CLASSES, "v1beta1"),
    served_as(MUTATING_ADMISSION_POLICIES, "v1beta1"),
    served_as(MUTATING_ADMISSION_POLICY_BINDINGS, "v1beta1"),
    served_as(DEVICE_CLASSES, "v1beta2"),
    served_as(RESOURCE_CLAIMS, "v1beta2"),
    served_as(RESOURCE_CLAIM_TEMPLATES, "v1beta2"),
    served_as(RESOURCE_SLICES, "v1beta2"),
)


def builtin(*, beta: bool = False) -> Registry:
    """A new registry of the built-in kinds, for a server to add CustomResourceDefinitions to."""
    return Registry((*STABLE, *PREVIEW, *BETA) if beta else (*STABLE, *PREVIEW))
