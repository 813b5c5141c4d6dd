"""The service beside other servers, other protocols and itself."""
