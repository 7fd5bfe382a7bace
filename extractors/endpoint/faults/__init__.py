"""faults: failures of a server on demand: refusals, corrupt answers, lost connections, latency."""
