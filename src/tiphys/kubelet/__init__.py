"""Floor 3: the kubelet. Turns the pods bound to this node into containers, and tells the API how they fare."""
