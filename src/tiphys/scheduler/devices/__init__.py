"""Dynamic resources: which devices there are, whom they are given to, and how claims are satisfied."""
