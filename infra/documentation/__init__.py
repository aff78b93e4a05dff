"""The site that is made of docs/: its generated parts, and the tutorial as a test."""
