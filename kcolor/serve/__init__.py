"""A server for people and programs: the page, and TensorFlow Serving's API, around one model."""
