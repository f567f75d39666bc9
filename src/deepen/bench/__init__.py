"""What training steps take on this device, measured with the engine itself and beside other trainers."""
