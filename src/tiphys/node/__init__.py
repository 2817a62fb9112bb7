"""Floor 2: the host. Container runtime, images, cgroups, mounts, namespaces, links, nftables. Knows no kind."""
