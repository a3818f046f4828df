"""Simulated providers with an oracle: a football season over REST and WebSocket."""
