"""The kubelet's HTTPS API, for the API server: logs, exec, attach, port-forward, statistics."""
