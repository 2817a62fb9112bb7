"""Floor 0: what any long-running asyncio program needs. Knows no Kubernetes."""
