"""The engine: the only room that knows the order of the steps. It gathers, decides, applies, and has things sent."""
