"""Command lines become typed requests, without torch: each module has a command's table and its `parse`."""
