"""Measure how long training steps take on this device, with deepen's engine and with other trainers."""
