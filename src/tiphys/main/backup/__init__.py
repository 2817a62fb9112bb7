"""Backups of a cluster: one-file archives, the history that is shipped while it runs, and the ways back.

`archive` is the file, `segment` what is shipped between two of them, `destination` where both go. `shipper` writes,
`history` reads; `restore` and `migrate` make clusters of them; `runner` is what a server runs.
"""
