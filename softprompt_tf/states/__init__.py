"""States of the frozen encoder that are computed once for each text and kept, so that a training step starts from them."""

ENCODER_STATES = "encoder_states"
"""Key of a batch: states [B, T, H] at the first encoder layer that sees anything of the task; the model goes on from them."""
