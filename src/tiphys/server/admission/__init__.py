"""Admission: what may still change or refuse a write. `chain` is the contract, `plugins` are the house's own."""
