"""The processes of a service: start, supervision, ports, and the end."""
