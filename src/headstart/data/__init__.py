"""The user's examples: reading, checking, splitting."""
