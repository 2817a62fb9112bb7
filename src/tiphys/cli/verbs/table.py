"""Which module has which verb, and its line in the list of verbs; modules are imported when their verb runs."""

from __future__ import annotations

# words -> (module under tiphys.cli.verbs, what it does)
VERBS: dict[str, tuple[str, str]] = {}

for _line in """
get|get|Display one or many resources
describe|describe|Show details of one or many resources
create|create|Create resources from files or standard input
create deployment|create_workload|Create a deployment
create job|create_workload|Create a job
create cronjob|create_workload|Create a cron job
create namespace|create_simple|Create a namespace
create serviceaccount|create_simple|Create a service account
create quota|create_simple|Create a resource quota
create poddisruptionbudget|create_simple|Create a pod disruption budget
create priorityclass|create_simple|Create a priority class
create token|create_simple|Request a service account token
create configmap|create_config|Create a config map from files, directories or literal values
create secret|create_config|Create a secret
create secret generic|create_config|Create a secret from files, directories or literal values
create secret tls|create_config|Create a TLS secret
create secret docker-registry|create_config|Create a secret for an image registry
create service|create_service|Create a service
create service clusterip|create_service|Create a ClusterIP service
create service nodeport|create_service|Create a NodePort service
create service loadbalancer|create_service|Create a LoadBalancer service
create service externalname|create_service|Create an ExternalName service
create ingress|create_service|Create an ingress
create role|create_rbac|Create a role
create clusterrole|create_rbac|Create a cluster role
create rolebinding|create_rbac|Create a role binding
create clusterrolebinding|create_rbac|Create a cluster role binding
apply|apply|Apply a configuration by file or standard input
apply view-last-applied|apply_last|Show the last applied configuration of objects
apply set-last-applied|apply_last|Record a file as the last applied configuration of a live object
apply edit-last-applied|apply_last|Edit the last applied configuration of an object
diff|diff|Show what applying a configuration would change
edit|edit|Edit objects in an editor
replace|replace|Replace objects by file or standard input
patch|patch|Change fields of an object
delete|delete|Delete objects by file, name or label
run|run|Run an image in a pod
expose|expose|Make a service for an object that has pods
scale|scale|Set a new size for a workload
autoscale|scale|Create an autoscaler for a workload
set|set_image|Set features of objects
set image|set_image|Change the images of a workload's containers
set env|set_env|Change the environment of a workload's containers
set resources|set_fields|Change the resource requests and limits of a workload's containers
set selector|set_fields|Set the selector of a service
set serviceaccount|set_fields|Change the service account of a workload
set subject|set_fields|Change the subjects of a role binding
rollout|rollout|Manage the rollout of a workload
rollout status|rollout|Watch a rollout until it is done
rollout history|rollout_history|Show the revisions of a workload
rollout undo|rollout_history|Go back to an earlier revision
rollout restart|rollout|Restart a workload's pods, one after the other
rollout pause|rollout|Stop rolling out changes
rollout resume|rollout|Go on rolling out changes
label|label|Change the labels of objects
annotate|label|Change the annotations of objects
taint|taint|Change the taints of nodes
cordon|drain|Mark nodes as unschedulable
uncordon|drain|Mark nodes as schedulable
drain|drain|Empty nodes for maintenance
logs|logs|Print a container's logs
exec|exec|Run a command in a container
attach|exec|Attach to a container's process
port-forward|port_forward|Forward local ports to a pod
cp|cp|Copy files to and from containers
top|top|Show what nodes or pods use
top pod|top|Show what pods use
top node|top|Show what nodes use
cluster-info|cluster_info|Show where the control plane and its services are
cluster-info dump|cluster_info|Dump what helps to debug a cluster
api-resources|api_resources|List the server's resources
api-versions|api_resources|List the server's API versions
explain|explain|Document fields of a resource
version|version|Show the versions of client and server
wait|wait|Wait for a condition of objects
auth|auth|Inspect authorisation
auth can-i|auth|Ask whether an action is allowed
auth whoami|auth|Show who the server takes you for
auth reconcile|auth|Apply RBAC objects, adding what is missing
config|config|Change kubeconfig files
config view|config|Show the merged kubeconfig
config current-context|config|Show the current context
config get-contexts|config|List contexts
config get-clusters|config|List clusters
config get-users|config|List users
config use-context|config|Make a context the current one
config set-context|config_write|Add or change a context
config set-cluster|config_write|Add or change a cluster
config set-credentials|config_write|Add or change a user
config delete-context|config_write|Remove a context
config delete-cluster|config_write|Remove a cluster
config delete-user|config_write|Remove a user
config rename-context|config_write|Rename a context
config set|config_write|Set one value
config unset|config_write|Remove one value
events|events|List events
proxy|proxy|Serve the API on a local port
debug|debug|Add a debugging container to a pod
certificate|certificate|Decide about certificate requests
certificate approve|certificate|Approve a certificate request
certificate deny|certificate|Deny a certificate request
completion|completion|Print a shell's completion code
options|options|List the flags of every verb
kustomize|kustomize|Not built in
plugin|plugin|List kubectl plugins
""".strip().splitlines():
    _words, _module, _text = _line.split("|")
    VERBS[_words] = (_module, _text)

ALIASES = {
    "create ns": "create namespace", "create sa": "create serviceaccount", "create deploy": "create deployment",
    "create dep": "create deployment", "create cm": "create configmap", "create cj": "create cronjob",
    "create svc": "create service", "create pdb": "create poddisruptionbudget", "create pc": "create priorityclass",
    "create resourcequota": "create quota", "create ing": "create ingress", "set sa": "set serviceaccount",
    "top pods": "top pod", "top po": "top pod", "top nodes": "top node", "top no": "top node",
    "config use": "config use-context", "log": "logs", "create svc clusterip": "create service clusterip",
    "create svc nodeport": "create service nodeport", "create svc loadbalancer": "create service loadbalancer",
    "create svc externalname": "create service externalname", "ev": "events",
}  # fmt: skip

GROUPS = {words for words in VERBS if any(other.startswith(words + " ") for other in VERBS)}
