"""The passes of a frozen T5: its blocks, the one attention, the two stacks, and what decodes."""
