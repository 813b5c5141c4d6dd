"""From published models to a container image: the bento that holds them, and its Dockerfile."""
