"""Floor 2: how components reach the state of the cluster: transports, typed clients, informers, work queues."""
