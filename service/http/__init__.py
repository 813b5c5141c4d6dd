"""HTTP as every protocol shares it: connections, heads, bodies, and the exchange of a request and its reply."""
