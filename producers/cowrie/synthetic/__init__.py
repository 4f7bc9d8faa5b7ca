"""The parts of the generator of Cowrie logs: what attackers say, its rendering, and how sessions go."""
