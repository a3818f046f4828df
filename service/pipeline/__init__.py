"""The pipeline: one line per feed, from its source to the store, with backpressure all the way."""
