"""The scheduler: the cluster as arrays, plugins as vectorised functions over all nodes, every node scored."""
