"""custom.metrics.k8s.io and external.metrics.k8s.io: what pods tell in Prometheus' format, asked when somebody asks."""
