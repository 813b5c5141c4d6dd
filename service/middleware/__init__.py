"""What stands around the routes: API keys, the access log, traces, other origins."""
