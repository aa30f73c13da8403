"""From a fitted network to the bundle that classify serves."""
