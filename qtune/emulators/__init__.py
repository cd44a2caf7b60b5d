"""Servers that speak a provider's protocol on this machine, so that its own SDK can be tried and measured offline."""
