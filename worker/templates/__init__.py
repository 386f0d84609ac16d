"""The words of messages: a harmless language for them, a layout, samples, and the versions that operators write."""
