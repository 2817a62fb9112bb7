"""Aggregation: API groups that another server answers, behind this one's URL, certificates and discovery."""
