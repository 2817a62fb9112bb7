"""The overlay network: pods of different nodes reach each other through a VXLAN device programmed from Node objects."""
