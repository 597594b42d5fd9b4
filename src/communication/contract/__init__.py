"""Python types as Protocol Buffers: what goes over the wire, and the numbers that never change."""
