"""NetworkPolicies in the kernel: what may reach the pods of this node, and what they may reach."""
