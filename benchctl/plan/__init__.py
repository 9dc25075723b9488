"""Cases, arms, rounds and order: pure and seeded."""
