"""What tenantwave costs, measured on a real API server against a floor that is measured in the same run.

- `__main__` is the command `hack/bench`; its help says what is compared with what.
- `fleet` makes the tenants, and lets the operator upgrade them.
- `observed_operator` is the operator as a process, with a recorder of its requests and a clock on its event loop.
- `floor` sends the recorded writes again, from a bare client, to twins of the tenants.
"""
