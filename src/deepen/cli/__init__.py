"""The command line: `requests` parses, `commands` carries out, `output` prints, `entry` dispatches."""
