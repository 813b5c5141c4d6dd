"""A version on trial beside the one that is served: which requests it answers, and how it does."""
