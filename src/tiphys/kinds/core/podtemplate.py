"""PodTemplate. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-template-v1/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

POD_TEMPLATES = declare(group="", version="v1", kind="PodTemplate", plural="podtemplates")
