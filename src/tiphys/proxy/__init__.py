"""The service proxy: Services balanced by the kernel, through one nftables table per cluster."""
