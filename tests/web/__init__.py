"""The way in: what is asked of the endpoint, of the process around it, and of its logs and numbers."""
