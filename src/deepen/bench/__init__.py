"""What a training step takes on this device, measured with the engine itself."""
