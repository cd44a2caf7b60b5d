"""From measured runs to a provider model: what its parameters are, how sure that is, and what the runs do not tell."""
