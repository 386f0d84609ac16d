"""Messages to customers: who hears what and when, and the message as a value. Nothing is rendered or sent here."""
