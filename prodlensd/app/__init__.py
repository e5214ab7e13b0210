"""From the configuration to the parts: the only room that knows both."""
