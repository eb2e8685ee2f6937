"""The hub: one response in, one outcome out, whichever door it came by."""
