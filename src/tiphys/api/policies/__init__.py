"""Admission policies as expressions: what they may name, compiled once, evaluated for a request.

The kinds check policies with these, the server runs them; both load the language only when there is a policy.
Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""
