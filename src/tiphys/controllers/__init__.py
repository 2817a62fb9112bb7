"""Controllers: one file each, a pure `plan` inside; mutually unaware, they reach state only through `client`."""
