"""Servers on the network: asked safely, and asked again where that helps."""
