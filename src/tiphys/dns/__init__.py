"""Cluster DNS in every agent, answered from informers, so it outlives the control plane."""
