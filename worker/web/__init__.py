"""What answers HTTP: the webhook endpoint, health, metrics, and the operator's pages."""
