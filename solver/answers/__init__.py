"""From candidates to the two attempts: how far each is trusted, and which are chosen."""
