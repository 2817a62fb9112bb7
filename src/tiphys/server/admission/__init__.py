"""Admission: what may still change or refuse a write. `chain` is the contract of plugins, `plugins` are the house's own."""
