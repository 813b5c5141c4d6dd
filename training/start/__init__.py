"""To start a fit from a trained model: what its weights mean here, and which of them are carried over."""
