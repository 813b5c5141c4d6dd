"""How what is served changes while the service runs: the supervisor tries a version, and all workers take it."""
