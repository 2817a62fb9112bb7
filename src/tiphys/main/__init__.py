"""Floor 4: configuration, PKI, wiring: the only place that knows everyone."""
