"""Where a frozen T5 and a method meet: the Keras model that users fit, its inputs, its metrics, and what it was trained for."""
