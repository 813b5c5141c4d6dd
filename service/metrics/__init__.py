"""What the service counts, and where its workers keep the counts."""
